"""Things opened by name: a table of our own, and what installed packages add under an entry-point group."""

from importlib.metadata import entry_points
from inspect import signature

from scalinglaws.schema import InputError


def names(table, group):
    """Every name there is: the table's, then those of installed packages."""
    return [*table, *sorted({entry.name for entry in entry_points(group=group)} - set(table))]


def opener(name, table, group, kind):
    """What opens `name`; InputError lists the names there are. `kind` is what the thing is called in a sentence."""
    if name in table:
        return table[name]
    for entry in entry_points(group=group):
        if entry.name == name:
            return entry.load()
    raise InputError(
        f"No {kind} '{name}'. Known: {', '.join(names(table, group))}. An installed package adds its own under the "
        f"entry-point group {group}."
    )


def open_named(name, options, table, group, kind, offered=None):
    """The thing itself, opened with `options`, and with those of `offered` that it takes and was not given.

    InputError names the options that its opener needs or does not know, and those that it takes.
    """
    function = opener(name, table, group, kind)
    taken = signature(function).parameters
    given = {k: v for k, v in (offered or {}).items() if k in taken} | options
    if wrong := _wrong(taken, given):
        named = [k for k, p in taken.items() if p.kind is not p.VAR_KEYWORD and k not in (offered or {})]
        raise InputError(f"The {kind} '{name}' {wrong}: it takes {', '.join(named) or 'no options'}.")
    return function(**given)


def _wrong(taken, given):
    """What of the options `given` a function of parameters `taken` does not know, or what it lacks; '' if nothing."""
    open_ended = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    unknown = [] if open_ended else [k for k in given if k not in taken]
    needed = [
        k for k, p in taken.items() if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    lacking = [k for k in needed if k not in given]
    if unknown:
        return f"does not know {', '.join(unknown)}"
    return f"needs {', '.join(lacking)}" if lacking else ""
