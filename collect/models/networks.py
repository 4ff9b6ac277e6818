"""Networks of diffusers and transformers from folders: with all of their weights, and without their libraries' talk."""

import logging
from contextlib import contextmanager

from scalinglaws.schema import InputError


@contextmanager
def quiet():
    """No bars, no advice and no logged errors from diffusers and transformers while a network is opened."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    before = [(each, each.get_verbosity(), each.is_progress_bar_enabled()) for each in (ours, theirs)]
    for each, _, _ in before:
        each.set_verbosity(logging.CRITICAL)  # what is an error is raised, too
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each, verbosity, bars in before:
            each.set_verbosity(verbosity)
            if bars:
                each.enable_progress_bar()


@quiet()
def with_weights(kind, folder, **options):
    """The network of a class (diffusers' or transformers') from a folder, safetensors only; InputError when the files
    lack some of its tensors, which would be drawn at random instead. options: of from_pretrained."""
    network, report = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **options)
    if lacking := sorted(report["missing_keys"]):
        raise InputError(
            f"The weights in {folder} lack {len(lacking)} of the tensors that its config.json asks for, such as "
            f"{', '.join(lacking[:3])}: they would be random numbers. Save the whole network again."
        )
    return network
