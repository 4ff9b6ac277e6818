"""The site: `make docs`. Builds without network; warnings are errors.

Sphinx with the PyData theme, because both are kept by communities and release often, while Material for MkDocs
entered maintenance in November 2025 (its support was announced to end in November 2026) and MkDocs itself has not
had a release since 2024.
"""

import json
import os
import re
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive", UserWarning)

import json_page  # noqa: E402

import scalinglaws  # noqa: E402

project = "scalinglaws"
author = "the authors of scalinglaws"
copyright = f"2026, {author}"
version = release = scalinglaws.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_generated", "figures", "**/README.md"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
default_role = "literal"
nitpicky = False
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": "figures",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "matplotlib_animations": False,
    "thumbnail_size": (480, 300),
    "capture_repr": (),
    "within_subsection_order": "FileNameSortKey",
}

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

html_theme = "pydata_sphinx_theme"
html_title = "scalinglaws"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
    "navigation_depth": 3,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {page: [] for page in ("index", "api", "json", "score", "architecture", "gallery/**")} | {
    page: [] for page in ("forecast", "training_budget", "board", "design")
}


def plain_docstring(app, what, name, obj, options, lines):
    """Docstrings here are plain prose: what reStructuredText would read as markup is shown as it stands."""
    literal = False
    for i, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...")):
            literal = True
        elif not line.strip():
            literal = False
        if not literal:
            parts = re.split(r"(``.+?``|`[^`]+`)", line)
            lines[i] = "".join(p if p.startswith("`") else re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", p) for p in parts)


def write_json_tables(app):
    """The part of docs/json.md that is made from the schema."""
    schema = json.loads((HERE.parent / "scalinglaws" / "answers.schema.json").read_text())
    (HERE / "_generated").mkdir(exist_ok=True)
    (HERE / "_generated" / "json.md").write_text(json_page.tables(schema))


def setup(app):
    app.connect("builder-inited", write_json_tables)
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)
