"""Crossings against the root scipy finds on the same two curves."""

import numpy as np
import pytest
from scipy.optimize import brentq
from synthetic import SIZES, B, E, a, b, family, known_fit, law

from scalinglaws import crossing
from scalinglaws.schema import InputError


def root(small, large, steps_term=B):
    def gap(x):
        one, two = (law(SIZES[m], np.exp(x) / SIZES[m]) for m in (small, large))
        return np.log(two) - np.log(one)

    return np.exp(brentq(gap, np.log(2 * SIZES[large]), np.log(1e10)))


@pytest.mark.parametrize("pair", [("c8", "c16"), ("c12", "c24"), ("c32", "c48"), ("c8", "c48")])
def test_the_crossing_is_the_root(pair):
    found = crossing.crossover(known_fit(), pair)
    assert found.cost == pytest.approx(root(*pair), rel=1e-4)
    assert (found.below, found.above) == pair and found.probability == 1.0
    assert found.low == pytest.approx(found.cost) == found.high


def test_order_and_labels_do_not_matter():
    one, two = (crossing.crossover(known_fit(), p) for p in (("c24", "c12"), (9e5, 3.6e6)))
    assert one == two


def test_doubt_widens_the_interval():
    found = crossing.crossover(known_fit(spread=0.05, refits=200), ("c8", "c16"))
    assert found.low < found.cost < found.high


def test_no_crossing_is_said_and_not_made_up():
    found = crossing.crossover(known_fit((E, 1e-9, a, B, b)), ("c8", "c16"))
    assert found.cost is None and found.low is None and found.probability == 0.0
    assert "c8 and c16 do not cross: c8 is better throughout" in found.summary()


def test_the_large_one_may_be_better_throughout():
    found = crossing.crossover(known_fit((E, 1e6, a, B, b)), ("c8", "c16"))
    assert found.cost is None and found.below == found.above == "c16"


def test_an_end_outside_the_search_is_none():
    found = crossing.crossover(known_fit(spread=0.6, refits=400), ("c8", "c16"))
    assert found.probability < 0.95 and (found.low is None or found.high is None)


def test_a_crossing_beyond_the_data_is_said():
    found = crossing.crossover(known_fit(), ("c8", "c48"))
    assert any("decades beyond what both were measured at" in w for w in found.warnings)


def test_every_pair_is_one_row():
    table = crossing.crossovers(known_fit(), sizes=["c8", "c16", "c24"])
    assert table[["small", "large"]].values.tolist() == [["c8", "c16"], ["c8", "c24"], ["c16", "c24"]]


@pytest.mark.parametrize(
    ("between", "sentence"),
    [
        (("c8", "c99"), "No size 'c99'. Known sizes: c8"),
        (("c8", "c8"), "both are the size 400000; give two different ones"),
        ("c8", "give two sizes, such as"),
        (("c8", -1), "No size -1. Known sizes"),
    ],
)
def test_bad_pairs_get_one_sentence(between, sentence):
    with pytest.raises(InputError, match=sentence):
        crossing.crossover(known_fit(), between)


def test_measured_curves_cross_where_the_law_does():
    (found,) = crossing.measured_crossover(family(), ("c8", "c16"), "fd")
    assert found == pytest.approx(root("c8", "c16"), rel=0.05)
    assert crossing.measured_crossover(family(), ("c8", "c48"), "fd") == []


def test_measured_crossing_of_an_unknown_size():
    with pytest.raises(InputError, match=r"No measured size 'c9'. Measured sizes: c8, c12"):
        crossing.measured_crossover(family(), ("c9", "c8"), "fd")
