"""Emoji with their names from package archives: three styles of open licence, one square picture per name and style.

The archives are fetched by the user (`npm pack NAME@VERSION`), checked by their sha256 and never redistributed:

    style     archive                             artwork            licence of the artwork
    twemoji   emoji-datasource-twitter@16.0.0     Twemoji            CC-BY 4.0 (Twitter and other contributors)
    noto      emoji-datasource-google@16.0.0      Noto Color Emoji   Apache-2.0 (Google)
    fluent    @lobehub/fluent-emoji-3d@1.1.0      Fluent Emoji 3D    MIT (Microsoft)
    names     emojibase-data@16.0.3               CLDR short names   MIT; Unicode-3.0

Only subjects are taken, of the groups in SUBJECTS: no flags, signs, clock faces or hand gestures, and no people, so
that variants of skin tone and gender do not swamp the set.
"""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Archive:
    """A package archive: how npm names it, the file that `npm pack` leaves, its sha256, its licences."""

    package: str
    file: str
    sha256: str
    licence: str


NAMES = Archive(
    "emojibase-data@16.0.3",
    "emojibase-data-16.0.3.tgz",
    "cab288279075778f15b37f3ca60dfb17759af6fe29758e07338e248879991689",
    "MIT; CLDR names Unicode-3.0",
)
STYLES = {  # style: (archive, folder of its pictures, suffix)
    "twemoji": (
        Archive(
            "emoji-datasource-twitter@16.0.0",
            "emoji-datasource-twitter-16.0.0.tgz",
            "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
            "code MIT, artwork CC-BY 4.0",
        ),
        "package/img/twitter/64",
        ".png",
    ),
    "noto": (
        Archive(
            "emoji-datasource-google@16.0.0",
            "emoji-datasource-google-16.0.0.tgz",
            "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
            "code MIT, artwork Apache-2.0",
        ),
        "package/img/google/64",
        ".png",
    ),
    "fluent": (
        Archive(
            "@lobehub/fluent-emoji-3d@1.1.0",
            "lobehub-fluent-emoji-3d-1.1.0.tgz",
            "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
            "MIT",
        ),
        "package/assets",
        ".webp",
    ),
}
ARCHIVES = (NAMES, *(archive for archive, _, _ in STYLES.values()))
SUBJECTS = (0, 3, 4, 5, 6, 7)  # emojibase's groups: smileys, animals, food, travel, activities, objects
LEFT_OUT = re.compile(r"o.clock|thirty|\b\d|face in|alarm clock face|suit$|button$|symbol$|ZZZ")
LONGEST = 3  # words of a name


def archive_path(folder, archive):
    """The file of an archive in a folder; InputError says how to fetch it, or that it is another one."""
    path = Path(folder).expanduser() / archive.file
    if not path.exists():
        raise InputError(
            f"No {archive.file} in {folder}: fetch it there with `npm pack {archive.package}` ({archive.licence}); "
            f"tiny-t2i needs {', '.join(a.package for a in ARCHIVES)}."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != archive.sha256:
        raise InputError(
            f"{path} has sha256 {digest[:16]}, expected {archive.sha256[:16]}: fetch {archive.package} again."
        )
    return path


def plain(label):
    """A CLDR short name in lower-case words of letters, or None where it is no such name or too long."""
    words = re.sub(r"[’']s\b", "s", label).replace("-", " ").lower()
    fits = re.fullmatch(r"[a-z]+( [a-z]+)*", words) and len(words.split()) <= LONGEST
    return words if fits and not LEFT_OUT.search(label) else None


def names(folder):
    """{code such as '1f34e': name} of the subjects, in emojibase's order."""
    with tarfile.open(archive_path(folder, NAMES)) as tar:
        rows = json.load(tar.extractfile("package/en/data.json"))
    rows = sorted((row for row in rows if row.get("group") in SUBJECTS), key=lambda row: row["order"])
    return {row["hexcode"].lower(): name for row in rows if (name := plain(row["label"]))}


def _square(content, side):
    """uint8 [side, side, 4], cut to what is drawn and centred, of a picture's bytes."""
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGBA")
    box = image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()
    image = image.crop(box) if box else image
    longest = max(image.size)
    canvas = Image.new("RGBA", (longest, longest))
    canvas.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    return np.asarray(canvas.resize((side, side), Image.Resampling.LANCZOS))


def _pictures(folder, style, codes, side):
    """{code: uint8 [side, side, 4]} of a style; one pass through its archive, variation selectors ignored."""
    archive, inside, suffix = STYLES[style]
    wanted, drawn = {f"{inside}/{bare(code)}": code for code in codes}, {}
    with tarfile.open(archive_path(folder, archive)) as tar:
        for member in tar:
            code = wanted.get(bare(member.name.removesuffix(suffix))) if member.name.endswith(suffix) else None
            if code:
                drawn[code] = _square(tar.extractfile(member).read(), side)
    return drawn


def bare(code):
    """A code without variation selectors, which packages write or leave out as they like."""
    return code.replace("-fe0f", "")


@dataclass(frozen=True)
class Icons:
    """Pictures of every name in every style: uint8 [name, style, side, side, 4], straight alpha."""

    names: tuple[str, ...]
    styles: tuple[str, ...]
    pixels: np.ndarray

    @cached_property
    def number(self):
        """{name: its index}"""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def hash(self):
        """16 hex digits of names, styles and pixels."""
        about = json.dumps([self.names, self.styles, self.pixels.shape]).encode()
        return hashlib.sha256(about + self.pixels.tobytes()).hexdigest()[:16]


def icons(folder, side=64):
    """The Icons of the archives in a folder: names that all styles draw, each once."""
    wanted = names(folder)
    drawn = {style: _pictures(folder, style, wanted, side) for style in STYLES}
    codes = [code for code in wanted if all(code in pictures for pictures in drawn.values())]
    once = {wanted[code]: code for code in reversed(codes)}  # of two emoji with one name the first
    kept = [code for code in codes if once[wanted[code]] == code]
    pixels = np.stack([np.stack([drawn[style][code] for style in STYLES]) for code in kept])
    return Icons(tuple(wanted[code] for code in kept), tuple(STYLES), pixels)
