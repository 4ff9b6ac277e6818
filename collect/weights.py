"""Weights on disk: safetensors only, written whole then renamed, refused with a sentence when damaged."""

import hashlib
import json
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from collect.writing import whole
from scalinglaws.schema import InputError


def save(tensors, path, metadata=None, half=False):
    """Write {name: tensor} so that a reader sees the old file or the new one, never a part; equal tensors and metadata
    give equal bytes. InputError where it cannot be written."""
    path = Path(path)
    kept = {k: v.detach().to(torch.float16 if half and v.is_floating_point() else v.dtype) for k, v in tensors.items()}
    about = {k: str(v) for k, v in (metadata or {}).items()}
    data = _in_order(to_bytes({k: v.contiguous() for k, v in kept.items()}, metadata=about))
    with whole(path) as part:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)


def _in_order(file):
    """The bytes of a safetensors file with its metadata sorted: the library writes them in an order of chance."""
    (length,) = struct.unpack("<Q", file[:8])
    header = json.loads(file[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + file[8 + length :]


def load(path):
    """({name: tensor}, {key: text}) of a safetensors file; InputError when missing, truncated or not one."""
    _present(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"The weight file {path} is damaged or not safetensors ({error}): fetch or train it again."
        ) from error


def _present(path):
    if not Path(path).exists():
        raise InputError(f"No weight file {path}: train the family first, or give the folder that holds its weights.")


def load_into(module, path):
    """Load a file's tensors into a module, as float32; InputError names what does not fit."""
    tensors, metadata = load(path)
    wanted, given = module.state_dict(), {k: v.float() for k, v in tensors.items()}
    wrong = sorted(set(wanted) ^ set(given)) or [k for k in wanted if wanted[k].shape != given[k].shape]
    if wrong:
        raise InputError(
            f"The weight file {path} does not fit this model: see {', '.join(wrong[:3])}. Is it another size?"
        )
    module.load_state_dict(given)
    return metadata


def fingerprint(path):
    """The first 16 hex digits of a file's sha256; InputError when it is missing."""
    _present(path)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
