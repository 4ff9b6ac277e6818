"""NAME=VALUE as typed: `sampler=ddim; guidance=1` on a command line or in a call, as a dictionary."""

from scalinglaws.schema import InputError


def stated(given):
    """A dictionary as it is; text as typed on a command line, "sampler=ddim; guidance=1", or a list of such, as one."""
    return pairs(given.split(";")) if isinstance(given, str) else given if isinstance(given, dict) else pairs(given)


def pairs(items, empty=False):
    """{'a': 'b'} of ['a=b', ...], as typed on a command line; `empty` allows 'a=', no value.

    InputError for another form, and for a name with two values, of which one would be dropped in silence.
    """
    values = {}
    for item in (str(item) for item in items or () if str(item).strip()):
        left, sign, right = item.partition("=")
        if not (left and sign and (right or empty)):
            raise InputError(f"{item!r} is not NAME=VALUE, such as sampler=ddim.")
        name, value = left.strip(), right.strip()
        if values.setdefault(name, value) != value:
            raise InputError(f"{name} is given twice, as {values[name]!r} and {value!r}: give it one value.")
    return values
