"""Quantities as people write them: the value in base units, or one sentence that lists the units."""

import doctest

import pytest

from scalinglaws import units
from scalinglaws.schema import InputError
from scalinglaws.units import Quantity, canonical, number, parse, price


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("500ms", 0.5, "seconds"), ("500 ms", 0.5, "seconds"), ("2 h", 7200, "seconds"),
        ("2 GPU-hours", 7200, "seconds"), ("3 min", 180, "seconds"), ("20 µs", 2e-5, "seconds"),
        ("3e12 FLOPs", 3e12, "flops"), ("1.5 TFLOPs", 1.5e12, "flops"), ("2 GFLOP", 2e9, "flops"),
        ("2gflops", 2e9, "flops"), ("0.2 J", 0.2, "joules"), ("3 kJ", 3000, "joules"), ("2 Wh", 7200, "joules"),
        ("5 mJ", 0.005, "joules"), ("5 MJ", 5e6, "joules"), ("$0.001", 0.001, "money"), ("0.05 EUR", 0.05, "money"),
        ("€ 3", 3, "money"), ("3,5 s", 3.5, "seconds"), ("1 000 ms", 1, "seconds"), ("0.2 J per image", 0.2, "joules"),
        ("1e8", 1e8, None), (1e8, 1e8, None),
    ],
)  # fmt: skip
def test_quantities_in_base_units(text, value, unit):
    quantity = parse(text)
    assert quantity.value == pytest.approx(value, rel=1e-12) and quantity.unit == unit


def test_a_bare_number_takes_the_unit_asked_for_and_a_quantity_passes_through():
    assert parse("3", "second") == parse(3, "seconds") == Quantity(3.0, "seconds")
    assert parse(parse("2 ms")) == Quantity(0.002, "seconds")


@pytest.mark.parametrize(
    ("text", "unit", "sentence"),
    [
        ("5 miles", None, r"'5 miles': no unit 'miles'. Known units: FLOPs .*, time .*, energy .*, money"),
        ("miles", None, "'miles' is no quantity. Write a number, with a unit or without"),
        ("", None, "is no quantity"), ("inf", None, "is no quantity"), (float("nan"), None, "no finite number"),
        (True, None, "no finite number"), ("1,234 ms", None, "may be 1234 or 1.234: write it without the comma"),
        ("5 TFLOP/s", None, "A rate, such as FLOP/s, is no budget"),
        ("500ms", "flops", "is in seconds, but the unit asked for is flops"),
        ("5", "miles", "No unit 'miles' for a budget. Known units: flops, seconds, joules, money"),
    ],
)  # fmt: skip
def test_what_is_no_quantity_is_one_sentence(text, unit, sentence):
    with pytest.raises(InputError, match=sentence):
        parse(text, unit)


def test_aliases_of_units():
    assert [canonical(u) for u in ("second", "s", "FLOP", "J", "usd", None)] == [
        "seconds", "seconds", "flops", "joules", "money", None]  # fmt: skip


def test_prices_are_money_an_hour():
    given = (2.5, "2.5/h", "$2.50/h", "2.5 per hour", "2,5 EUR/h")
    assert [price(p).value for p in given] == [2.5] * 5
    assert price("0.04 EUR/min").value == pytest.approx(2.4) and price("$2.50/h").currency == "USD"
    with pytest.raises(InputError, match="give money per hour"):
        price("3/kg")


def test_numbers_with_separators():
    texts = ("3,5", "1,234.5", "1.234,5", "1 234,5", "1'234'567", "1,234,567", "1e3", "n/a", "1,23,456", "12.3.4")
    assert [number(t) for t in texts] == [3.5, 1234.5, 1234.5, 1234.5, 1234567, 1234567, 1000, None, None, None]
    assert units.ambiguous("1,234") and not units.ambiguous("0,234") and not units.ambiguous("1,2345")


@pytest.mark.parametrize("text", ["1,500 M", "1,500 million", "1,500"])
def test_a_count_that_may_be_two_numbers_is_refused(text):
    with pytest.raises(InputError, match=f"'{text}' may be 1500.* or 1\\.500.*: write it without the comma"):
        units.count(text)
    assert units.count("1,500,000") == 1.5e6 and units.count("1 500 M") == 1.5e9 and units.count("1,3B") == 1.3e9


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(units).failed == 0
