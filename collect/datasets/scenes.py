"""Scenes of emoji with their captions, drawn by (seed, index): the text-to-image task tiny-t2i.

    one     "a large red apple in noto style on teal"             "small moose at the top left twemoji style on pink"
    two     "a red apple left of a cat in fluent style on grey"    "dog above spoon noto style on a white background"

Style or colour goes unsaid in one caption of ten each. A scene is a pure function of (icons, seed, split, index): it
needs no file, and any number of them can be drawn. Splits hold out names and pairs of name and style:

    train   names and (name, style) pairs that are not held out     test    the same, other scenes
    names   every object has a held-out name                        pairs   every object is a held-out pair
    all     everything: for networks that judge
"""

from dataclasses import dataclass

import numpy as np

from scalinglaws.schema import InputError

SIDE = 32  # pixels
COLOURS = {
    "white": (250, 250, 250),
    "black": (24, 24, 28),
    "grey": (150, 152, 156),
    "red": (226, 88, 84),
    "orange": (246, 164, 86),
    "yellow": (250, 224, 116),
    "green": (120, 190, 104),
    "teal": (72, 172, 168),
    "blue": (98, 148, 226),
    "purple": (156, 112, 204),
    "pink": (246, 168, 200),
    "brown": (150, 108, 80),
}
LARGE, SMALL, PAIRED = 28, 16, 15  # pixels of an object
PLACES = {"top left": (9, 9), "top right": (23, 9), "bottom left": (9, 23), "bottom right": (23, 23)}  # (x, y)
RELATIONS = {  # where the first and the second object are: (x, y) each
    "left of": ((8, 16), (24, 16)),
    "right of": ((24, 16), (8, 16)),
    "above": ((16, 8), (16, 24)),
    "below": ((16, 24), (16, 8)),
}
SPLITS = ("train", "test", "names", "pairs", "all")
HELD_OUT_NAMES, HELD_OUT_PAIRS = 20, 12  # one name in 20; of the others one (name, style) pair in 12
SPLIT_SEED = 20261125
UNSAID = 0.1  # probability that a caption leaves out the style, and the colour


@dataclass(frozen=True)
class Object:
    """One emoji of a scene: index of its name and style, its side and the middle of it in pixels."""

    name: int
    style: int
    side: int
    x: int
    y: int


@dataclass(frozen=True)
class Scene:
    caption: str
    colour: str
    objects: tuple[Object, ...]


@dataclass(frozen=True)
class Pool:
    """(name, style) pairs [pair, 2] that a split may draw, grouped by style for scenes of two."""

    pairs: np.ndarray
    of_style: tuple[np.ndarray, ...]


def held_out(names, styles):
    """(bool [name], bool [name, style]): which names, and which pairs of the other names, training never sees."""
    rng = np.random.default_rng(SPLIT_SEED)
    name = np.zeros(names, bool)
    name[rng.permutation(names)[: names // HELD_OUT_NAMES]] = True
    pair = rng.random((names, styles)) < 1 / HELD_OUT_PAIRS
    pair &= ~name[:, None] & ~pair.all(1, keepdims=True)
    return name, pair


def pool(split, names, styles):
    """The Pool of a split; InputError lists the splits."""
    if split not in SPLITS:
        raise InputError(f"No split '{split}' of the scenes. Splits: {', '.join(SPLITS)}.")
    name, pair = held_out(names, styles)
    seen = ~pair & ~name[:, None]
    allowed = {"names": np.broadcast_to(name[:, None], pair.shape), "pairs": pair, "all": np.ones_like(pair)}
    pairs = np.argwhere(allowed.get(split, seen))
    return Pool(pairs, tuple(pairs[pairs[:, 1] == s, 0] for s in range(styles)))


def _a(word):
    return "an " if word[0] in "aeiou" else "a "


def _article(rng, name):
    """The article in half of the captions, never before what looks like a plural."""
    return "" if name.endswith("s") or rng.random() < 0.5 else _a(name)


def _tail(rng, style, colour):
    """The style and the colour in words; each unsaid in one caption of ten."""
    by_style = (f"in {style} style", f"{style} style")[rng.integers(2)]
    by_colour = (f"on {colour}", f"on {_a(colour)}{colour} background")[rng.integers(2)]
    keep = rng.random(2) >= UNSAID
    return "".join(f" {words}" for words, said in zip((by_style, by_colour), keep, strict=True) if said)


def _one(rng, icons, pool):
    name, style = pool.pairs[rng.integers(len(pool.pairs))]
    word, jitter = icons.names[name], rng.integers(-1, 2, 2)
    if rng.random() < 0.6:
        article = _article(rng, "large")
        return f"{article}large {word}", style, [Object(name, style, LARGE, *(16 + jitter))]
    place = list(PLACES)[rng.integers(len(PLACES))]
    article = _article(rng, "small")
    return f"{article}small {word} at the {place}", style, [Object(name, style, SMALL, *(PLACES[place] + jitter))]


def _two(rng, icons, pool):
    _, style = pool.pairs[rng.integers(len(pool.pairs))]
    two = rng.choice(pool.of_style[style], 2, replace=False)
    words = [icons.names[i] for i in two]
    relation = list(RELATIONS)[rng.integers(len(RELATIONS))]
    along = [0, 1] if relation in ("above", "below") else [1, 0]  # objects move apart only across the relation
    moved = [np.array(at) + rng.integers(-4, 5) * np.array(along[::-1]) for at in RELATIONS[relation]]
    text = f"{_article(rng, words[0])}{words[0]} {relation} {_article(rng, words[1])}{words[1]}"
    return text, style, [Object(name, style, PAIRED, *at) for name, at in zip(two, moved, strict=True)]


def scene(icons, pool, seed, split, index):
    """The Scene of an index: the same whatever was drawn before."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    text, style, objects = (_one if rng.random() < 0.6 else _two)(rng, icons, pool)
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    return Scene(text + _tail(rng, icons.styles[style], colour), colour, tuple(objects))


class Canvas:
    """Draws scenes; icons are reduced to each side once, with colour weighted by alpha."""

    def __init__(self, icons):
        self.icons, self.reduced = icons, {}

    def _icon(self, thing):
        key = thing.name, thing.style, thing.side
        if key not in self.reduced:
            self.reduced[key] = reduce(self.icons.pixels[thing.name, thing.style], thing.side)
        return self.reduced[key]

    def draw(self, scene):
        """uint8 [3, SIDE, SIDE]"""
        canvas = np.empty((SIDE, SIDE, 3), np.float32)
        canvas[:] = COLOURS[scene.colour]
        for thing in scene.objects:
            colour, alpha = self._icon(thing)
            left, top = int(thing.x) - thing.side // 2, int(thing.y) - thing.side // 2
            part = canvas[top : top + thing.side, left : left + thing.side]
            part *= 1 - alpha
            part += colour
        return canvas.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


def reduce(pixels, side):
    """(colour times alpha, alpha) float32 [side, side, 3 or 1] of a uint8 RGBA picture, by the mean over areas."""
    from PIL import Image

    alpha = pixels[..., 3:].astype(np.float32) / 255
    planes = np.concatenate([pixels[..., :3] * alpha, alpha], -1).astype(np.float32)
    small = [
        np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.BOX)) for p in planes.transpose(2, 0, 1)
    ]
    small = np.stack(small, -1)
    return small[..., :3], small[..., 3:]


def draw(icons, split, count, seed=0, first=0):
    """(uint8 [count, 3, SIDE, SIDE], captions) of scenes first .. first + count of a split."""
    allowed, canvas = pool(split, len(icons.names), len(icons.styles)), Canvas(icons)
    scenes = [scene(icons, allowed, seed, split, index) for index in range(first, first + count)]
    return np.stack([canvas.draw(each) for each in scenes]), [each.caption for each in scenes]


def setting(caption):
    """What a caption says besides names and style, as a number: the kind of scene and the colour (or none)."""
    kinds = ["large", *PLACES, *RELATIONS]
    kind = next(i for i, words in enumerate(kinds) if words in caption)
    colour = next(
        (i + 1 for i, word in enumerate(COLOURS) if caption.endswith((f"on {word}", f"{word} background"))), 0
    )
    return kind * (len(COLOURS) + 1) + colour
