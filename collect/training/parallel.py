"""Where a training runs: in this process alone, or in those that `accelerate launch` started, with mixed precision."""

import os
from dataclasses import dataclass, field

import torch

from scalinglaws.schema import InputError

PRECISIONS = {  # accelerate's word: what rows say; fp16's loss scale is a state that no snapshot keeps
    "no": "float32",
    "bf16": "bfloat16 mixed",
}
SHARDING = {  # variable that `accelerate launch` sets: what it stands for
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism_config",
}


@dataclass(frozen=True)
class Alone:
    """One process, float32."""

    device: str = "cpu"
    rank: int = 0
    first: bool = True  # writes the files
    processes: int = 1
    dtype: str = "float32"  # numbers of the training, as rows have it

    def prepare(self, model, optimizer):
        return model, optimizer

    def bare(self, model):
        return model

    def backward(self, loss):
        loss.backward()

    def clip(self, parameters, norm):
        """Hold the gradient's norm to `norm`; returns what it was, the same in all processes."""
        return torch.nn.utils.clip_grad_norm_(parameters, norm)

    def wait(self):
        pass


@dataclass(frozen=True)
class Accelerated:
    """Hugging Face accelerate: each process draws a batch of its own, gradients are averaged; process 0 writes."""

    own: object = field(repr=False)  # accelerate.Accelerator

    @property
    def device(self):
        return self.own.device

    @property
    def rank(self):
        return self.own.process_index

    @property
    def processes(self):
        return self.own.num_processes

    @property
    def first(self):
        return self.own.is_main_process

    @property
    def dtype(self):
        return PRECISIONS[self.own.mixed_precision]

    def prepare(self, model, optimizer):
        return self.own.prepare(model, optimizer)

    def bare(self, model):
        return self.own.unwrap_model(model)

    def backward(self, loss):
        self.own.backward(loss)

    def clip(self, parameters, norm):
        return self.own.clip_grad_norm_(parameters, norm)

    def wait(self):
        self.own.wait_for_everyone()


def accelerated(precision="no"):
    """The Accelerated of this process; InputError where accelerate is not installed, or is set to split the model over
    processes (FSDP, DeepSpeed) or to accumulate gradients, or the precision is not known."""
    if precision not in PRECISIONS:
        raise InputError(f"No precision '{precision}' to train in: choose {' or '.join(PRECISIONS)}.")
    try:
        from accelerate import Accelerator
    except ImportError:
        raise InputError(
            "Several GPUs and mixed precision need accelerate: pip install accelerate, then "
            "accelerate launch --module scalinglaws.cli collect ... --accelerate bf16."
        ) from None
    for variable, name in SHARDING.items():
        if os.environ.get(variable, "").lower() in ("true", "1"):
            raise InputError(
                f"accelerate was launched with {name}, which splits a model over processes; this loop trains a whole "
                "one in each and averages their gradients (DDP). Launch it with a configuration that has none, such as "
                "accelerate launch --multi_gpu --num_processes 2 --module scalinglaws.cli collect ..."
            )
    own = Accelerator(mixed_precision=precision)
    if (pieces := own.gradient_accumulation_steps) != 1:
        raise InputError(
            f"accelerate is set to accumulate gradients over {pieces} steps, which this loop does not do: set "
            "gradient_accumulation_steps to 1, and `batch` in the training file to what one process holds."
        )
    return Accelerated(own)
