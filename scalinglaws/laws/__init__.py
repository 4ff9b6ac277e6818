"""Laws: LAWS is the table, find() looks one up, power_sum(), custom() and shared() make more."""

from scalinglaws.laws.law import Law, Term, custom, power_sum
from scalinglaws.laws.shared import shared
from scalinglaws.laws.table import CHOICES, LAWS
from scalinglaws.schema import InputError


def find(law: "str | Law") -> Law:
    """The law of this name, or the law itself. Raises InputError for a name that is not in the table.

    >>> find("power_floor").equation
    'E + A*x^-a'
    """
    if isinstance(law, Law):
        return law
    if law not in LAWS:
        known = ", ".join([*LAWS, *CHOICES])
        raise InputError(f"No law named {law!r}. Known laws: {known}. See scalinglaws/laws.")
    return LAWS[law]


__all__ = ["CHOICES", "LAWS", "Law", "Term", "custom", "find", "power_sum", "shared"]
