"""Reference statistics of a folder of real images, as one file with a hash: `scalinglaws collect reference`.

Images are read one by one in the order of their paths, cropped to the centre square and resized by Pillow when a size
is given, in colour or grey as the network wants (transparency is dropped). What was done is kept in the file.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from collect.features import Network, open_network
from collect.metrics import sums
from collect.metrics.reference import read_reference, write_sums
from scalinglaws.schema import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
FILTERS = {  # Pillow's, all antialiased
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SHOWN = 3  # unreadable files named in one sentence


def pictures(folder):
    """Paths of the images in a folder and its folders, sorted; InputError when there are fewer than two."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    if len(paths) < 2:
        raise InputError(
            f"'{folder}' holds {len(paths)} image(s) ({', '.join(SUFFIXES)}): a reference needs at least 2, better "
            f"tens of thousands."
        )
    return paths


def load_image(path, channels=3, size=None, filter="lanczos"):
    """One image file as uint8 [channel, h, w]; with a size, its centre square at size x size pixels."""
    with Image.open(path) as file:
        image = file.convert("RGB" if channels == 3 else "L")
    if size:
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        image = image.resize((size, size), FILTERS[filter], (left, top, left + side, top + side))
    return torch.from_numpy(np.array(image).reshape(image.height, image.width, channels)).permute(2, 0, 1)


def batches(paths, channels, size, filter, batch):
    """(numbers, uint8 images) of equal shape, up to `batch` at once; raises InputError at the end for files that
    cannot be read, so that one run names them all."""
    held, broken = [], []
    for number, path in enumerate(paths):
        try:
            image = load_image(path, channels, size, filter)
        except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
            broken.append(f"{path} ({type(error).__name__})")
            continue
        if held and (len(held) == batch or held[0][1].shape != image.shape):
            yield _stack(held)
            held = []
        held.append((number, image))
    if held:
        yield _stack(held)
    if broken:
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        raise InputError(
            f"{len(broken)} of {len(paths)} images cannot be read: {', '.join(broken[:SHOWN])}{more}. "
            f"Repair or remove them; no reference was written."
        )


def _stack(held):
    return np.array([number for number, _ in held]), torch.stack([image for _, image in held])


def make_reference(folder, network, out, size=None, filter="lanczos", subset=sums.SUBSET, batch=64, progress=None):
    """Write the reference file of a folder of images and return it as a Reference.

    network: a Network or the name of one that needs no options. progress(done, all) is called after each batch.
    InputError for an unknown filter, files that cannot be read (named) or too few of them.
    """
    if filter not in FILTERS:
        raise InputError(f"No resize filter '{filter}'. Known: {', '.join(FILTERS)}.")
    network = network if isinstance(network, Network) else open_network(network)
    paths, total = pictures(folder), sums.start(network.dimensions)
    for indices, images in batches(paths, network.channels, size, filter, batch):
        total = sums.merge(total, sums.of(network.extract(images), indices, subset), subset)
        if progress:
            progress(int(total["count"].sum()), len(paths))
    how = {"size": size, "filter": f"Pillow {filter}" if size else None, "crop": "centre square" if size else None}
    write_sums(total, out, network, images=how)
    return read_reference(out)
