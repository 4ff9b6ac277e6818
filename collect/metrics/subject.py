"""How alike samples and a subject's real images are, and how diverse samples are, by cosines of image embeddings.

subject_similarity   mean cosine over samples and real images: Ruiz et al. 2023 (arXiv:2208.12242), section 4.2, whose
                     DINO and CLIP-I are this on two encoders; the error is that of drawing the samples again
diversity            mean of 1 - cosine over pairs of different samples; their DIV is the same mean of LPIPS. Over all
                     samples of a cell: give it one prompt, that of the class

The encoder is a feature network by name (`features: judge, weights: FOLDER`), such as an installed DINO, or the image
tower of a CLIP model (`model: FOLDER`) with its own preparation.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import UnidentifiedImageError

from collect import features as networks
from collect import weights as files
from collect.metrics.clip import load_clip, prepared
from collect.metrics.folder import SUFFIXES, load_image
from collect.metrics.mean import Mean
from collect.models.dual_encoder import unit
from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Encoder:
    """`extract(images)`: uint8 [image, channel, h, w] -> [image, dimensions]; `about` all that changes it, as JSON."""

    extract: object
    dimensions: int
    about: dict

    def embed(self, images):
        """float64 [image, dimensions] of length 1."""
        x = np.asarray(self.extract(images), np.float64)
        return x / np.linalg.norm(x, axis=1, keepdims=True)


def open_encoder(features=None, model=None, weights=None, device="cpu"):
    """The Encoder of a feature network (its name or a Network) or of the folder of a CLIP model, one of the two."""
    if (features is None) == (model is None):
        raise InputError(
            "Say by which encoder images are compared: features, the name of a network such as judge (with its "
            "weights), or model, the folder of a CLIP model; one of the two."
        )
    if model is None:
        network = features
        if isinstance(features, str):
            network = networks.open_network(features, device=device, **({"weights": weights} if weights else {}))
        return Encoder(network.extract, network.dimensions, network.identity())
    loaded, _, preparation = load_clip(model, device=device)
    loaded = loaded.eval().requires_grad_(False)

    @torch.inference_mode()
    def extract(images):
        return unit(loaded.get_image_features(pixel_values=prepared(preparation, images, device))).cpu().numpy()

    return Encoder(extract, loaded.config.projection_dim, {"clip": networks.fingerprint(loaded)})


def read_subject(folder):
    """Paths of a subject's images, sorted; InputError when there are none."""
    paths = sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"No images ({', '.join(SUFFIXES)}) in {folder}: give a folder of the subject's own images.")
    return paths


def square(path, side):
    """uint8 [3, side, side]: the centre square of an image file, resized by bicubic; InputError if it is damaged."""
    try:
        return load_image(path, 3, side, "bicubic")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} cannot be read as an image ({type(error).__name__}): repair or remove it.") from None


def open_subject(images, features=None, model=None, weights=None, device="cpu"):
    """Mean cosine of samples with the images of the folder `images`, which are resized to the samples' side."""
    encoder, paths = open_encoder(features, model, weights, device), read_subject(images)

    @lru_cache(maxsize=1)
    def centre(side):
        """Mean embedding of the real images: its product with a sample's is the mean of their cosines."""
        return encoder.embed(torch.stack([square(path, side) for path in paths])).mean(0)

    def score(batch):
        return encoder.embed(batch.samples) @ centre(batch.samples.shape[-1])

    about = {"encoder": encoder.about, "images": [files.fingerprint(path) for path in paths]}
    return Mean("subject_similarity", "1", score, about)


@dataclass(frozen=True)
class Diversity:
    """A metric of the collector: mean of 1 - cosine over pairs of samples, from sums over single samples."""

    encoder: Encoder
    name: str = "diversity"
    version: str = "1"
    columns: tuple = ("diversity", "diversity_se")

    def start(self):
        d = self.encoder.dimensions
        return {"count": np.zeros(1, np.int64), "total": np.zeros(d), "outer": np.zeros((d, d))}

    def add(self, partial, batch):
        x = self.encoder.embed(batch.samples)
        return self.merge(partial, {"count": np.array([len(x)]), "total": x.sum(0), "outer": x.T @ x})

    def merge(self, a, b):
        return {name: a[name] + b[name] for name in a}

    def finish(self, partial):
        """Both columns. With S the sum of the n embeddings x of length 1, the cosines over pairs add up to
        S·S - n, those of one sample with the others to x·S - 1; the error of such a mean over pairs is 2/sqrt(n) times
        the deviation of the latter's means (Hoeffding 1948, doi:10.1214/aoms/1177730196)."""
        n, total = int(partial["count"][0]), partial["total"]
        if n < 2:
            raise InputError(
                f"'diversity' compares samples in pairs and has seen {n}: draw 2 or more, better hundreds."
            )
        own, together = np.trace(partial["outer"]), total @ total
        spread = max(total @ partial["outer"] @ total - together**2 / n, 0.0) / (n - 1)
        error = 2 * np.sqrt(spread / n) / (n - 1)
        value = 1 - (together - own) / (n * (n - 1))
        return {"diversity": float(value), "diversity_se": float(error) if n > 2 else np.nan}

    def identity(self):
        return {"metric": self.name, "version": self.version, "encoder": self.encoder.about}


def open_diversity(features=None, model=None, weights=None, device="cpu"):
    """The metric on an encoder."""
    return Diversity(open_encoder(features, model, weights, device))
