"""Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747, MIT licence): 60,000 + 10,000 grey images of clothing."""

import gzip
import hashlib
import os
import urllib.request
from pathlib import Path

import numpy as np

from collect.writing import whole
from scalinglaws.schema import InputError

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
ENVIRONMENT = "FASHION_MNIST"  # a folder that holds the four files
FOLDERS = ("/usr/share/datasets/fashion-mnist", "~/.cache/scalinglaws/fashion-mnist")
MIRROR = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
FILES = {  # name: (header bytes, sha256 of the unpacked file: packings differ)
    "train-images-idx3-ubyte.gz": (16, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte.gz": (8, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte.gz": (16, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte.gz": (8, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}


def folder(data=None):
    """The first folder that holds all four files: `data`, then $FASHION_MNIST, then the usual places."""
    candidates = [data] if data else [os.environ.get(ENVIRONMENT), *FOLDERS]
    tried = [Path(p).expanduser() for p in candidates if p]
    for place in tried:
        if all((place / name).exists() for name in FILES):
            return place
    raise InputError(
        f"Fashion-MNIST is not in {', '.join(map(str, tried))}: install Debian's dataset-fashion-mnist, "
        f"set ${ENVIRONMENT} to a folder with the four .gz files, or add --download to fetch them."
    )


def download(into=FOLDERS[-1]):
    """Fetch the four files into a folder and check their hashes; only ever called with --download."""
    place = Path(into).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    for name, (_, digest) in FILES.items():
        content = urllib.request.urlopen(MIRROR + name, timeout=60).read()
        if hashlib.sha256(gzip.decompress(content)).hexdigest() != digest:
            raise InputError(f"{MIRROR + name} does not have the expected sha256; it was not kept. Try again later.")
        with whole(place / name) as part:
            part.write_bytes(content)
    return place


def _read(path, header):
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def load_images(split="train", data=None):
    """images uint8 [image, 32, 32] (28x28 padded with zeros) and labels int64 [image]; split 'train' or 'test'."""
    place, stem = folder(data), {"train": "train", "test": "t10k"}[split]
    images = _read(place / f"{stem}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = _read(place / f"{stem}-labels-idx1-ubyte.gz", 8)
    return np.pad(images, ((0, 0), (2, 2), (2, 2))), labels.astype(np.int64)
