"""A network compiled for its own use, by torch.compile."""

import math
from contextlib import nullcontext
from functools import partial
from types import FunctionType

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

COMPILERS = {  # by kind of device: options of the compiler; parts compiled beside the denoiser (LOG, 2026-11-24)
    "cpu": ({"cpp_wrapper": True}, ()),
    "cuda": ({}, ("decoder",)),
}
FEW = 64  # positions: up to here a CPU is done sooner with plain matrix products than with its fused attention
UNGUARDED = {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}  # a module here never changes


class Compiled(torch.nn.Module):
    """The compiled twin of a module, which must not change any more.

    torch.compile keeps its results by code object, eight at most, and tells models of one class apart by guards. A
    code object for each twin: no guards on the module are needed, and the ninth model is compiled like the first.
    """

    def __init__(self, module, options, attention=nullcontext):
        super().__init__()
        self.attention = attention
        self.run = torch.compile(_own_code(module), dynamic=False, options=options | UNGUARDED)

    def forward(self, *args, **kwargs):
        with self.attention():
            return self.run(*args, **kwargs)


def _own_code(module):
    """A function that calls the module."""

    def call(*args, **kwargs):
        return module(*args, **kwargs)

    code = call.__code__.replace(co_name=f"call_{id(module)}")
    return FunctionType(code, call.__globals__, code.co_name, None, call.__closure__)


def compiled(model, kind):
    """The compiled twin of a Model's denoiser; other parts that gain by it on this kind of device are replaced."""
    options, more = COMPILERS[kind]
    for part in model.modules.values():
        for name in more:
            if isinstance(getattr(part, name, None), torch.nn.Module):
                setattr(part, name, Compiled(getattr(part, name), options))
    short = kind == "cpu" and math.prod(model.shape[1:]) <= FEW
    return Compiled(model.denoiser, options, partial(sdpa_kernel, SDPBackend.MATH) if short else nullcontext)
