"""diffusers' pipelines, each adapted once: a table from pipeline class to the Model it gives.

Every adapter keeps to what the pipeline's own call does with its parts; tests compare the two image by image.
"""

from inspect import signature

from collect.models.pipelines import super_resolution
from collect.models.pipelines.transformers import dit, flux, pixart, sd3
from collect.models.pipelines.unets import pixels, sdxl, text_unet
from collect.models.pipelines.upscalers import latent_upscale, text_upscale
from scalinglaws.schema import InputError

ADAPTERS = {  # pipeline class: (adapter, the tasks it can do)
    "DDPMPipeline": (pixels, ("unconditional", "class")),
    "DDIMPipeline": (pixels, ("unconditional", "class")),
    "DiTPipeline": (dit, ("class",)),
    "StableDiffusionPipeline": (text_unet, ("text",)),
    "LatentConsistencyModelPipeline": (text_unet, ("text",)),
    "StableDiffusionXLPipeline": (sdxl, ("text",)),
    "PixArtAlphaPipeline": (pixart, ("text",)),
    "PixArtSigmaPipeline": (pixart, ("text",)),
    "StableDiffusion3Pipeline": (sd3, ("text",)),
    "FluxPipeline": (flux, ("text",)),
    "LDMSuperResolutionPipeline": (latent_upscale, ("upscale",)),
    "StableDiffusionUpscalePipeline": (text_upscale, ("upscale",)),
}


def adapt(pipe, task, **options):
    """The Model of a loaded diffusers pipeline; InputError for a class not in ADAPTERS or a task it cannot do.

    For the task `upscale` any pipeline of super_resolution.BASES will do whose first layer was widened.
    """
    name = type(pipe).__name__
    if task == "upscale" and name in super_resolution.BASES:
        _check(options, name, super_resolution.BASES[name])
        return super_resolution.adapt(pipe, **options)
    if name not in ADAPTERS:
        raise InputError(
            f"Pipelines of class {name} are not known. Known: {', '.join(ADAPTERS)}. "
            "Add one through the entry-point group 'scalinglaws.models'."
        )
    adapter, tasks = ADAPTERS[name]
    if task not in tasks:
        raise InputError(f"A {name} cannot do task '{task}': it does {' and '.join(tasks)}.")
    _check(options, name, adapter)
    return adapter(pipe, **options)


def _check(options, name, adapter):
    """InputError for an option that an adapter does not take, or that is no whole number."""
    known = [option for option in signature(adapter).parameters if option != "pipe"]
    if unknown := sorted(set(options) - set(known)):
        raise InputError(f"A {name} has no option {', '.join(unknown)}: allowed are {', '.join(known) or 'none'}.")
    for option, given in options.items():
        if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
            raise InputError(f"The option '{option}' of a {name} was {given!r}: allowed are whole numbers.")
