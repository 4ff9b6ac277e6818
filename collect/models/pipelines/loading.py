"""diffusers' pipelines from folders: with their weights, or as blueprints that have shapes but no numbers."""

import importlib
from pathlib import Path

import torch

from collect.models.networks import quiet, with_weights
from collect.models.pipelines.parts import weighed
from scalinglaws.schema import InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LEFT_OUT = ("safety_checker", "watermarker", "image_encoder", "feature_extractor")  # parts that no sample goes through
LIBRARIES = ("diffusers", "transformers")
SAFE = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}


def load_pipeline(folder, dtype):
    """A pipeline from a folder, safetensors only; InputError when it is not one, is damaged or lacks a weight."""
    kind = DTYPES[dtype]
    return _opened(Path(folder), lambda place, network: _loaded(place, network, kind), dtype=kind)


def blueprint(folder):
    """The pipeline of a folder with its networks on the meta device: configurations are read, weights are not."""
    return _opened(Path(folder), _network)


def _opened(folder, network, **options):
    """The pipeline, its networks by network(folder, class), its parts saved as None and those that no sample goes
    through opened as None."""
    from diffusers import DiffusionPipeline

    try:
        with quiet():
            networks = {name: network(folder / name, kind) for name, kind in _networks(folder).items()}
            parts = {k: tuple(entry) for k, entry in _index(folder).items() if isinstance(entry, list | tuple)}
            absent = dict.fromkeys(k for k, entry in parts.items() if k in LEFT_OUT or entry == (None, None))
            pipe = DiffusionPipeline.from_pretrained(folder, **absent, **networks, **options, **SAFE)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{folder} is not a diffusers pipeline with safetensors weights: {_short(error)} Nothing else is read: "
            "save_pretrained(FOLDER) of the pipeline writes them."
        ) from error
    for part in weighed(pipe).values():
        part.eval().requires_grad_(False)
    return pipe


def _short(error, most=300):
    """An exception's message as one line, cut after so many characters, that ends like a sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text[:most]} ..." if len(text) > most else text.rstrip(".") + "."


def _index(folder):
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.load_config(folder, local_files_only=True)


def _networks(folder):
    """{part: class} of the parts with weights that diffusers or transformers define."""
    try:
        index = _index(folder)
    except OSError as error:
        raise InputError(f"{folder} is not a diffusers pipeline: {error}") from error
    parts = {k: v for k, v in index.items() if isinstance(v, list | tuple) and k not in LEFT_OUT}
    known = {k: (library, name) for k, (library, name) in parts.items() if library in LIBRARIES}
    kinds = {k: getattr(importlib.import_module(library), name, None) for k, (library, name) in known.items()}
    return {k: kind for k, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, torch.nn.Module)}


def _network(folder, kind):
    """A network as its folder's configuration describes it, without numbers."""
    with torch.device("meta"):
        if hasattr(kind, "load_config"):
            return kind.from_config(kind.load_config(folder, local_files_only=True))
        return kind(kind.config_class.from_pretrained(folder, local_files_only=True))


def _loaded(folder, kind, dtype):
    from diffusers.utils import is_accelerate_available

    ours = {"torch_dtype": dtype, "low_cpu_mem_usage": is_accelerate_available()}  # diffusers'; else transformers'
    options = ours if hasattr(kind, "load_config") else {"dtype": dtype}
    return with_weights(kind, folder, local_files_only=True, **options)
