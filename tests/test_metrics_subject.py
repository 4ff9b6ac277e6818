"""Similarity to a subject and diversity: plain pairs of embeddings, the jackknife, the same encoder opened two ways."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5")

from test_metrics_means import photos, shuffled, stream, tiny_clip  # noqa: E402, F401 - fixtures

from collect.features import Classifier, of_classifier  # noqa: E402
from collect.jobs import Batch  # noqa: E402
from collect.metrics import open_metric  # noqa: E402
from collect.metrics.subject import Diversity, Encoder, open_encoder, square  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

JUDGE = Path(__file__).parents[1] / "data" / "models" / "tiny-t2i" / "judge"
PLAIN = Encoder(lambda x: x.numpy(), 3, {})  # samples that are their own embeddings


def write(images, folder):
    from PIL import Image

    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def opened(tiny_clip, photos, tmp_path):  # noqa: F811
    """(options of an encoder, its embeddings of the samples, those of five images of a subject, their folder)."""
    for part in tiny_clip:
        part.save_pretrained(tmp_path / "clip")
    folder = write(photos[1][:5, :, :36], tmp_path / "subject")
    options = {"model": str(tmp_path / "clip")}
    embed = open_encoder(**options).embed
    return options, embed(photos[0][:, :, :36]), embed(photos[1][:5, :, :36]), folder


def test_similarity_is_the_mean_cosine_over_all_pairs(opened, photos):  # noqa: F811
    pairwise = pytest.importorskip("torchmetrics.functional").pairwise_cosine_similarity
    options, samples, real, folder = opened
    cosines = pairwise(torch.as_tensor(samples), torch.as_tensor(real)).numpy()
    metric = open_metric("subject", images="subject", base=folder.parent, **options)
    row = stream(metric, photos[0][:, :, :36], {}, shuffled(20, 6))
    assert row["subject_similarity"] == pytest.approx(cosines.mean(), rel=1e-9)
    assert row["subject_similarity_se"] == pytest.approx(cosines.mean(1).std(ddof=1) / np.sqrt(20), rel=1e-6)
    assert len(metric.identity()["images"]) == 5 and metric.higher_is_better


def test_diversity_is_the_mean_over_pairs_and_its_error_the_jackknifes(opened, photos):  # noqa: F811
    """A mean over pairs without sample i is (n U - 2 h_i)/(n - 2): the delete-one jackknife in closed form."""
    options, x, _, _ = opened
    n, row = len(x), stream(open_metric("diversity", **options), photos[0][:, :, :36], {}, shuffled(20, 7))
    apart = lambda x: np.mean([1 - a @ b for i, a in enumerate(x) for b in x[:i]])  # noqa: E731
    left = np.array([apart(np.delete(x, i, 0)) for i in range(n)])
    jackknife = np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    assert row["diversity"] == pytest.approx(apart(x), rel=1e-9)
    assert row["diversity_se"] == pytest.approx(jackknife * (n - 2) / (n - 1), rel=1e-6)


def test_diversity_of_two_orthogonal_kinds_is_the_share_of_mixed_pairs():
    x = torch.eye(3)[[0, 1] * 30] * 7  # length does not matter
    row = stream(Diversity(PLAIN), x, {}, shuffled(60, 11))
    assert row["diversity"] == pytest.approx(30 * 30 / (60 * 59 / 2), rel=1e-12)
    same = stream(Diversity(PLAIN), x[::2], {}, [np.arange(30)])
    assert same["diversity"] == pytest.approx(0, abs=1e-12) and same["diversity_se"] == pytest.approx(0, abs=1e-6)


def test_the_error_of_diversity_is_that_of_drawing_again():
    rng, direction = np.random.default_rng(0), np.array([1.0, 0.5, 0.0])
    values = [
        stream(Diversity(PLAIN), torch.as_tensor(direction + rng.normal(size=(50, 3))), {}, [np.arange(50)])
        for _ in range(400)
    ]
    spread = np.std([v["diversity"] for v in values])
    assert spread == pytest.approx(np.mean([v["diversity_se"] for v in values]), rel=0.12)


def test_the_judge_as_a_network_and_as_a_clip_folder_agree():
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    one, two = open_encoder(features="judge", weights=str(JUDGE)), open_encoder(model=str(JUDGE))
    np.testing.assert_allclose(one.embed(images), two.embed(images), atol=1e-5)
    assert one.dimensions == two.dimensions == one.embed(images).shape[1]


def test_images_of_another_size_become_the_samples_own(photos, tmp_path):  # noqa: F811
    from PIL import Image

    write(photos[1][:1], tmp_path / "subject")  # 40 x 36
    made = square(tmp_path / "subject" / "0.png", 18)
    whole = Image.open(tmp_path / "subject" / "0.png").crop((0, 2, 36, 38)).resize((18, 18), Image.Resampling.BICUBIC)
    assert made.shape == (3, 18, 18) and np.abs(made.permute(1, 2, 0).numpy() - np.asarray(whole, float)).max() <= 1


def test_what_is_wrong_is_one_sentence(tmp_path, photos):  # noqa: F811
    network = of_classifier(Classifier())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"No images \(.png.*\) in .*empty: give a folder of the subject's own"):
        open_metric("subject", images=tmp_path / "empty", features=network)
    with pytest.raises(InputError, match="Say by which encoder images are compared"):
        open_metric("diversity")
    with pytest.raises(InputError, match="one of the two"):
        open_metric("diversity", features=network, model="clip")
    with pytest.raises(InputError, match="in pairs and has seen 1"):
        stream(Diversity(PLAIN), torch.eye(3)[:1], {}, [np.arange(1)])
    (tmp_path / "empty" / "a.png").write_bytes(b"no picture")
    metric = open_metric("subject", images=tmp_path / "empty", features="judge", weights=str(JUDGE))
    with pytest.raises(InputError, match=r"a.png cannot be read as an image \(UnidentifiedImageError\)"):
        metric.score(Batch(np.arange(2), torch.zeros(2, 3, 32, 32, dtype=torch.uint8), {}))
