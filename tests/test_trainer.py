"""A family from its file to released weights, on images of noise: every stage once, then nothing left to do."""

import gzip

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conftest import FAMILY  # noqa: E402

from collect.config import FamilyFile, read_config  # noqa: E402
from collect.datasets import fashion_mnist  # noqa: E402
from collect.families.trained import TrainedFamily  # noqa: E402
from collect.store.store import Store  # noqa: E402
from collect.training import family as trainer  # noqa: E402
from scalinglaws import schema  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with Fashion-MNIST's four files, holding 200 images of noise."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, (header, _) in fashion_mnist.FILES.items():
        values = rng.integers(0, 10, 200) if "labels" in name else rng.integers(0, 256, (200, 28, 28))
        with gzip.open(folder / name, "wb") as file:
            file.write(bytes(header) + values.astype(np.uint8).tobytes())
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "family.yaml").write_text(FAMILY)
    return train(folder, data), folder


def train(folder, data):
    file = read_config(folder / "family.yaml", FamilyFile)
    events = list(trainer.make_parts(file, folder, data))
    events += list(trainer.train_sizes(file, folder, file.widths, data, every=1))
    return events + list(trainer.measure_snapshots(file, folder, file.widths))


def test_every_stage_is_done_once(trained, data):
    events, folder = trained
    assert {event.stage for event in events} == {"features", "reference", "autoencoder", "train", "quality"}
    assert train(folder, data) == []


def test_quality_rows_carry_the_training_compute(trained):
    table = Store(trained[1] / "quality").table()
    assert schema.check(table) == [] and len(table) == 2
    assert (table.train_flops == 3 * table.flops_per_forward * 8 * table.train_steps).all()  # batch 8
    assert (table.train_images == 8 * 6).all()


def test_released_weights_are_the_averages_in_half_precision(trained, tmp_path):
    folder = trained[1]
    file = read_config(folder / "family.yaml", FamilyFile)
    TrainedFamily(trainer.release(file, folder, tmp_path / "out")).denoiser(8)
    kept = dict(TrainedFamily(tmp_path / "out").denoiser(8).state_dict())
    average = TrainedFamily(folder).denoiser(8, folder / "c8" / "average-0000006.safetensors").state_dict()
    assert all(torch.equal(kept[k], average[k].half().float()) for k in kept)
    with pytest.raises(InputError, match=r"has a snapshot of step 5; all have \[6\]"):
        trainer.release(file, folder, tmp_path / "out", step=5)


def test_images_are_padded_to_32(data):
    images, labels = fashion_mnist.load_images("test", data)
    assert images.shape == (200, 32, 32) and images[:, :2].max() == 0 and images[:, 2:30, 2:30].max() > 0
    assert labels.shape == (200,) and labels.max() < 10


def test_missing_data_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"Fashion-MNIST is not in .*dataset-fashion-mnist.*--download"):
        fashion_mnist.load_images("train", tmp_path)
