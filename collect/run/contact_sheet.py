"""Contact sheets: the first samples of a cell side by side, because people look."""

import io
import math

import numpy as np
import torch
from PIL import Image

GAP = 2  # pixels between images


class ContactSheet:
    """Collects the first `count` samples as `keep(indices, samples)` is called in order; empty when it starts late."""

    def __init__(self, count, start=0):
        self.count, self.held, self.late = count, [], start > 0

    def keep(self, indices, samples):
        """Hold what is still wanted of a batch of uint8 images [sample, channel, h, w]."""
        self.held.extend(samples[: max(self.count - len(self.held), 0)])

    @property
    def whole(self):
        """Whether it holds images from the first on."""
        return bool(self.held) and not self.late and self.held[0].dtype == torch.uint8

    def png(self):
        return png(torch.stack(self.held))


def grid(images):
    """uint8 [rows of images, w, channel] of images [n, channel, h, w], in reading order on a near square."""
    n, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    page = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, np.uint8)
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        page[top : top + height, left : left + width] = image
    return page


def png(images):
    """The bytes of a PNG with all images; one channel is grey."""
    page, out = grid(images), io.BytesIO()
    Image.fromarray(page[..., 0] if page.shape[2] == 1 else page).save(out, "png")
    return out.getvalue()
