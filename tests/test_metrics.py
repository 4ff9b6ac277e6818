"""Distances and their errors, against scipy, closed forms, plain loops and repeated draws."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

pytest.importorskip("torch")

from collect import metrics
from scalinglaws.schema import InputError


@pytest.fixture
def reference(tmp_path):
    rng = np.random.default_rng(1)
    real = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6)) + 0.3
    metrics.write_reference(real, tmp_path / "reference.safetensors", "noise", subset=600)
    return metrics.read_reference(tmp_path / "reference.safetensors")


def draw(n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6)) @ np.diag([1, 2, 0.5, 1, 3, 1]) + [0, 1, 0, 0, 2, 0]


def test_frechet_equals_the_matrix_square_root(reference):
    x = draw(500, 2)
    root = sqrtm(np.cov(x.T) @ reference.covariance).real
    expected = ((x.mean(0) - reference.mean) ** 2).sum() + np.trace(np.cov(x.T) + reference.covariance - 2 * root)
    assert metrics.frechet(x, reference)[0] == pytest.approx(expected, rel=1e-9)


def test_frechet_of_diagonal_gaussians_is_the_closed_form():
    sd_x, sd_r, shift = np.array([1.0, 2.0]), np.array([3.0, 0.5]), np.array([1.0, -1.0])
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)  # unit covariance with ddof=1
    reference = metrics.Reference(np.zeros(2), np.diag(sd_r**2), np.zeros((1, 2)), 1, "", "")
    distance, _ = metrics.frechet(signs * sd_x + shift, reference)
    assert distance == pytest.approx((shift**2).sum() + ((sd_x - sd_r) ** 2).sum(), rel=1e-12)


def test_kernel_distance_equals_plain_loops(reference):
    x, y = draw(40, 3), reference.subset[:50]

    def k(a, b):
        return (a @ b / 6 + 1) ** 3

    within = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    real = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    small = metrics.Reference(reference.mean, reference.covariance, y, 50, "", "")
    assert metrics.kernel_distance(x, small)[0] == pytest.approx(within + real - 2 * across, rel=1e-10)


@pytest.mark.parametrize("distance", [metrics.frechet, metrics.kernel_distance])
def test_standard_errors_match_the_spread_of_repeated_draws(distance, reference):
    values, errors = np.array([distance(draw(400, seed), reference) for seed in range(300)]).T
    assert np.median(errors) == pytest.approx(values.std(ddof=1), rel=0.12)


def test_kernel_distance_of_the_same_distribution_is_zero_within_error(reference):
    scores = [metrics.kernel_distance(reference.subset[part], _rest(reference, part)) for part in _halves(600, 40)]
    z = np.array([value / error for value, error in scores])
    assert abs(z.mean()) < 1


def _halves(n, times):
    return [np.random.default_rng(s).permutation(n)[: n // 2] for s in range(times)]


def _rest(reference, part):
    kept = np.delete(reference.subset, part, axis=0)
    return metrics.Reference(reference.mean, reference.covariance, kept, len(kept), "", "")


def test_too_few_images_and_nan_are_refused(reference):
    with pytest.raises(InputError, match=r"1 sample\(s\) have no covariance"):
        metrics.score(draw(1, 0), np.zeros(1), np.zeros(1), reference)
    broken = draw(100, 0)
    broken[3, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        metrics.score(broken, np.zeros(100), np.zeros(100), reference)
