"""A text-to-image family from package archives to released weights, in stages skipped where their result is there.

data       scenes with captions                      data/train.safetensors, data/train.txt
parts      autoencoder, text encoder, judge          autoencoder.safetensors, text/, judge/
encoded    latents and text of the scenes            encoded.safetensors
sizes      all from one snapshot step to the next    c8/, c8-s1/, ...: state and averages
release    averages as float16 with the parts        a folder that a sweep can use
"""

import shutil
from pathlib import Path

import numpy as np
import torch

from collect import features, weights
from collect.datasets import emoji, scenes
from collect.jobs import Batch
from collect.measure import Bench, Cell, key, measure, prepare
from collect.metrics import sums
from collect.metrics.reference import write_sums
from collect.models import tiny_t2i
from collect.models.model import to_images
from collect.sampling.loop import How
from collect.text_family import TextFamily
from collect.training import colour_autoencoder, dual_encoder, loop
from collect.training.denoising import Encoded, denoising
from collect.workers.store import Store
from scalinglaws.schema import InputError

TEXT = {"width": 96, "layers": 3, "patch": 8, "seed": 0}  # the encoder that conditions
JUDGE = {"width": 128, "layers": 4, "patch": 8, "seed": 1, "hard": True}  # the one that scores
AUTOENCODER = loop.Pace(rate=2e-3, warmup=100, decay_after=1000)
CONTRASTIVE = {"rate": 1e-3, "warmup": 100, "decay_after": 500}


def make_scenes(archives, folder, split, count, seed=0):
    """`data/<split>.safetensors` and `.txt`: uint8 images [count, 3, 32, 32] and their captions, a line each."""
    place = Path(folder) / "data"
    if not (place / f"{split}.safetensors").exists():
        icons = emoji.icons(archives)
        images, captions = scenes.draw(icons, split, count, seed)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{split}.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")
        about = {"icons": icons.hash, "seed": seed, "split": split}
        weights.save({"images": torch.from_numpy(images)}, place / f"{split}.safetensors", about)
    return read_scenes(folder, split)


def read_scenes(folder, split):
    """(uint8 images [scene, 3, 32, 32], captions) as make_scenes left them."""
    place = Path(folder) / "data"
    images = weights.load(place / f"{split}.safetensors")[0]["images"]
    return images, (place / f"{split}.txt").read_text(encoding="utf-8").splitlines()


def make_tokenizer(folder, captions):
    """The family's tokenizer, from the folder `tokenizer` once it is there."""
    place = Path(folder) / "tokenizer"
    if not place.exists():
        dual_encoder.tokenizer(captions).save_pretrained(place)
    return dual_encoder.CLIPTokenizer.from_pretrained(place)


def make_autoencoder(folder, images, steps):
    """Train the autoencoder; yields (step, loss); leaves autoencoder.safetensors with its scaling factor."""
    out = Path(folder) / "autoencoder.safetensors"
    if out.exists():
        return
    place, loss = Path(folder) / "autoencoder", colour_autoencoder.reconstruction(images)
    build = lambda: colour_autoencoder.build().to(memory_format=torch.channels_last)  # noqa: E731 - an eighth faster
    yield from loop.train(build, loss, AUTOENCODER, steps, place)
    model = colour_autoencoder.build()
    weights.load_into(model, loop.snapshot(place, steps))
    factor = 1 / colour_autoencoder.encode(model.eval(), images[:5000]).std().item()
    weights.save(model.state_dict(), out, {"scaling_factor": factor, "steps": steps})


def make_dual_encoder(folder, name, about, images, captions, steps):
    """Train a dual encoder ('text' or 'judge'); yields (step, loss); leaves the folder <name> as CLIP's.

    `about` says its widths and seed, and with hard=True that half of its batches share the kind of scene and colour.
    """
    out = Path(folder) / name
    if (out / "config.json").exists():
        return
    words = make_tokenizer(folder, captions)
    settings = dual_encoder.config(words, about["width"], about["layers"], about["patch"])
    pace = loop.Pace(**CONTRASTIVE, seed=about["seed"])
    groups = torch.tensor([scenes.setting(caption) for caption in captions]) if about.get("hard") else None
    loss = dual_encoder.contrastive(images, dual_encoder.encode(words, captions), groups=groups)
    place = Path(folder) / f"{name}-training"
    yield from loop.train(lambda: dual_encoder.build(settings), loss, pace, steps, place)
    model = dual_encoder.build(settings)
    weights.load_into(model, loop.snapshot(place, steps))
    dual_encoder.save(model.eval(), words, out)


def make_judge(file, folder, archives):
    """Train the judge; yields (step, loss). It sees scenes of every name and style, those that are held out, too, and
    is drawn by another seed: nothing that conditions a denoiser judges it."""
    if (Path(folder) / "judge" / "config.json").exists():
        return
    images, captions = make_scenes(archives, folder, "all", file.data.judge, JUDGE["seed"])
    yield from make_dual_encoder(folder, "judge", JUDGE, images, captions, file.parts.judge_steps)


def make_references(file, folder, archives):
    """prompts.txt, and the statistics of fresh scenes on every network of the family's metrics; yields sentences.

    References are scenes 0 .. of the split `test`, prompts the captions of those that follow them.
    """
    folder, count = Path(folder), file.data.reference
    networks = {"effnet-lite0-96": {}, "judge": {"weights": str(folder / "judge")}}
    missing = [name for name in networks if not (folder / f"reference-{name}.safetensors").exists()]
    if not missing and (folder / "prompts.txt").exists():
        return
    icons = emoji.icons(archives)
    images, _ = scenes.draw(icons, "test", count, file.data.seed)
    for name in missing:
        network, path = features.open_network(name, **networks[name]), folder / f"reference-{name}.safetensors"
        found = sums.start(network.dimensions)
        for first in range(0, count, 1000):
            part = images[first : first + 1000]
            found = sums.merge(found, sums.of(network.extract(part), np.arange(first, first + len(part)), sums.SUBSET))
        write_sums(found, path, network, scenes={"icons": icons.hash, "split": "test", "first": 0})
        yield f"{path.name}: {count} scenes"
    captions = fitting_captions(icons, TextFamily(folder).tokenizer(), file.data.prompts, file.data.seed, first=count)
    (folder / "prompts.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")
    yield f"prompts.txt: {len(captions)} captions"


def fitting_captions(icons, words, count, seed, first):
    """The first `count` captions of the split `test` from scene `first` on that the text encoder reads whole: of two
    objects with long names one caption in 170 has more tokens than it takes."""
    allowed, kept, index = scenes.pool("test", len(icons.names), len(icons.styles)), [], first
    while len(kept) < count:
        caption = scenes.scene(icons, allowed, seed, "test", index).caption
        kept += [caption] if len(words.tokenize(caption)) + 2 <= dual_encoder.TOKENS else []
        index += 1
    return kept


def make_encoded(folder, images, captions):
    """The Encoded training set, from encoded.safetensors once it is there; float16 latents and text."""
    path = Path(folder) / "encoded.safetensors"
    if not path.exists():
        family = TextFamily(folder)
        latents = colour_autoencoder.encode(family.autoencoder(), images).half()
        tower, words = family.text_encoder(), family.tokenizer()
        parts = [dual_encoder.encode(words, captions[i : i + 1000]) for i in range(0, len(captions), 1000)]
        text = torch.cat([dual_encoder.hidden(tower, part).half() for part in parts])
        nothing = dual_encoder.hidden(tower, dual_encoder.encode(words, [""]))[0].half()
        weights.save({"latents": latents, "text": text, "nothing": nothing}, path)
    return Encoded(**weights.load(path)[0])


def pace_of(file, seed):
    """How a size's weights move: what of the recipe the loop knows, and the training seed."""
    recipe = file.recipe
    return loop.Pace(recipe.rate, recipe.warmup, recipe.decay_after, recipe.clip, seed=seed)


def train_sizes(file, folder, data, labels, steps, device="cpu"):
    """Train the labels side by side from snapshot to snapshot up to `steps`; yields (label, step, loss)."""
    loss = denoising(data, file.recipe.batch, file.recipe.drop)
    for target in loop.snapshot_steps(steps):
        for label in labels:
            width, seed = file.width(label), file.seed(label)
            build, pace = (lambda c=width: tiny_t2i.build(c)), pace_of(file, seed)
            for step, value in loop.train(build, loss, pace, target, Path(folder) / label, device=device):
                yield label, step, value


def tune_decoder(folder, images, steps):
    """Train the decoder on with the encoder fixed; yields (step, loss). Latents and denoisers stay valid; leaves
    autoencoder.safetensors with the better decoder, and the first one as autoencoder-0.safetensors."""
    folder = Path(folder)
    out, first = folder / "autoencoder.safetensors", folder / "autoencoder-0.safetensors"
    if not first.exists():
        shutil.copy2(out, first)
    tensors, about = weights.load(first)
    build, loss = colour_autoencoder.with_decoder_free(tensors), colour_autoencoder.decoding(images)
    yield from loop.train(build, loss, AUTOENCODER, steps, folder / "decoder")
    tuned, _ = weights.load(loop.snapshot(folder / "decoder", steps))
    weights.save(tuned, out, about | {"decoder_steps": steps})


def measure_snapshots(file, folder, labels=None, device="cpu"):
    """Quality of every snapshot of the labels, each measured once and kept in `quality`; yields (cell, row)."""
    store, check, bench = Store(Path(folder) / "quality"), file.check, Bench(device)
    how = How(check.sampler, check.steps, check.guidance)
    for label in labels or file.labels:
        for step, path in loop.snapshots(Path(folder) / label):
            family = TextFamily(Path(folder), {label: path})
            scores, cell = family.metrics(device=device), Cell(label, how, check.samples)
            name, identity = f"{cell.name}-t{step}", key(family, scores, bench)(cell)
            if not store.has(name, identity):
                row = measure(cell, family, prepare(family.model(label), bench), scores)
                store.write(name, identity, row)
                yield name, row


def floors(family, archives, count=None, batch=250):
    """Quality of scenes themselves, and of their autoencoded selves: (name, row) each, on the family's own metrics.

    The scenes are those whose captions the family's cells ask for; no denoiser does better than the second row.
    """
    file, model = family.file, family.autoencoder()
    count = count or file.data.prompts
    images, captions = scenes.draw(emoji.icons(archives), "test", count, file.data.seed, first=file.data.reference)
    images, scores = torch.from_numpy(images), family.metrics()
    for name in ("real", "autoencoded"):
        sums_ = {metric.name: metric.start() for metric in scores}
        for first in range(0, count, batch):
            part = images[first : first + batch]
            if name == "autoencoded":
                part = to_images(colour_autoencoder.decode(model, colour_autoencoder.encode(model, part)))
            indices = np.arange(first, first + len(part))
            made = Batch(indices, part, {"prompts": captions[first : first + batch]})
            sums_ = {metric.name: metric.add(sums_[metric.name], made) for metric in scores}
        row = {"model": name, "n_samples_for_metric": count}
        for metric in scores:
            row |= metric.finish(sums_[metric.name])
        yield name, row


def release(file, folder, into, labels=None, step=None):
    """Copy the parts and each label's average of a snapshot step as float16 into a folder that a sweep can use.

    `step` is the last that every label has when left out; InputError when one has no such snapshot.
    """
    labels = labels or file.labels
    kept = {label: dict(loop.snapshots(Path(folder) / label)) for label in labels}
    common = sorted(set.intersection(*map(set, kept.values())))
    if not common or step not in (None, *common):
        raise InputError(f"Not every size in {folder} has a snapshot of step {step}; all have {common or 'none'}.")
    step, into = step or common[-1], Path(into)
    into.mkdir(parents=True, exist_ok=True)
    for path in (
        *Path(folder).glob("reference-*.safetensors"),
        *(Path(folder) / n for n in ("family.yaml", "prompts.txt")),
    ):
        shutil.copy2(path, into / path.name)
    tensors, about = weights.load(Path(folder) / "autoencoder.safetensors")
    weights.save(tensors, into / "autoencoder.safetensors", about, half=True)
    for name in ("text", "judge"):
        shutil.copytree(Path(folder) / name, into / name, dirs_exist_ok=True)
    for label in labels:
        tensors, _ = weights.load(kept[label][step])
        weights.save(tensors, into / f"{label}.safetensors", {"train_steps": step}, half=True)
    return into
