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

    InputError names the options that its opener takes.
    """
    function = opener(name, table, group, kind)
    taken = signature(function).parameters
    options = {k: v for k, v in (offered or {}).items() if k in taken} | options
    try:
        signature(function).bind(**options)
    except TypeError as error:
        raise InputError(
            f"The {kind} '{name}' cannot be opened with {', '.join(options) or 'no options'} ({error}): "
            f"it takes {', '.join(taken) or 'none'}."
        ) from error
    return function(**options)
