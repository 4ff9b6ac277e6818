"""Distances on features against torchmetrics, torch-fidelity, closed forms and repeated draws of known Gaussians."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

pytest.importorskip("torch")

import torch

from collect import metrics
from collect.features import Network
from collect.jobs import Batch
from collect.metrics import gaussians, kernel, manifold, sums
from collect.metrics.distances import open_distances
from collect.metrics.reference import Reference
from scalinglaws.schema import InputError


def of(real, subset=5000):
    gaussian = sums.moments(real.astype(float))
    return Reference(gaussian.mean, gaussian.covariance, real[:subset].astype(float), len(real), "hash", "pixels")


def known(d, decay=0.0):
    """A reference that is a Gaussian by decree: mean 0, variances 1, 2^-decay, 3^-decay ..."""
    return Reference(np.zeros(d), np.diag(np.arange(1, d + 1.0) ** -decay), np.zeros((2, d)), 10**9, "", "")


def pixels(images):
    return images.flatten(1).float() / 16


NETWORK = Network("pixels", 12, pixels, channels=1, about={"weights": "none"})
RNG = np.random.default_rng(7)
REAL = (RNG.normal(size=(400, 12)) @ RNG.normal(size=(12, 12))).astype(np.float32)
FAKE = (RNG.normal(size=(400, 12)) @ RNG.normal(size=(12, 12)) * 0.8 + 0.5).astype(np.float32)
BY_TORCH_FIDELITY = {
    # torch-fidelity 0.4.0 on these features in float64 (its own pipeline takes the mean in float32):
    # metric_fid.fid_statistics_to_metric(*[fid_features_to_statistics(t) for t in (fake, real)], False)
    # metric_kid.kid_features_to_metric(fake, real, kid_subsets=1, kid_subset_size=400, verbose=False)
    # metric_prc.prc_features_to_metric(fake, real, verbose=False)
    "fid": 81.18316336098619,
    "kid": 70.28703122142068,
    "precision": 163 / 400,
    "recall": 36 / 400,
}


def test_equal_to_torch_fidelity_on_the_same_features():
    reference = of(REAL)
    sharing = metrics.precision_recall(FAKE, reference)
    assert gaussians.distance(sums.moments(FAKE.astype(float)), reference) == pytest.approx(
        BY_TORCH_FIDELITY["fid"], rel=1e-9
    )
    assert metrics.kernel_distance(FAKE, reference)[0] == pytest.approx(BY_TORCH_FIDELITY["kid"], rel=1e-9)
    assert sharing["precision"][0] == BY_TORCH_FIDELITY["precision"]
    assert sharing["recall"][0] == BY_TORCH_FIDELITY["recall"]


class Pixels(torch.nn.Module):
    """The same features for torchmetrics, in float64: it rounds its results to the dtype of the features."""

    num_features = 12

    def forward(self, images):
        return pixels(images).double()


@pytest.fixture(scope="module")
def images():
    draw = np.random.default_rng(3)
    real, fake = draw.integers(0, 256, (300, 1, 3, 4)), draw.integers(0, 200, (280, 1, 3, 4))
    return [torch.as_tensor(x.astype(np.uint8)) for x in (real, fake)]


def streamed(images, wanted, batch=64):
    real, fake = images
    metric = open_distances(NETWORK, of(NETWORK.extract(real)), wanted)
    partial = metric.start()
    for part in np.array_split(np.random.default_rng(0).permutation(len(fake)), range(batch, len(fake), batch)):
        partial = metric.add(partial, Batch(part, fake[part]))
    row = metric.finish(partial)
    assert tuple(row) == metric.columns
    return row


@pytest.mark.filterwarnings("ignore:Metric `:UserWarning")
def test_streamed_images_equal_torchmetrics(images):
    fid, kid = (pytest.importorskip(f"torchmetrics.image.{name}") for name in ("fid", "kid"))
    fid = fid.FrechetInceptionDistance(Pixels(), input_img_size=(1, 3, 4)).double()
    fid.set_dtype(torch.float64)
    kid = kid.KernelInceptionDistance(Pixels(), subsets=1, subset_size=280).double()
    for metric in (fid, kid):
        metric.update(images[0][:280], real=True)
        metric.update(images[1], real=False)
    row = streamed([images[0][:280], images[1]], ("fd", "kd"))
    assert row["fd"] == pytest.approx(fid.compute().item(), rel=1e-9)
    assert row["kd"] == pytest.approx(kid.compute()[0].item(), rel=1e-9)


def test_halves_are_the_distances_of_each_half_of_the_samples(images):
    row, reference = streamed(images, ("fd",)), of(NETWORK.extract(images[0]))
    for half, name in enumerate(("fd_half1", "fd_half2")):
        chosen = sums.half_of(np.arange(len(images[1]))) == half
        x = NETWORK.extract(images[1][chosen]).astype(float)
        assert row[name] == pytest.approx(metrics.frechet(x, reference)[0], rel=1e-11)


def test_the_row_does_not_depend_on_the_batch(images):
    wanted = ("fd", "fd_inf", "kd", "precision", "recall")
    a, b = (streamed(images, wanted, batch) for batch in (7, 280))
    assert a == pytest.approx(b, rel=1e-10)


def test_fewer_samples_than_features_give_the_rank_deficient_distance():
    rng, reference = np.random.default_rng(0), known(30, 1)
    x = rng.normal(size=(10, 30))
    z = x - x.mean(0)
    gram = np.linalg.eigvalsh(z @ reference.covariance @ z.T / 9)[1:]  # the same eigenvalues, from the samples' side
    expected = (x.mean(0) ** 2).sum() + (z**2).sum() / 9 + np.trace(reference.covariance) - 2 * np.sqrt(gram).sum()
    assert metrics.frechet(x, reference)[0] == pytest.approx(expected, rel=1e-12)
    assert gaussians.distance(sums.moments(x), reference) == pytest.approx(expected, rel=1e-12)


def test_two_samples_are_enough_and_one_is_not():
    reference = known(3)
    assert metrics.frechet(np.array([[1.0, 0, 0], [-1, 0, 0]]), reference)[0] == pytest.approx(5 - 2 * np.sqrt(2))
    with pytest.raises(InputError, match=r"1 sample\(s\) have no covariance"):
        gaussians.columns(sums.of(np.zeros((1, 3)), np.arange(1)), reference)


def test_nothing_is_added_to_a_singular_covariance():
    x = np.random.default_rng(0).normal(size=(200, 4)) @ np.diag([1.0, 1, 0, 0])
    reference = of(x[:100])
    root = sqrtm(np.cov(x[100:].T)[:2, :2] @ reference.covariance[:2, :2]).real
    shift = x[100:].mean(0) - reference.mean
    expected = shift @ shift + np.trace(np.cov(x[100:].T) + reference.covariance) - 2 * np.trace(root)
    assert metrics.frechet(x[100:], reference)[0] == pytest.approx(expected, rel=1e-9)


CASES = (
    # d, n, decay of variances, shift, scale, draws
    (8, 200, 0.0, 0.0, 1.0, 200),
    (16, 500, 0.0, 0.1, 1.1, 100),
    (32, 400, 1.0, 0.1, 1.1, 100),
    (16, 500, 1.0, 0.5, 0.7, 100),
)


@pytest.mark.parametrize("d, n, decay, shift, scale, draws", CASES)
def test_endless_value_covers_the_truth_where_the_plain_value_is_biased(d, n, decay, shift, scale, draws):
    reference, rng = known(d, decay), np.random.default_rng(d + n)
    sd = np.sqrt(np.diag(reference.covariance))
    truth = ((shift * sd) ** 2).sum() + (sd**2).sum() * (1 - np.sqrt(scale)) ** 2
    rows = []
    for _ in range(draws):
        x = (shift + rng.normal(size=(n, d)) * np.sqrt(scale)) * sd
        rows.append(gaussians.columns(sums.of(x.astype(np.float32), np.arange(n)), reference, infinite=True))
    value, error = np.array([row["fd_inf"] for row in rows]).T
    plain = np.array([row["fd"][0] for row in rows])
    assert np.mean(abs(value - truth) < 1.96 * error) > 0.9
    assert abs(value.mean() - truth) < 3.5 * value.std() / np.sqrt(draws) + 0.03 * (plain.mean() - truth)
    assert value.std() < 1.15 * np.median(error) < 2.6 * value.std()  # of the right size, not just wide
    assert plain.mean() - truth > 2.5 * plain.std() / np.sqrt(draws)


def test_endless_value_and_error_from_a_subset_are_as_good():
    """A half or a tenth of the features kept: the choice of them moves the value little, and the error of the plain
    distance is still that of all samples."""
    reference, rng, n = known(8), np.random.default_rng(1), 4000
    endless, errors = [], []
    for _ in range(40):
        x = rng.normal(size=(n, 8)).astype(np.float32) * 1.1
        rows = [gaussians.columns(sums.of(x, np.arange(n), kept), reference, True) for kept in (n, 2100, 400)]
        endless.append([row["fd_inf"] for row in rows])
        errors.append([row["fd"][1] for row in rows])
    (whole, _), (half, _), (tenth, wider) = np.array(endless).transpose(1, 2, 0)
    truth = 8 * 0.1**2
    assert abs(tenth.mean() - truth) < 3.5 * tenth.std() / np.sqrt(40)
    assert np.mean(abs(tenth - truth) < 1.96 * wider) > 0.88
    assert (half - whole).std() < 0.15 * whole.std() and (tenth - whole).std() < 0.5 * whole.std()
    assert np.mean(errors, 0) == pytest.approx([np.mean(errors)] * 3, rel=0.05)


def contaminated(sample, *added):
    """The Gaussian of a distribution of which shares e go to points x: added (e, x)."""
    shares = np.array([1 - sum(e for e, _ in added), *(e for e, _ in added)])
    first = shares @ [sample.mean, *(x for _, x in added)]
    outer = np.array([sample.covariance + np.outer(sample.mean, sample.mean), *(np.outer(x, x) for _, x in added)])
    return sums.Gaussian(first, np.tensordot(shares, outer, 1) - np.outer(first, first), sample.count)


def test_influence_and_noise_of_pairs_are_derivatives_of_the_distance():
    """By differences: the first along a share of one point, half the mixed second along those of two."""
    reference, x, e = of(REAL), FAKE.astype(float), 1e-4
    sample = sums.moments(x)
    to = gaussians.transport(sample, reference)
    assert gaussians.influence(x, sample, reference, to).mean() == pytest.approx(0, abs=1e-9)
    population = sums.Gaussian(sample.mean, sample.covariance, 10**9)
    moved = lambda *added: gaussians.distance(contaminated(sample, *added), reference)  # noqa: E731
    for one, two in ((0, 1), (2, 5)):
        slope = (moved((e, x[one])) - moved((-e, x[one]))) / (2 * e)
        assert gaussians.influence(x, population, reference, to)[one] == pytest.approx(slope, rel=1e-4)
        corners = [a * b * moved((a * e, x[one]), (b * e, x[two])) for a in (1, -1) for b in (1, -1)]
        second = sum(corners) / (4 * e**2)
        assert gaussians.pair_noise(x[[one, two]], sample, to) == pytest.approx((second / 2) ** 2, rel=1e-3)


def test_the_error_of_the_endless_value_adds_up_its_three_parts():
    """Through n, n/2 and n/4 the parabola's weights are 8/3, -2 and 1/3. Pairs within a half weigh 8/3 - 4 in the
    first two, others 8/3, and those of the four quarters add 4 x 2 / 9 / 4 x 4: 88/9 of the noise of a pair, over n^2.
    """
    n = next(n for n in range(400, 2000, 8) if sums.half_of(np.arange(n)).sum() == n / 2)
    x = np.random.default_rng(2).normal(size=(n, 8)).astype(np.float32)
    of_x, reference = sums.of(x, np.arange(n)), known(8)
    row, sample = gaussians.columns(of_x, reference, True), sums.moments(of_x["kept"].astype(float))
    pair = gaussians.pair_noise(of_x["kept"].astype(float), sample, gaussians.transport(sample, reference))
    (value, error), (plain, first) = row["fd_inf"], row["fd"]
    line = 2 * plain - (row["fd_half1"][0] + row["fd_half2"][0]) / 2
    assert error**2 == pytest.approx(first**2 + (value - line) ** 2 + 88 / 9 * pair / n**2, rel=1e-6)


def test_endless_value_is_unknown_below_four_samples_a_feature():
    x = np.random.default_rng(0).normal(size=(47, 12)).astype(np.float32)
    assert np.isnan(gaussians.columns(sums.of(x, np.arange(47)), known(12), True)["fd_inf"]).all()


def test_the_parabola_goes_through_its_points():
    n = np.array([1000, 500, 130])
    assert gaussians.through(n) @ (3 + 20 / n - 500 / n**2) == pytest.approx(3, rel=1e-12)
    assert gaussians.through([100, 50]) == pytest.approx([2, -1])


SPREADS = (("precision", 0.85, 1.2), ("recall", 0.9, 1.7), ("kd", 0.85, 1.2))  # error over true spread: low, high


def test_errors_match_the_spread_of_repeated_draws():
    rng, rows = np.random.default_rng(2), []
    reference = of(rng.normal(size=(300, 4)))
    for _ in range(150):
        x = rng.normal(size=(250, 4)) * 0.8 + 0.2
        rows.append(metrics.precision_recall(x, reference) | {"kd": metrics.kernel_distance(x, reference)})
    for name, low, high in SPREADS:
        values, errors = np.array([row[name] for row in rows]).T
        assert low < np.median(errors) / values.std(ddof=1) < high, name


def test_precision_and_recall_of_sets_apart_and_alike():
    x = np.random.default_rng(0).normal(size=(300, 3))
    alike, apart = metrics.precision_recall(x, of(x)), metrics.precision_recall(x + 100, of(x))
    assert alike["precision"] == (1, 0) and alike["recall"][0] == 1
    assert apart["precision"] == (0, 0) and apart["recall"] == (0, 0)


def test_recall_with_samples_left_out_is_recall_of_the_others():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(100, 3)), rng.normal(size=(80, 3))
    drawn = [rng.permutation(100)[:75] for _ in range(10)]
    shares = manifold._recall_of_each(manifold.squared(y, x), manifold._to_others(x), drawn)
    for chosen, share in zip(drawn, shares, strict=True):
        kept = x[chosen]
        assert share == manifold.covered(manifold.squared(y, kept), manifold.radii(kept)).mean()


def test_kernel_mean_is_over_different_pairs():
    x = np.random.default_rng(0).normal(size=(20, 3))
    pairs = [(a @ b / 3 + 1) ** 3 for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    assert kernel.kernel_mean(x) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_an_unknown_distance_is_refused():
    with pytest.raises(InputError, match=r"No distance 'fad'\. Known: fd, fd_inf, kd, precision"):
        open_distances(NETWORK, of(REAL), ("fad",))


def test_too_few_for_neighbours_or_pairs_is_said():
    with pytest.raises(InputError, match=r"3 image\(s\) have no third neighbour"):
        metrics.precision_recall(FAKE[:3], of(REAL))
    with pytest.raises(InputError, match=r"1 sample\(s\) have no kernel distance"):
        metrics.kernel_distance(FAKE[:1], of(REAL))
    with pytest.raises(InputError, match=r"The reference keeps 1 image\(s\)"):
        metrics.kernel_distance(FAKE, of(REAL, subset=1))


def test_a_family_is_measured_by_its_own_classifier(small_family):
    from collect.families.trained import TrainedFamily

    family = TrainedFamily(small_family)
    distances, agreement = metrics.of_trained_family(family)
    images = torch.randint(0, 256, (300, 1, 32, 32), dtype=torch.uint8)
    batch, conditions = np.arange(300), {"classes": np.arange(300) % 10}
    row = {}
    for metric in (distances, agreement):
        row |= metric.finish(metric.add(metric.start(), Batch(batch, images, conditions)))
    assert tuple(row) == distances.columns + agreement.columns
    features = distances.network.extract(images).astype(float)
    whole = metrics.score(features, distances.network.classes(images), conditions["classes"], family.reference)
    for name, value in whole.items():
        assert row[name] == pytest.approx(value, rel=1e-6), name
    assert distances.identity()["network"]["weights"] == family.part_hashes["features"]


@pytest.mark.slow
def test_endless_value_of_real_photos_is_the_same_at_every_count():
    """Fashion-MNIST's test images with noise against its training images, on the shipped classifier."""
    from pathlib import Path

    from collect.datasets import fashion_mnist
    from collect.families.trained import TrainedFamily
    from collect.features import of_classifier

    try:
        photos = torch.as_tensor(fashion_mnist.load_images("test")[0])
    except InputError:
        pytest.skip("Fashion-MNIST is not here")
    family = TrainedFamily(Path(__file__).parent.parent / "data/models/tiny-ldm")
    noise = 12 * torch.randn(photos.shape, generator=torch.Generator().manual_seed(0))
    seen = of_classifier(family.classifier()).extract((photos + noise).round().clamp(0, 255).byte()[:, None])
    seen = seen[np.random.default_rng(0).permutation(len(seen))]
    rows = [gaussians.columns(sums.of(seen[:n], np.arange(n)), family.reference, True) for n in (1000, 3000, 10_000)]
    truth, last = rows[-1]["fd_inf"]
    for row in rows[:2]:
        value, error = row["fd_inf"]
        assert abs(value - truth) < 2 * np.hypot(error, last)
    assert rows[0]["fd"][0] > 1.7 * truth  # 1,000 images alone would be read as a worse model


def test_too_few_images_for_their_features_are_a_doubt(images):
    whole = of(NETWORK.extract(images[0]))
    metric = open_distances(NETWORK, whole, ("fd",))
    assert metric.doubts(13) == [] and open_distances(NETWORK, whole, ("kd",)).doubts(12) == []
    assert metric.doubts(12)[0].startswith("12 samples per cell are fewer than the 12 features + 1")
    small = open_distances(NETWORK, of(NETWORK.extract(images[0][:5])), ("fd",))
    assert [d[:26] for d in small.doubts(99)] == ["5 images of the reference "]
