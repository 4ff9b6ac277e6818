"""Crossovers against the root scipy finds on the same two curves."""

import json

import numpy as np
import pytest
from scipy.optimize import brentq
from synthetic import SIZES, B, E, a, b, family, known_fit, law

from scalinglaws import display
from scalinglaws.decide.cost import cost_model
from scalinglaws.decide.crossover import APART, OUTSIDE, cross, crossings, crossover, crossovers, measured_crossings
from scalinglaws.decide.curves import Curve, cost_curve, measured_curve
from scalinglaws.decide.fitted import whole
from scalinglaws.schema import InputError


def root(small, large, steps_term=B):
    def gap(x):
        one, two = (law(SIZES[m], np.exp(x) / SIZES[m]) for m in (small, large))
        return np.log(two) - np.log(one)

    return np.exp(brentq(gap, np.log(2 * SIZES[large]), np.log(1e10)))


@pytest.mark.parametrize("pair", [("c8", "c16"), ("c12", "c24"), ("c32", "c48"), ("c8", "c48")])
def test_the_crossing_is_the_root(pair):
    found = crossover(known_fit(), pair)
    assert found.cost == pytest.approx(root(*pair), rel=1e-4)
    assert (found.below, found.above) == pair and found.probability == 1.0
    assert found.low == pytest.approx(found.cost) == found.high


def test_order_and_labels_do_not_matter():
    one, two = (crossover(known_fit(), p) for p in (("c24", "c12"), (9e5, 3.6e6)))
    assert one == two


def test_doubt_widens_the_interval():
    found = crossover(known_fit(spread=0.05, refits=200), ("c8", "c16"))
    assert found.low < found.cost < found.high


def test_a_crossing_below_the_data_of_one_of_the_two_is_said():
    table = family().query("model != 'c16' or steps >= 32")
    found = crossover(known_fit(table=table), ("c8", "c16"))
    assert found.cost == pytest.approx(root("c8", "c16"), rel=1e-4)
    assert found.decades_beyond == pytest.approx(np.log10(32 * SIZES["c16"] / found.cost))
    assert any("decades beyond what both were measured at" in w for w in found.warnings)


def test_no_crossing_is_said_and_not_made_up():
    found = crossover(known_fit((E, 1e-9, a, B, b)), ("c8", "c16"))
    assert found.cost is None and found.low is None and found.probability == 0.0
    assert "c8 and c16 do not cross: c8 is better throughout" in found.summary()


def test_where_nothing_crosses_no_view_says_none():
    """null in JSON, nan in frames, '-' in tables; also where no pair crosses: then no number tells a column's type."""
    fit = known_fit((E, 1e-9, a, B, b))
    found, pairs = crossover(fit, ("c8", "c16")), crossovers(fit, ["c8", "c16", "c24"])
    for frame in (found.to_frame(), pairs):
        places = frame[["cost", "value", "low", "high"]]
        assert places.isna().all(axis=None) and places.select_dtypes(float).shape == places.shape
        assert "None" not in display.text_table(frame) and " - " in display.text_table(frame)
    for view in (repr(found), found.summary(), found._repr_html_()):
        assert "None" not in view and "nan" not in view
    assert json.dumps(found.record(), allow_nan=False).count("null") == 4


def test_the_large_one_may_be_better_throughout():
    found = crossover(known_fit((E, 1e6, a, B, b)), ("c8", "c16"))
    assert found.cost is None and found.below == found.above == "c16"


def test_an_end_outside_the_search_is_none():
    found = crossover(known_fit(spread=0.6, refits=400), ("c8", "c16"))
    assert found.probability < 0.95 and (found.low is None or found.high is None)


def test_a_crossing_beyond_the_data_is_said():
    found = crossover(known_fit(), ("c8", "c48"))
    assert any("decades beyond what both were measured at" in w for w in found.warnings)


def test_every_pair_is_one_row():
    table = crossovers(known_fit(), ["c8", "c16", "c24"])
    assert table[["first", "second"]].values.tolist() == [["c8", "c16"], ["c8", "c24"], ["c16", "c24"]]


@pytest.mark.parametrize(
    ("between", "sentence"),
    [
        (("c8", "c99"), "No size 'c99'. Known sizes: c8"),
        (("c8", "c8"), "give two different sizes, such as"),
        (("c8", 4e5), "both are the size 400000; give two different ones"),
        ("c8", "give two different sizes, such as"),
        (3, "between=3: give two different sizes"),
        (("c8", -1), "No size -1. Known sizes"),
    ],
)
def test_bad_pairs_get_one_sentence(between, sentence):
    with pytest.raises(InputError, match=sentence):
        crossover(known_fit(), between)


def test_measured_curves_cross_where_the_law_does():
    (place,) = measured_crossings(known_fit(), ("c8", "c16"))
    assert place == pytest.approx(root("c8", "c16"), rel=0.05)
    assert measured_crossings(known_fit(), ("c8", "c48")) == []
    assert measured_crossings(known_fit(), ("c8", 5e5)) == []


def test_measured_crossings_of_an_unknown_size():
    with pytest.raises(InputError, match=r"No size 'c9'. Known sizes: c8, c12"):
        measured_crossings(known_fit(), ("c9", "c8"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"budget": "500ms"}, "got an unexpected keyword argument 'budget'. Arguments: source, between, cost"),
        ({"unit": "500ms"}, "No unit '500ms' for a budget. Known units"),
        ({"level": "high"}, "level='high': give a number between 0 and 1"),
        ({"level": 90}, "level=90: give a number between 0 and 1"),
        ({"of": "mine"}, "of='mine': give one of curve, owned, new_model"),
        ({"at": "c8"}, "at= and along= are for levels of a column"),
        ({"cost": "seconds"}, "cost='seconds': give a CostModel"),
        ({"price": 2.0}, "price= is for unit='money'"),
        ({"stages": ("paint",)}, "give some of denoise, text, decode"),
        ({"stages": 3}, "stages=3: give some of denoise, text, decode"),
    ],
)
def test_wrong_arguments_end_in_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        crossover(known_fit(), ("c8", "c16"), **options)


def test_what_is_no_fit_is_refused():
    with pytest.raises(InputError, match=r"A fitted law is needed, from fit\(table, ...\); got DataFrame"):
        crossover(family(), ("c8", "c16"))


def test_any_two_curves_cross_a_measured_and_a_fitted_one():
    """The law of c16 against the measured points of c8, which are 2 % above the law."""
    law = whole(known_fit(spread=0.0005))
    cost = cost_model(family())
    fitted = cost_curve(law, cost, SIZES["c16"])
    x = np.geomspace(2, 50, 60) * SIZES["c8"]
    values = 1.02 * fitted_values(SIZES["c8"], x)
    points = measured_curve("c8", x, values, "flops", False, errors=0.001 * values)
    found = cross(points, fitted)
    gap = lambda c: np.log(1.02 * fitted_values(SIZES["c8"], c)) - np.log(fitted_values(SIZES["c16"], c))  # noqa: E731
    assert found.cost == pytest.approx(brentq(gap, x[0] * 5, x[-1]), rel=1e-2)
    assert found.low < found.cost < found.high and (found.below, found.above) == ("c8", "c16")


def fitted_values(size, cost):
    return law(size, cost / size)


def test_measured_curves_of_one_value_at_a_shared_point_cross_there():
    """Published qualities are rounded, so that two of them are often equal."""
    x = np.array([1.0, 10.0, 100.0])
    one, two = (measured_curve(name, x, y, "s", False) for name, y in (("a", [3.0, 2.0, 1.5]), ("b", [4.0, 2.0, 1.0])))
    found = cross(one, two)
    assert found.cost == pytest.approx(10.0) and (found.below, found.above) == ("a", "b")
    assert crossings(one, two) == pytest.approx([10.0])


def test_measured_curves_that_begin_at_one_value_or_touch_do_not_cross():
    x = np.array([1.0, 10.0, 100.0])
    one = measured_curve("a", x, [4.0, 2.0, 1.0], "s", False)
    for other, better in (([4.0, 3.0, 2.0], "a"), ([5.0, 2.0, 1.5], "a"), ([4.0, 1.5, 0.9], "b")):
        found = cross(one, measured_curve("b", x, other, "s", False))
        assert found.cost is None and found.below == better


def test_standard_errors_widen_a_measured_crossover():
    x = np.array([1.0, 10.0, 100.0])
    flat = measured_curve("flat", x, 2 / x**0.5, "s", False)
    falls, noisy = (measured_curve("falls", x, 4 / x, "s", False, se) for se in (None, 0.2 / x))
    sure, doubtful = cross(falls, flat), cross(noisy, flat)
    assert sure.cost == doubtful.cost == pytest.approx(4.0) == crossings(falls, flat)[0]
    assert sure.low == sure.high and doubtful.low < 4 < doubtful.high


def test_measured_curves_without_a_common_place_do_not_cross():
    one, two = (measured_curve("a", x, 1 / x, "s", False) for x in (np.array([1.0, 2.0]), np.array([5.0, 9.0])))
    assert crossings(one, two) == []
    with pytest.raises(InputError, match="were never measured at one s: a from 1 to 2, a from 5 to 9"):
        cross(one, two)


def shifted(x, shifts, rises=False, **options):
    """The Crossover of 4 e^u / x and 2 / sqrt(x), at x = 4 e^2u; or where higher is better of x e^-u and 2 sqrt(x)."""
    power = 1.0 if rises else -1.0

    def curve(label, scale, slope, own):
        def at(x):
            return scale * np.asarray(x) ** (slope * power)

        return Curve(label, "s", rises, (x[0], x[-1]), at, lambda x: np.exp(own)[:, None] * at(x))

    one = curve("a", 1.0 if rises else 4.0, 1.0, -shifts if rises else shifts)
    return cross(one, curve("b", 2.0, 0.5, 0 * shifts), beyond=0, **options)


@pytest.mark.parametrize("rises", [False, True])
def test_own_errors_shift_whole_curves(rises):
    shifts = np.log(np.linspace(0.8, 1.3, 101))
    found = shifted(np.geomspace(0.1, 1e3, 9), shifts, rises, of="owned")
    assert found.cost == pytest.approx(4, rel=1e-3) and found.of == "owned" and found.warnings == ()
    ends = np.quantile(np.exp(shifts), [0.05, 0.95], method="nearest")
    assert [found.low, found.high] == pytest.approx(list(4 * ends**2), rel=1e-3)


def test_an_end_below_the_range_searched_is_none_and_the_other_is_kept():
    """Of crossings from 4 x 0.8² to 4 x 1.3², those below 3 lie before the range: 13 % of them."""
    shifts = np.log(np.linspace(0.8, 1.3, 101))
    found = shifted(np.geomspace(3, 1e3, 9), shifts)
    assert found.low is None and found.high == pytest.approx(4 * 1.275**2, rel=5e-3)
    assert found.probability == pytest.approx((1.3 - np.sqrt(3 / 4)) / 0.5, abs=0.02)
    beyond = shifted(np.geomspace(0.1, 6, 9), shifts)  # and those above 6 beyond it
    assert beyond.high is None and beyond.low == pytest.approx(4 * 0.825**2, rel=5e-3)


def test_errors_that_move_the_crossing_away_from_the_laws_are_said():
    found = shifted(np.geomspace(0.1, 1e3, 9), np.log(np.linspace(1.1, 1.3, 101)), of="owned")
    assert found.low > found.cost and found.warnings == (OUTSIDE,)


def test_sizes_measured_apart_are_searched_where_the_law_was_fitted():
    """The one at 2 to 8 steps, the other at 12 to 50: the law holds for either from 2 to 50, and a decade beyond."""
    table = family().query("(model != 'c8' or steps <= 8) and (model != 'c16' or steps >= 12)")
    found = crossover(known_fit(table=table), ("c8", "c16"))
    assert found.cost == pytest.approx(root("c8", "c16"), rel=1e-4) and APART in found.warnings
    assert found.searched == pytest.approx((2 * SIZES["c16"], 10 * 50 * SIZES["c8"]))
    assert found.decades_beyond == pytest.approx(np.log10(found.cost / (8 * SIZES["c8"])))


def test_the_result_shows_itself():
    found = crossover(known_fit(spread=0.02), ("c8", "c16"))
    start = "<Crossover: c8 and c16 cross at 1.983e+07 FLOPs per image (90% interval for the models you own"
    assert repr(found).startswith(start) and found.to_frame()["of"].tolist() == ["owned"]
    anew, by_law = (crossover(known_fit(spread=0.02), ("c8", "c16"), of=of) for of in ("new_model", "curve"))
    assert "FLOPs per image by the law (90% interval for models trained anew" in repr(anew)
    assert repr(by_law).startswith("<Crossover: c8 and c16 cross at 1.983e+07 FLOPs per image (90% interval 1.")
    assert "\n" not in repr(found)
    assert "<table" in found._repr_html_() and found.to_frame()["first"].tolist() == ["c8"]
    assert "curves" not in found.record()
    assert list(found.curves["label"].cat.categories) == list(SIZES)


def test_money_is_written_in_the_currency_of_the_price():
    fit = known_fit()
    assert " USD per image" in crossover(fit, ("c8", "c48"), unit="money", price="$7.2/h").summary()
    assert " money per image" in crossover(fit, ("c8", "c48"), unit="money", price=7.2).summary()
