"""A text-to-image family of random weights in a folder, and archives of painted squares: real code, no network."""

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from collect import weights
from collect.datasets import emoji, scenes
from collect.models import colour_autoencoder, dual_encoder, tiny_t2i

LABELS = ("red apple", "dog face", "cat", "old key", "t-shirt", "sun", "fox", "bus", "bell", "ring")
FAMILY = """
family: small-t2i
kind: text-to-image
widths: [8, 12]
seeds: {8: [1]}
steps: 6
recipe: {batch: 8, warmup: 2, decay_after: 4}
data: {scenes: 64, judge: 64, reference: 200, prompts: 12}
parts: {autoencoder_steps: 2, decoder_steps: 1, text_steps: 2, judge_steps: 2}
check: {sampler: ddim, steps: 1, guidance: 1.0, samples: 12}
"""


def _tar(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def _picture(number, style, form):
    rng, out = np.random.default_rng([number, style]), io.BytesIO()
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[4:18, 3:15] = [*rng.integers(0, 256, 3), 255]
    Image.fromarray(pixels).save(out, form, **({"lossless": True} if form == "WEBP" else {}))
    return out.getvalue()


def archives(folder, monkeypatch):
    """Write the four archives with LABELS drawn as squares, a flag and a clock besides; their hashes are made known."""
    codes = [f"1f40{i}" for i in range(len(LABELS))]
    rows = [{"hexcode": c.upper(), "label": label, "group": 3, "order": i}
            for i, (c, label) in enumerate(zip(codes, LABELS, strict=True))]  # fmt: skip
    rows += [{"hexcode": "1F1E6", "label": "flag: Andorra", "group": 9, "order": 90},
             {"hexcode": "1F550", "label": "one o’clock", "group": 5, "order": 91}]  # fmt: skip
    content = {"package/en/data.json": json.dumps(rows[::-1]).encode()}
    monkeypatch.setattr(emoji, "NAMES", _write(folder, emoji.NAMES, content))
    styles = {}
    for number, (style, (archive, inside, suffix)) in enumerate(emoji.STYLES.items()):
        form = {".png": "PNG", ".webp": "WEBP"}[suffix]
        drawn = {f"{inside}/{c}-fe0f{suffix}": _picture(i, number, form) for i, c in enumerate(codes)}
        styles[style] = _write(folder, archive, drawn), inside, suffix
    monkeypatch.setattr(emoji, "STYLES", styles)
    return folder


def _write(folder, archive, files):
    import hashlib

    path = folder / archive.file
    _tar(path, files)
    return replace(archive, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def icons(names=40):
    """Icons of random squares under made-up names of letters."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (names, 3, 64, 64, 4), dtype=np.uint8)
    return emoji.Icons(tuple(f"thing {chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(names)),
                       ("twemoji", "noto", "fluent"), pixels)  # fmt: skip


def family(folder):
    """Random weights of every part of FAMILY, and a reference on the judge's features."""
    from collect import features, metrics

    (folder / "family.yaml").write_text(FAMILY)
    _, captions = scenes.draw(icons(), "test", 12)
    (folder / "prompts.txt").write_text("\n".join(captions) + "\n")
    tokenizer = dual_encoder.learn_tokenizer(captions, size=600)
    torch.manual_seed(0)
    for name, width in (("text", tiny_t2i.TEXT), ("judge", 32)):
        model = dual_encoder.build(dual_encoder.config(tokenizer, width, layers=1)).eval()
        dual_encoder.save(model, tokenizer, folder / name)
    weights.save(colour_autoencoder.build().state_dict(), folder / "autoencoder.safetensors", {"scaling_factor": 1.0})
    for label, c in (("c8", 8), ("c12", 12), ("c8-s1", 8)):
        weights.save(tiny_t2i.build(c).state_dict(), folder / f"{label}.safetensors", {"train_steps": 6}, half=True)
    network = features.open_network("judge", weights=folder / "judge")
    pictures = torch.randint(0, 256, (100, 3, 32, 32), dtype=torch.uint8)
    sums = metrics.sums.of(network.extract(pictures), np.arange(100), 100)
    metrics.reference.write_sums(sums, folder / "reference-judge.safetensors", network)
    return folder
