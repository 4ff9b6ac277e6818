"""The sampling loop against the stock diffusers pipeline call: images per second, both sides in one run, same images.

python -m benchmarks.loop [--steps 8] [--images 500] [--models c8] [--workers 1] [--eager]

tiny-ldm's sizes, on a GPU where there is one. Both sides sample the same images (the same start noise) with DDIM in
the same number format. Ours is compiled, and on a CPU a core takes its part of a batch; what compiling took is printed
apart. We run in the best batch of BATCHES; the stock call runs in batches of 125, and in its own best. Each ratio is of
the medians of alternating runs.
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch
from diffusers import LDMPipeline

from collect.families.trained import TrainedFamily
from collect.run.cell import Cell, ExecutionConfig, draw, prepare
from collect.sampling.loop import SamplingConfig, generators
from collect.sampling.schedulers import scheduler

TINY = "data/models/tiny-ldm"
BATCHES = (125, 250, 500)  # images at once


def stock_call(family, label, sampling, images, device):
    """batch -> float images [image, h, w, channel] in 0..1 by diffusers' own pipeline; the U-Net has its classes bound.

    Classes are those of samples 0, 1, ... in every batch: batches hold a multiple of ten or are called as one.
    """
    model = family.model(label)
    unet = model.denoiser.to(device)
    pipe = LDMPipeline(model.modules["autoencoder"].to(device), unet, scheduler(sampling.sampler, model))
    pipe.set_progress_bar_config(disable=True)

    def call(indices):
        unet.forward = partial(type(unet).forward, unet, class_labels=torch.as_tensor(indices, device=device) % 10)
        noise = generators(sampling.seed, indices)
        return pipe(len(indices), noise, num_inference_steps=sampling.steps, output_type="np").images

    return lambda batch: torch.cat([torch.as_tensor(call(part)) for part in torch.arange(images).split(batch)])


def our_call(family, label, sampling, images, execution):
    """batch -> uint8 images [image, channel, h, w] by the collector's loop."""
    ready, cell = prepare(family.model(label), execution), Cell(label, sampling, images)

    def call(batch):
        return torch.cat(
            [draw(cell, family.task, ready, part.numpy(), batch)[0] for part in torch.arange(images).split(batch)]
        )

    return call


def seconds(run):
    """Wall-clock seconds of one run, the accelerator's queue drained."""
    begin = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def best(call):
    """(the call at its quickest batch, that batch, seconds that first calls took beyond later ones)."""
    first = [seconds(partial(call, batch)) for batch in BATCHES]
    again = [min(seconds(partial(call, batch)) for _ in range(2)) for batch in BATCHES]
    batch = BATCHES[again.index(min(again))]
    return partial(call, batch), batch, (sum(first) - sum(again)) / len(BATCHES)


def compare(ours, stock, tuned, repeats):
    """(seconds of ours, of the stock call, of it in its best batch, largest difference in levels of 255)."""
    off = (ours().float().cpu() - stock().permute(0, 3, 1, 2) * 255).abs().max().item()
    rounds = [[seconds(run) for run in (ours, stock, tuned)] for _ in range(repeats)]
    return *(median(column) for column in zip(*rounds, strict=True)), off


def geometric_mean(ratios):
    return math.prod(ratios) ** (1 / len(ratios))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--models", nargs="+", help="labels; all when left out")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--workers", type=int, help="threads that share a batch; on a CPU one per core when left out")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    intra_batch_workers = args.workers or (1 if device == "cuda" else torch.get_num_threads())
    execution = ExecutionConfig(
        device, compile=not args.eager, channels_last=not args.eager, intra_batch_workers=intra_batch_workers
    )
    sampling = SamplingConfig("ddim", args.steps)
    family, ratios = TrainedFamily(Path(TINY)), []
    print(f"{args.images} images, {args.steps} DDIM steps, float32, {device}, {torch.get_num_threads()} threads, "
          f"{intra_batch_workers} intra-batch workers")  # fmt: skip
    for label in args.models or family.labels:
        call = stock_call(family, label, sampling, args.images, device)
        tuned, their_batch, _ = best(call)
        ours, our_batch, compiling = best(our_call(family, label, sampling, args.images, execution))
        own, stock, least, off = compare(ours, partial(call, BATCHES[0]), tuned, args.repeats)
        ratios.append((stock / own, least / own))
        print(f"{label:>5}: ours {args.images / own:6.0f} images/s ({our_batch} at once); "
              f"stock {args.images / stock:5.0f} ({BATCHES[0]}), ratio {stock / own:4.2f}; "
              f"stock {args.images / least:5.0f} ({their_batch}), "
              f"ratio {least / own:4.2f}; compiled in {compiling:4.1f} s; images differ by {off:.2f} levels",
              flush=True)  # fmt: skip
    for name, column in zip((f"batches of {BATCHES[0]}", "its best batch"), zip(*ratios, strict=True), strict=True):
        print(f"stock call in {name}: geometric mean {geometric_mean(column):.2f}, least {min(column):.2f}")


if __name__ == "__main__":
    main()
