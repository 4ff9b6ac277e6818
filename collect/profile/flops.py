"""What a network costs, from its architecture alone: counted on the meta device, before a weight exists.

FLOPs     2 a multiply-add (so macs = flops / 2), of matrix products, convolutions and attention (all of it, also where
          a mask leaves half). Additions, norms and activations are not counted, as everywhere.
unfused   bytes if every operator fetched its inputs from memory and wrote its outputs back: an upper bound, near what a
          plain eager run moves. Views move nothing; torch's attention is one operator, whose matrix stays on the chip.
fused     bytes if only the network's weights, inputs and outputs crossed the memory bus: a bound for any compiler.
"""

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

BYTES = {"float64": 8, "float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1, "int8": 1}
ROWS_ONLY = (torch.ops.aten.embedding.default,)  # reads the rows indexed, not the table
FREE = {torch.ops.aten.empty, torch.ops.aten.empty_like, torch.ops.aten.new_empty, torch.ops.aten.empty_strided}


@dataclass(frozen=True)
class Operator:
    """What one operator of a network does in one call."""

    flops: int  # FLOPs
    weights: int  # bytes of weights read
    moved: int  # bytes of everything else read and written


@dataclass(frozen=True)
class Count:
    """One call of one network with `batch` samples."""

    params: int
    batch: int  # samples of the call that was counted
    weight_bytes: int  # of all parameters and buffers, as held
    ends: int  # bytes of the network's own inputs and outputs
    dtype: str
    operators: dict[Operator, int] = field(repr=False)  # how often each occurs

    def _sum(self, name):
        return sum(times * getattr(operator, name) for operator, times in self.operators.items())

    @property
    def flops(self):
        """FLOPs of the call."""
        return self._sum("flops")

    @property
    def macs(self):
        """Multiply-adds of the call."""
        return self.flops // 2

    @property
    def weight_traffic(self):
        """Bytes of weights read, once per operator that uses them."""
        return self._sum("weights")

    @property
    def traffic(self):
        """Bytes of activations read and written, operator by operator."""
        return self._sum("moved")

    @property
    def flops_per_sample(self):
        return self.flops / self.batch

    def weights_as(self, dtype):
        """Bytes of the parameters in another number format."""
        return self.params * BYTES[dtype]

    def unfused(self, batch=None):
        """Bytes moved per call of `batch` samples, operator by operator: weights once, activations per sample."""
        return self.weight_traffic + self.traffic * (batch or self.batch) / self.batch

    def fused(self, batch=None):
        """Bytes that any run must move per call: weights once, inputs and outputs per sample."""
        weights = min(self.weight_bytes, self.weight_traffic)  # those not used by the call are not read
        return weights + self.ends * (batch or self.batch) / self.batch


class Watch(TorchDispatchMode):
    """Writes down what every operator computes, reads and writes; weights are known by their storage."""

    def __init__(self, weights):
        super().__init__()
        self.weights, self.operators = {_storage(w) for w in weights}, Counter()
        self.known, self.inputs, self.alive = set(self.weights), 0, []  # alive: an address is not given out again

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = operator(*args, **kwargs)
        given, made = _tensors((args, kwargs)), _tensors(out)
        self._learn(given, made, operator)
        views = operator.is_view or {_storage(t) for t in made} <= {_storage(t) for t in given}
        if operator._overloadpacket in FREE or (views and not operator._schema.is_mutable):
            return out  # only room was made, or another look at the storage that was given: no bytes move
        flops = flop_registry.get(operator._overloadpacket)
        done = flops(*args, **kwargs, out_val=out) if flops else 0
        written, weights = sum(map(size, made)), [t for t in given if _storage(t) in self.weights]
        from_weights = sum(written if operator in ROWS_ONLY else size(t) for t in weights)
        read = sum(size(t) for t in given if _storage(t) not in self.weights)
        self.operators[Operator(done, from_weights, written + read)] += 1
        return out

    def _learn(self, given, made, operator):
        """What was never seen before is an input; a view of a weight is a weight, whatever stands for its storage."""
        self.inputs += sum(size(t) for t in given if _storage(t) not in self.known)
        if operator.is_view and _storage(given[0]) in self.weights:
            self.weights |= {_storage(t) for t in made}
        self.known |= {_storage(t) for t in given + made}
        self.alive.append([t.untyped_storage() for t in given + made])


class OneAttention(TorchFunctionMode):
    """Keeps attention one operator, as torch runs it; on the meta device it would fall apart into matrix products."""

    def __init__(self, operators):
        super().__init__()
        self.operators = operators

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is not torch.nn.functional.scaled_dot_product_attention:
            return function(*args, **(kwargs or {}))
        return self._attend(*args, **(kwargs or {}))

    def _attend(self, query, key, value, attn_mask=None, *options, **more):
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        pairs = query[..., 0].numel() * key.shape[-2]
        flops = 2 * pairs * (query.shape[-1] + value.shape[-1])
        self.operators[Operator(flops, 0, sum(map(size, _tensors((query, key, value, attn_mask, out)))))] += 1
        return out


def _tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _storage(tensor):
    return tensor.untyped_storage()._cdata


def size(tensor):
    """Bytes of a tensor, elements that an expansion repeats counted once."""
    held = tensor.untyped_storage().nbytes()
    return min(tensor.numel() * tensor.element_size(), held)


def count(build, inputs, dtype="float32", call="forward"):
    """The Count of build()'s network on `inputs`: a tuple of positional, or a dict of named arguments (tensors or not).

    Both go to the meta device, floating numbers as `dtype`; the first tensor's first axis is the batch. `call` is the
    method that is counted, such as an autoencoder's decode; parameters are those of the whole network.
    """
    kind = getattr(torch, dtype)
    with torch.device("meta"):
        network = torch.nn.Module.to(build(), "meta", kind).eval()  # diffusers' own .to() warns of each cast

    def to_meta(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.to("meta", kind) if value.is_floating_point() else value.to("meta")

    given = tree_map(to_meta, inputs)
    args, kwargs = ((), given) if isinstance(given, dict) else (given, {})
    run = network if call == "forward" else getattr(network, call)
    return _counted(lambda: run(*args, **kwargs), network, _tensors(given)[0].shape[0], dtype)


def count_live(network, run, batch=1):
    """The Count of run(), which calls an existing network with `batch` samples; nothing is computed or changed.

    Shapes flow through in place of numbers: a run whose path depends on values fails. Copies made for this device's
    memory layouts count, so traffic may differ by percents from the count on meta.
    """
    dtype = str(next(network.parameters()).dtype).removeprefix("torch.")
    with FakeTensorMode(allow_non_fake_inputs=True):
        return _counted(run, network, batch, dtype)


def _counted(run, network, batch, dtype):
    weights = [*network.parameters(), *network.buffers()]
    with torch.no_grad(), Watch(weights) as watch, OneAttention(watch.operators):
        out = run()
    results = _tensors(dict(out) if hasattr(out, "keys") else out)  # diffusers' and transformers' outputs have keys
    return Count(
        params=sum(p.numel() for p in network.parameters()),
        batch=batch,
        weight_bytes=sum(map(size, weights)),
        ends=watch.inputs + sum(map(size, results)),
        dtype=dtype,
        operators=dict(watch.operators),
    )


@dataclass(frozen=True)
class Work:
    """Evaluating a network on so many samples, `batch` of them a call."""

    counted: Count
    samples: float
    batch: int = 1

    @property
    def calls(self):
        return self.samples / self.batch

    @property
    def flops(self):
        return self.counted.flops_per_sample * self.samples

    @property
    def unfused(self):
        """Bytes, at most."""
        return self.calls * self.counted.unfused(self.batch)

    @property
    def fused(self):
        """Bytes, at least."""
        return self.calls * self.counted.fused(self.batch)


@dataclass(frozen=True)
class CostProfile:
    """A pipeline before anything runs: its denoiser, and where it has them its text encoder and decoder."""

    denoiser: Count
    text: Count | None = None
    decoder: Count | None = None

    def cell(self, nfe, samples, batch=1, texts=1.0):
        """{part: Work} of a cell of so many samples, of the parts there are.

        `nfe` network evaluations per sample (guidance and second-order solvers double it), `batch` samples per network
        call, `texts` conditions encoded per sample (2 with a negative prompt, 0 where embeddings are kept).
        """
        parts = {"denoise": (self.denoiser, nfe), "text": (self.text, texts), "decode": (self.decoder, 1)}
        return {part: Work(counted, each * samples, batch) for part, (counted, each) in parts.items() if counted}

    def columns(self, nfe, texts=1.0):
        """The columns of scalinglaws.schema that are known beforehand; a part that is not there costs nothing."""
        flops = {part: work.flops for part, work in self.cell(nfe, 1, texts=texts).items()}
        return {
            "params": self.denoiser.params,
            "flops_per_forward": self.denoiser.flops_per_sample,
            "macs_per_forward": self.denoiser.flops_per_sample / 2,
            "nfe": nfe,
            "flops_per_image": flops["denoise"],
            "flops_text": flops.get("text", 0),
            "flops_decode": flops.get("decode", 0),
        }

    def training_flops(self, images, passes=None):
        """FLOPs of a training that saw so many images: three forward passes each, since a backward pass is counted as
        twice a forward one (Kaplan et al. 2020, arXiv:2001.08361, section 2.1); passes: of all images, where they are
        others, as of a distillation with its teacher's."""
        return self.denoiser.flops_per_sample * (3 * images if passes is None else passes)

    def training_columns(self, steps, batch):
        """The columns of scalinglaws.schema on a training: its steps, the images seen, its FLOPs."""
        seen = steps * batch
        return {"train_steps": steps, "train_images": seen, "train_flops": self.training_flops(seen)}
