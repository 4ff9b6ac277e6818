"""Numbers and quantities as people write them: "500ms", "1.5 TFLOPs", "$0.001", "3,5", "12 %".

>>> parse("500ms")
Quantity(value=0.5, unit='seconds')
>>> parse("1.5 TFLOPs").value
1500000000000.0
>>> parse(2e9, "flops")
Quantity(value=2000000000.0, unit='flops')
"""

import re
from dataclasses import dataclass, field
from math import isfinite

from scalinglaws.schema import InputError

HOUR = 3600.0  # s
PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
SMALL = {"n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3}
TIMES = {
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "milliseconds": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6, "ns": 1e-9,
    "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0, "h": HOUR, "hr": HOUR, "hrs": HOUR, "hour": HOUR,
    "hours": HOUR, "d": 24 * HOUR, "day": 24 * HOUR, "days": 24 * HOUR,
}  # fmt: skip
MONEY = {"$": "USD", "usd": "USD", "dollar": "USD", "dollars": "USD", "us$": "USD", "€": "EUR", "eur": "EUR",
         "euro": "EUR", "euros": "EUR", "£": "GBP", "gbp": "GBP", "chf": "CHF", "¥": "JPY", "jpy": "JPY"}  # fmt: skip
CENTS = {"ct": "USD", "cent": "USD", "cents": "USD", "¢": "USD"}

COUNTS = {"": 1.0, "k": 1e3, "thousand": 1e3, "m": 1e6, "mm": 1e6, "mio": 1e6, "million": 1e6, "millions": 1e6,
          "b": 1e9, "bn": 1e9, "g": 1e9, "billion": 1e9, "billions": 1e9, "t": 1e12, "trillion": 1e12}  # fmt: skip

# what a budget or a column may be counted in: canonical name, and the other names by which people call it
UNITS = {
    "flops": ("flop", "flops", "compute"),
    "seconds": ("s", "sec", "secs", "second", "seconds", "time"),
    "joules": ("j", "joule", "joules", "energy"),
    "money": ("money", "price", "cost", "usd", "dollars", "eur", "euro", "euros"),
}
EXAMPLES = "FLOPs (3e12 FLOPs, 1.5 TFLOPs), time (500ms, 2 h, 2 GPU-hours), energy (0.2 J, 2 Wh), money ($0.001)"


@dataclass(frozen=True)
class Quantity:
    """A value in the base unit: FLOPs, seconds, joules or money; `unit` is None for a bare number."""

    value: float
    unit: str | None
    currency: str = field(default="", compare=False, repr=False)  # ISO code, for money that names one


def parse(given, unit=None) -> Quantity:
    """A number with its unit. A bare number takes `unit`; a unit of another kind than `unit` is refused.

    given: a number or text; unit: flops, seconds, joules, money (or an alias such as "second"), or None.
    Raises InputError where the text holds no number or a unit that is not known.

    >>> parse("2 GPU-hours"), parse("3 kJ"), parse("0,05 EUR")
    (Quantity(value=7200.0, unit='seconds'), Quantity(value=3000.0, unit='joules'), Quantity(value=0.05, unit='money'))
    """
    unit = canonical(unit)
    if isinstance(given, Quantity):
        quantity = given
    elif isinstance(given, bool) or not isinstance(given, str):
        quantity = Quantity(_real(given), unit)
    else:
        quantity = _text(given, unit)
    if unit and quantity.unit and quantity.unit != unit:
        raise InputError(f"{given!r} is in {quantity.unit}, but the unit asked for is {unit}: give one of the two.")
    return quantity


def canonical(unit):
    """flops, seconds, joules or money, of any usual name; None stays None. InputError for other names.

    >>> canonical("second"), canonical("FLOP"), canonical("J")
    ('seconds', 'flops', 'joules')
    """
    if unit is None:
        return None
    name = str(unit).strip().casefold()
    for known, aliases in UNITS.items():
        if name == known or name in aliases:
            return known
    raise InputError(f"No unit {unit!r} for a budget. Known units: {', '.join(UNITS)}.")


def scale(text):
    """(unit, size of one, currency) of a unit written alone, such as "ms" -> ("seconds", 0.001, ""); None if unknown.

    Case tells milli from mega in joules (mJ, MJ); FLOPs have no milli, so that gflops and GFLOPs are one.
    """
    name = re.sub(r"^(gpu|device|machine)[\s_-]*", "", text.strip(), flags=re.I)
    lower = name.casefold()
    flops = re.fullmatch(r"([kmgtpe]?)[\s_-]*flops?", lower)
    if flops:
        return "flops", PREFIXES[flops[1].upper() if flops[1] != "k" else "k"], ""
    if lower in TIMES:
        return "seconds", TIMES[lower], ""
    energy = re.fullmatch(r"([numµμkKMGT]?)(J|j|Wh|wh|WH|joules?|watt-?hours?)", name) or re.fullmatch(
        r"(kilo|mega|milli|micro|)(joules?|watt-?hours?)", lower
    )
    if energy:
        words = {"kilo": "k", "mega": "M", "milli": "m", "micro": "u", "K": "k"}
        size = (SMALL | PREFIXES)[words.get(energy[1], energy[1])]
        return "joules", size * (HOUR if energy[2][0] in "Ww" else 1.0), ""
    if lower in MONEY:
        return "money", 1.0, MONEY[lower]
    return ("money", 0.01, CENTS[lower]) if lower in CENTS else None


def price(given) -> Quantity:
    """Money per hour of the machine: 2.5, "2.5/h", "$2.50 per hour", "0.001 EUR/s". Else InputError.

    >>> price("$2.50/h").value, price("0.001 EUR/s").value
    (2.5, 3.6)
    """
    if not isinstance(given, str):
        return Quantity(_real(given), "money")
    money, _, per = re.sub(r"\s+(per|an|a|each)\s+", "/", given.strip()).partition("/")
    time = scale(per) if per else ("seconds", HOUR, "")
    if time is None or time[0] != "seconds":
        raise InputError(f"Price {given!r}: give money per hour of the machine, such as 2.5, '$2.50/h' or '0.04/min'.")
    amount = parse(money, "money")
    return Quantity(amount.value * HOUR / time[1], "money", amount.currency)


def number(text, decimal=None):
    """The number a text holds, or None: "3,5", "1,234.5", "1 234", "1.234.567,8"; see `ambiguous`.

    `decimal` is "." or "," where the file's custom is known; without it a lone comma is a decimal comma.

    >>> number("3,5"), number("1,234.5"), number("1.234,5"), number("1'234'567"), number("n")
    (3.5, 1234.5, 1234.5, 1234567.0, None)
    """
    text = re.sub(r"(?<=\d)[\s\u00a0\u202f'’_](?=\d{3}(\D|$))", "", text.strip()).replace("−", "-")
    comma, point = text.count(","), text.count(".")
    if comma and point:
        last = "," if text.rfind(",") > text.rfind(".") else "."
        return _grouped(text, last)
    if comma > 1 or point > 1:
        return _grouped(text, "." if comma else ",")
    if comma:
        return _grouped(text, "," if decimal != "." else ".")
    if point and decimal == "," and GROUP.fullmatch(text):
        return _grouped(text, ",")
    return _float(text)


def count(text):
    """The number above 0 of '2e9', '1.3B' or '300 million'; None where the text is no such number.

    Raises InputError where it may be two, as '1,500 M'.

    >>> count("1.3B"), count("300 million"), count("2e9"), count("-1"), count("many")
    (1300000000.0, 300000000.0, 2000000000.0, None, None)
    """
    value, parts = number(text), re.fullmatch(r"(.*[\d.])\s*([A-Za-z]+)", text.strip())
    counted = value is None and parts and parts[2].casefold() in COUNTS
    amount = parts[1] if counted else text
    if ambiguous(amount):
        whole, decimal = (text.strip().replace(",", mark) for mark in ("", "."))
        raise InputError(f"{text.strip()!r} may be {whole} or {decimal}: write it without the comma.")
    if counted:
        value = number(amount)
        value = None if value is None else value * COUNTS[parts[2].casefold()]
    return value if value is not None and 0 < value < float("inf") else None


GROUP = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")  # 1,234 and 1.234: three digits behind one separator


def ambiguous(text):
    """Whether a text could be two numbers: 1,234 is 1234 or 1.234."""
    return bool(GROUP.fullmatch(text.strip())) and "," in text


def _grouped(text, decimal):
    """A number with thousands separators: the other one of '.,'; None where the groups are not of three digits."""
    thousands = "." if decimal == "," else ","
    whole, _, rest = text.partition(decimal)
    if thousands in rest or (thousands in whole and not re.fullmatch(rf"[+-]?\d{{1,3}}(\{thousands}\d{{3}})+", whole)):
        return None
    return _float(whole.replace(thousands, "") + "." + (rest or "0"))


def _float(text):
    try:
        return float(text) if not re.search(r"_|^[+-]?nan", text, re.I) else None
    except ValueError:
        return None


def _real(given):
    try:
        if not isinstance(given, bool) and isfinite(value := float(given)):
            return value
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{given!r} is no finite number. Write a number, with a unit or without: {EXAMPLES}.")


def _text(given, unit):
    text = re.sub(r"\s*(/|\bper\b|\ban?\b)\s*(image|img|sample|picture)s?\s*$", "", given.strip(), flags=re.I)
    signed = re.fullmatch(r"([$€£¥]|US\$)\s*([+-]?[\d.,\s'’eE+-]*\d)", text)
    parts = re.fullmatch(r"([+-]?[\d.,][\d.,\s'’\u00a0\u202f]*(?:[eE][+-]?\d+)?)\s*(.*)", text)
    amount, name = (signed[2], signed[1]) if signed else parts.groups() if parts else ("", text)
    if ambiguous(amount):
        amount = amount.strip()
        readings = f"{amount.replace(',', '')} or {amount.replace(',', '.')}"
        raise InputError(f"{given!r} may be {readings}: write it without the comma.")
    value = number(amount)
    if value is None or not isfinite(value):
        raise InputError(f"{given!r} is no quantity. Write a number, with a unit or without: {EXAMPLES}.")
    if not name:
        return Quantity(value, unit)
    size = scale(name)
    if size is None:
        rate = " A rate, such as FLOP/s, is no budget." if re.search(r"/\s*s", name) else ""
        raise InputError(f"{given!r}: no unit {name!r}.{rate} Known units: {EXAMPLES}.")
    return Quantity(value * size[1], size[0], size[2])
