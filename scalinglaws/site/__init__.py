"""A static site of a table: `build` all of it, `explore` the interactive page alone."""

from scalinglaws.site.assemble import Site, build, explore

__all__ = ["Site", "build", "explore"]
