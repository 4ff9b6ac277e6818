"""What all sizes of a text-to-image family share, each made once: scenes, autoencoder, text encoder, judge, references.

Every function leaves a file or folder in the run's folder and does nothing where it is there.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import torch

from collect import features, weights
from collect.datasets import emoji, scenes
from collect.families.text import TextFamily
from collect.metrics import sums
from collect.metrics.reference import write_sums
from collect.models import autoencoder, colour_autoencoder, dual_encoder
from collect.models.tiny_t2i import TOKENS
from collect.training import loop, losses
from collect.writing import copy, write_text
from scalinglaws.schema import InputError

TEXT = {"width": 96, "layers": 3, "patch": 8, "seed": 0}  # the encoder that conditions
JUDGE = {"width": 128, "layers": 4, "patch": 8, "seed": 1, "hard": True}  # the one that scores
AUTOENCODER = loop.OptimizerConfig(rate=2e-3, warmup=100, decay_after=1000)
CONTRASTIVE = {"rate": 1e-3, "warmup": 100, "decay_after": 500}


def make_scenes(archives, folder, split, count, seed=0):
    """`data/<split>.safetensors` and `.txt`: uint8 images [count, 3, 32, 32] and their captions, one per line.

    InputError where the folder holds another number of scenes of that split, or those of another seed.
    """
    place = Path(folder) / "data"
    if not (place / f"{split}.safetensors").exists():
        icons = emoji.icons(archives)
        images, captions = scenes.draw(icons, split, count, seed)
        place.mkdir(parents=True, exist_ok=True)
        write_text(place / f"{split}.txt", "\n".join(captions) + "\n")
        about = {"icons": icons.hash, "seed": seed, "split": split}
        weights.save({"images": torch.from_numpy(images)}, place / f"{split}.safetensors", about)
    images, captions, about = _stored(place, split)
    if (held := (len(images), int(about.get("seed", seed)))) != (count, seed):
        raise InputError(
            f"{place} holds {held[0]} scenes of seed {held[1]} of the split '{split}', not the {count} of seed {seed} "
            "that are asked for: choose another folder."
        )
    return images, captions


def read_scenes(folder, split):
    """(uint8 images [scene, 3, 32, 32], captions) as make_scenes left them."""
    return _stored(Path(folder) / "data", split)[:2]


def _stored(place, split):
    tensors, about = weights.load(place / f"{split}.safetensors")
    return tensors["images"], (place / f"{split}.txt").read_text(encoding="utf-8").splitlines(), about


def make_tokenizer(folder, captions):
    """The family's tokenizer, learned from captions unless the folder `tokenizer` is there."""
    place = Path(folder) / "tokenizer"
    if not place.exists():
        dual_encoder.learn_tokenizer(captions).save_pretrained(place)
    return dual_encoder.load_tokenizer(place)


def make_autoencoder(folder, images, steps):
    """Train the autoencoder; yields (step, loss); leaves autoencoder.safetensors with its scaling factor."""
    out = Path(folder) / "autoencoder.safetensors"
    if out.exists():
        return
    place, loss = Path(folder) / "autoencoder", losses.reconstruction(images)
    build = lambda: colour_autoencoder.build().to(memory_format=torch.channels_last)  # noqa: E731 - an eighth faster
    yield from loop.train(build, loss, AUTOENCODER, steps, place)
    model = colour_autoencoder.build()
    weights.load_into(model, loop.snapshot(place, steps))
    factor = 1 / autoencoder.encode(model.eval(), images[:5000]).std().item()
    weights.save(model.state_dict(), out, {"scaling_factor": factor, "steps": steps})


def tune_decoder(folder, images, steps):
    """Train the decoder on with the encoder fixed; yields (step, loss). Latents and denoisers stay valid; leaves
    autoencoder.safetensors with the better decoder, and the first one as autoencoder-0.safetensors."""
    folder = Path(folder)
    out, first = folder / "autoencoder.safetensors", folder / "autoencoder-0.safetensors"
    if not first.exists():
        copy(out, first)
    tensors, about = weights.load(first)

    def build():
        model = colour_autoencoder.build()
        model.load_state_dict(tensors)
        return colour_autoencoder.freeze_encoder(model).to(memory_format=torch.channels_last)

    yield from loop.train(build, losses.decoding(images), AUTOENCODER, steps, folder / "decoder")
    tuned, _ = weights.load(loop.snapshot(folder / "decoder", steps))
    weights.save(tuned, out, about | {"decoder_steps": steps})


def make_dual_encoder(folder, name, about, images, captions, steps):
    """Train a dual encoder ('text' or 'judge'); yields (step, loss); leaves the folder <name> as CLIP's.

    about: width, layers, patch and seed; with hard=True half of the batches share the kind of scene and the colour.
    """
    out = Path(folder) / name
    if (out / "config.json").exists():
        return
    tokenizer = make_tokenizer(folder, captions)
    settings = dual_encoder.config(tokenizer, about["width"], about["layers"], about["patch"])
    config = loop.OptimizerConfig(**CONTRASTIVE, seed=about["seed"])
    groups = torch.tensor([scenes.setting(caption) for caption in captions]) if about.get("hard") else None
    loss = losses.contrastive(images, dual_encoder.tokenize(tokenizer, captions), groups=groups)
    place = Path(folder) / f"{name}-training"
    yield from loop.train(lambda: dual_encoder.build(settings), loss, config, steps, place)
    model = dual_encoder.build(settings)
    weights.load_into(model, loop.snapshot(place, steps))
    part = out.with_name(f".{name}.part")  # config.json is written first, and says that the folder is done
    dual_encoder.save(model.eval(), tokenizer, part)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)


def make_judge(file, folder, archives):
    """Train the judge; yields (step, loss). It sees scenes of every name and style, those that are held out, too, and
    is drawn by another seed: nothing that conditions a denoiser judges it."""
    if (Path(folder) / "judge" / "config.json").exists():
        return
    images, captions = make_scenes(archives, folder, "all", file.data.judge, JUDGE["seed"])
    yield from make_dual_encoder(folder, "judge", JUDGE, images, captions, file.parts.judge_steps)


def make_references(file, folder, archives):
    """The statistics of fresh scenes on every network of the family's metrics, and the captions that cells are drawn
    for; yields (what, sentence).

    References are scenes 0 .. of the split `test`, prompts.txt the captions of those that follow them; names.txt and
    pairs.txt are captions of names, and of pairs of a name and a style, that no training scene has.
    """
    folder, count = Path(folder), file.data.reference
    networks = {"effnet-lite0-96": {}, "judge": {"weights": str(folder / "judge")}}
    missing = [name for name in networks if not (folder / f"reference-{name}.safetensors").exists()]
    splits = {"prompts": "test", "names": "names", "pairs": "pairs"}
    unwritten = [name for name in splits if not (folder / f"{name}.txt").exists()]
    if not missing and not unwritten:
        return
    icons = emoji.icons(archives)
    images = scenes.draw(icons, "test", count, file.data.seed)[0] if missing else None
    for name in missing:
        network, path = features.open_network(name, **networks[name]), folder / f"reference-{name}.safetensors"
        about = {"icons": icons.hash, "split": "test", "first": 0}
        write_sums(feature_sums(network, images), path, network, scenes=about)
        yield path.stem, f"{path.name}: {count} scenes"
    for name in unwritten:
        if drawn := prompt_scenes(file, icons, TextFamily(folder).tokenizer(), split=splits[name]):
            write_text(folder / f"{name}.txt", "".join(f"{scene.caption}\n" for scene in drawn))
            yield name, f"{name}.txt: {len(drawn)} captions"


def prompt_scenes(file, icons, tokenizer, count=None, split="test"):
    """The first `count` scenes (default: the file's) of a split, of `test` after those of the reference, whose captions
    the text encoder reads whole: of two objects with long names one caption in 170 has more tokens than it takes. None
    where nothing is held out, of few names."""
    allowed, kept = scenes.pool(split, len(icons.names), len(icons.styles)), []
    if not len(allowed.pairs):
        return kept
    index, count = file.data.reference if split == "test" else 0, count or file.data.prompts
    while len(kept) < count:
        scene = scenes.scene(icons, allowed, file.data.seed, split, index)
        kept += [scene] if len(tokenizer.tokenize(scene.caption)) + 2 <= TOKENS else []  # start and end
        index += 1
    return kept


def feature_sums(network, images, batch=1000):
    """The streamed sums of a network's features of uint8 images [image, 3, h, w]."""
    total = sums.start(network.dimensions)
    for first in range(0, len(images), batch):
        part = images[first : first + batch]
        total = sums.merge(total, sums.of(network.extract(part), np.arange(first, first + len(part))))
    return total


def make_encoded(folder, images, captions):
    """The losses.Captions of the training set, float16: read from encoded.safetensors, which is made where it is not
    there or holds other tensors."""
    path = Path(folder) / "encoded.safetensors"
    tensors = weights.load(path)[0] if path.exists() else {}
    if set(tensors) != {"latents", "text", "empty"}:
        family = TextFamily(folder)
        latents = autoencoder.encode(family.autoencoder(), images).half()
        tower, tokenizer = family.text_encoder(), family.tokenizer()
        starts = range(0, len(captions), 1000)
        parts = [dual_encoder.tokenize(tokenizer, captions[first : first + 1000]) for first in starts]
        text = torch.cat([dual_encoder.hidden(tower, part).half() for part in parts])
        empty = dual_encoder.hidden(tower, dual_encoder.tokenize(tokenizer, [""]))[0].half()
        tensors = {"latents": latents, "text": text, "empty": empty}
        weights.save(tensors, path)
    return losses.Captions(**tensors)
