"""diffusers' pipelines from folders: with their weights, or as blueprints that have shapes but no numbers."""

import importlib
from contextlib import contextmanager
from pathlib import Path

import torch

from collect.models.pipelines.parts import weighed
from scalinglaws.schema import InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LEFT_OUT = ("safety_checker", "watermarker", "image_encoder", "feature_extractor")  # parts that no sample goes through
LIBRARIES = ("diffusers", "transformers")


def load_pipeline(folder, dtype):
    """A pipeline from a folder, safetensors only; InputError when it is not one or is damaged."""
    from diffusers.utils import is_accelerate_available

    return _opened(folder, dtype=DTYPES[dtype], low_cpu_mem_usage=is_accelerate_available())


def blueprint(folder):
    """The pipeline of a folder with its networks on the meta device: configurations are read, weights are not."""
    folder = Path(folder)
    networks = {name: _network(folder / name, kind) for name, kind in _networks(folder).items()}
    return _opened(folder, **networks)


def _opened(folder, **options):
    """The pipeline, its parts saved as None and those that no sample goes through opened as None."""
    from diffusers import DiffusionPipeline

    safe = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            parts = {k: tuple(entry) for k, entry in _index(folder).items() if isinstance(entry, list | tuple)}
            absent = dict.fromkeys(k for k, entry in parts.items() if k in LEFT_OUT or entry == (None, None))
            pipe = DiffusionPipeline.from_pretrained(folder, **absent, **options, **safe)
    except Exception as error:
        raise InputError(f"{folder} is not a diffusers pipeline with safetensors weights: {error}") from error
    for part in weighed(pipe).values():
        part.eval().requires_grad_(False)
    return pipe


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
    with torch.device("meta"), quiet():
        if hasattr(kind, "load_config"):
            return kind.from_config(kind.load_config(folder, local_files_only=True))
        return kind(kind.config_class.from_pretrained(folder, local_files_only=True))


@contextmanager
def quiet():
    """No bars and no advice from diffusers and transformers while a pipeline is opened."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    before = [(each, each.get_verbosity(), each.is_progress_bar_enabled()) for each in (ours, theirs)]
    for each, _, _ in before:
        each.set_verbosity_error()
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each, verbosity, bars in before:
            each.set_verbosity(verbosity)
            if bars:
                each.enable_progress_bar()
