"""Streamed sums: any batches, any workers, any order give one result; halves apart; the subset is the samples' own."""

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from collect.metrics import sums
from scalinglaws.schema import InputError

FEATURES = np.random.default_rng(0).normal(3, 2, (400, 5)).astype(np.float32)
WHOLE = sums.of(FEATURES, np.arange(400), subset=60)


def equal(a, b):
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-12, atol=1e-12)
        assert a[name].dtype == b[name].dtype
    np.testing.assert_array_equal(a["kept"], b["kept"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=400, max_size=400), st.permutations(range(7)))
def test_any_shards_in_any_order_give_the_sums_of_one_pass(worker, order):
    worker, merged = np.array(worker), sums.start(5)
    for w in order:
        mine = np.flatnonzero(worker == w)[::-1]
        merged = sums.merge(merged, sums.of(FEATURES[mine], mine, 60), 60)
    equal(merged, WHOLE)


def test_merging_is_associative_and_commutative():
    a, b, c = (sums.of(FEATURES[k::3], np.arange(400)[k::3], 60) for k in range(3))
    equal(sums.merge(sums.merge(a, b, 60), c, 60), sums.merge(c, sums.merge(b, a, 60), 60))


def test_gaussians_are_numpys_and_halves_are_apart():
    x, which = FEATURES.astype(float), sums.half_of(np.arange(400))
    assert abs(which.mean() - 0.5) < 0.1 and len({*which[:20:2]}) == 2  # not the parity of the number
    for half, part in ((None, x), (0, x[which == 0]), (1, x[which == 1])):
        merged = sums.gaussian(WHOLE, half)
        np.testing.assert_allclose(merged.mean, part.mean(0), rtol=1e-12)
        np.testing.assert_allclose(merged.covariance, np.cov(part.T), rtol=1e-11)
        assert merged.count == len(part)


def test_a_mean_far_from_zero_costs_little():
    x = (np.random.default_rng(1).normal(size=(5000, 3)) + 1000).astype(np.float32)
    merged = sums.gaussian(sums.of(x, np.arange(5000)))
    np.testing.assert_allclose(merged.covariance, np.cov(x.astype(float).T), atol=1e-8)


def test_the_subset_is_a_fair_draw_of_numbers():
    drawn = np.stack([sums.of(np.zeros((100, 1)), 1000 * k + np.arange(100), 20)["indices"] % 1000 for k in range(500)])
    counts = np.bincount(drawn.ravel(), minlength=100)  # 500 draws of 20 in 100: mean 100, sd 9
    assert abs((counts - 100) / np.sqrt(500 * 0.2 * 0.8)).max() < 4
    assert drawn[:, :10].mean() == pytest.approx(49.5, abs=4 * 29 / np.sqrt(5000))


def test_a_sample_counted_twice_is_refused():
    with pytest.raises(InputError, match="Sample 7 is in both partial sums"):
        sums.merge(sums.of(FEATURES[:8], np.arange(8)), sums.of(FEATURES[7:9], np.arange(7, 9)))


def test_one_sample_is_too_few():
    with pytest.raises(InputError, match=r"1 sample\(s\) have no covariance"):
        sums.gaussian(sums.of(FEATURES[:1], np.arange(1)))
