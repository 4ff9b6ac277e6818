"""Perceptual distance of each image to its target on EfficientNet-Lite0: LPIPS' equation without learned weights.

    d(x, y) = sum over layers of the mean over pixels of |f_x - f_y|^2,    f of unit length over channels

Zhang et al. 2018 (arXiv:1801.03924), eq. 1 with all weights w_l one: their uncalibrated variant, there of ImageNet's
AlexNet, VGG and SqueezeNet. It is no LPIPS, whose numbers lie on another scale.
"""

from itertools import accumulate

import torch

from collect.features.efficientnet import STAGES, open_effnet
from collect.metrics.mean import Mean
from collect.metrics.pairs import pair

SMALL = 1e-8  # added to a squared length, as LPIPS does
_LAST = [blocks - 1 for blocks in accumulate(repeats for repeats, *_ in STAGES)]
LAYERS = tuple(_LAST[stage] for stage in (0, 1, 2, 4, 6))  # blocks after which the resolution falls, and the last one


def unit_features(prepared, images):
    """Features [image, channel, h, w] of uint8 images after each of LAYERS, of unit length over channels."""
    kept = []
    handles = [prepared.network._blocks[k].register_forward_hook(lambda *given: kept.append(given[2])) for k in LAYERS]
    try:
        prepared(images)
    finally:
        for handle in handles:
            handle.remove()
    return [x / (x.square().sum(1, keepdim=True) + SMALL).sqrt() for x in kept]


def distance(prepared, x, y):
    """d [image] of uint8 images [image, 3, h, w] to others of the same shape."""
    pairs = zip(unit_features(prepared, x), unit_features(prepared, y), strict=True)
    return sum((a - b).square().sum(1).mean((1, 2)) for a, b in pairs)


def open_perceptual(size=96, weights=None, device="cpu"):
    """Mean over images of each one's distance to its target; conditions: targets. size: the side images are brought to.

    InputError where the package with EfficientNet's weights is missing.
    """
    network = open_effnet(weights, device, size)

    @torch.inference_mode()
    def score(batch):
        x, y = (images.expand(-1, 3, -1, -1).to(device) for images in pair(batch, "perceptual"))
        parts = zip(x.split(network.batch), y.split(network.batch), strict=True)
        return torch.cat([distance(network.model, *part) for part in parts]).double().cpu().numpy()

    about = network.identity() | {"layer": f"after blocks {', '.join(map(str, LAYERS))}, unit length, unweighted"}
    return Mean("perceptual_effnet_lite0", "1", score, about)
