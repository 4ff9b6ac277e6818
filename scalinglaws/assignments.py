"""NAME=VALUE as typed: `sampler=ddim; guidance=1` on a command line or in a call, as a dictionary."""

from scalinglaws.schema import InputError


def stated(given):
    """A dictionary as it is; text as typed on a command line, "sampler=ddim; guidance=1", or a list of such, as one."""
    return pairs(given.split(";")) if isinstance(given, str) else given if isinstance(given, dict) else pairs(given)


def pairs(items, empty=False):
    """{'a': 'b'} of ['a=b', ...], as typed on a command line; `empty` allows 'a=', no value."""
    items = [str(item) for item in items or () if str(item).strip()]
    split = [item.partition("=") for item in items]
    for (left, sign, right), item in zip(split, items, strict=True):
        if not (left and sign and (right or empty)):
            raise InputError(f"{item!r} is not NAME=VALUE, such as sampler=ddim.")
    return {left.strip(): right.strip() for left, _, right in split}
