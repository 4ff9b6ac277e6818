"""Several curves in one law: one floor for all samplers, one exponent for a student and its teacher."""

import numpy as np

from scalinglaws.laws.law import EXPONENTS, Law, term_value
from scalinglaws.schema import InputError

STARTS = (0.05, 4.0)  # exponents to begin with


def shared(law: Law, groups, share=("E",), symbol: str = "g") -> Law:
    """law for every group, with the parameters in share common to all and one of each other a group, `A_ddim`.

    The input named symbol takes a column that holds the groups' names: fit(table, law, "fd", {"x": "steps", "g":
    "sampler"}). Raises InputError for fewer than two groups, unknown parameters or a symbol already taken.

    >>> from scalinglaws.laws import find
    >>> shared(find("power_floor"), ("ddim", "dpm"), share=("E",)).params
    ('E', 'A_ddim', 'A_dpm', 'a_ddim', 'a_dpm')
    """
    groups = tuple(map(str, groups))
    unknown = [name for name in share if name not in law.params]
    if unknown or len(groups) < 2 or symbol in law.inputs:
        raise InputError(
            f"Sharing needs two groups or more, parameters of {law.name!r} ({', '.join(law.params)}) and a new symbol; "
            f"got the groups {', '.join(groups)}, the parameters {', '.join(share)} and the symbol {symbol!r}."
        )
    names = {p: (p,) if p in share else tuple(f"{p}_{group}" for group in groups) for p in law.params}
    linear = law.linear or tuple(term.coefficient for term in law.terms)
    ranges = {p: STARTS for p in law.params if p not in linear and law.bounds.get(p) == EXPONENTS} | law.ranges
    equation = f"{law.equation}, {', '.join(share) or 'nothing'} common to {', '.join(groups)}"
    return Law(
        f"{law.name}_shared", equation, law.source,
        (*law.inputs, symbol), tuple(name for p in law.params for name in names[p]),
        function=_function(law, names, symbol), groups=groups, signed=law.signed, trend=law.trend,
        positive=_each(names, law.positive), linear=_each(names, linear),
        bounds={name: law.bounds[p] for p in law.bounds for name in names[p]},
        ranges={name: edge for p, edge in ranges.items() for name in names[p]},
        floor=law.floor if law.floor in share else None,
    )  # fmt: skip


def _each(names, params) -> tuple[str, ...]:
    return tuple(name for p in params for name in names[p])


def _function(law, names, symbol):
    """The law with every unshared parameter picked by the group's number."""

    def value(**given):
        code = given[symbol]
        x = {s: given[s] for s in law.inputs}
        own = {
            p: given[p] if len(each) == 1 else sum(given[name] * (code == k) for k, name in enumerate(each))
            for p, each in names.items()
        }
        if law.function is not None:
            return law.function(**x, **own)
        return sum(term_value(term, own, x) for term in law.terms) + np.zeros_like(code)

    return value
