"""The sampling loop against the stock diffusers pipeline call: images a second, both sides in one run, same images.

python -m benchmarks.loop [--steps 8] [--batch 250] [--ours 100] [--models c8] [--eager]

tiny-ldm's sizes, on a GPU where there is one. Each side samples the same images (the same start noise) with DDIM in the
same number format; the stock call `--batch` at once, ours `--ours` at once (the same number when left out). Ours is
compiled; what compiling took is printed apart. The ratio is of the medians of alternating runs.
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch
from diffusers import LDMPipeline

from collect.bundle import Bundle
from collect.measure import Bench, prepare
from collect.samplers import scheduler
from collect.sampling import How, generators, samples

TINY = "data/models/tiny-ldm"


def stock_call(family, label, how, batch, device):
    """() -> float images [image, h, w, channel] in 0..1 by diffusers' own pipeline; the U-Net has its classes bound."""
    model = family.model(label)
    unet = model.denoiser.to(device)
    unet.forward = partial(type(unet).forward, unet, class_labels=torch.arange(batch, device=device) % 10)
    pipe = LDMPipeline(model.modules["autoencoder"].to(device), unet, scheduler(how.sampler, model))
    pipe.set_progress_bar_config(disable=True)
    return lambda: pipe(
        batch_size=batch,
        num_inference_steps=how.steps,
        generator=generators(how.seed, range(batch)),
        output_type="np",
    ).images


def our_call(family, label, how, count, bench):
    """() -> uint8 images [image, channel, h, w] by the collector's loop, bench.batch at once; count is a multiple."""
    ready = prepare(family.model(label), bench)

    def part(start):
        indices = range(start, start + bench.batch)
        return samples(ready.model, family.task, how, indices, ready.net, bench.device)[0]

    return lambda: torch.cat([part(start) for start in range(0, count, bench.batch)])


def seconds(run):
    """Wall-clock seconds of one run, the accelerator's queue drained."""
    begin = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def compare(family, label, how, batch, bench, repeats):
    """(seconds of the stock call, of ours, of compiling, largest difference in levels of 255) of one size."""
    stock, ours = stock_call(family, label, how, batch, bench.device), our_call(family, label, how, batch, bench)
    compiling = seconds(ours)
    theirs = torch.as_tensor(stock()).permute(0, 3, 1, 2) * 255
    off = (ours().float() - theirs.cpu()).abs().max().item()
    pairs = [(seconds(stock), seconds(ours)) for _ in range(repeats)]
    return *(median(column) for column in zip(*pairs, strict=True)), compiling, off


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--ours", type=int, help="our batch, a divisor of --batch")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--models", nargs="+", help="labels; all when left out")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bench = Bench(device, args.ours or args.batch, compile=not args.eager, channels_last=not args.eager)
    how = How("ddim", args.steps)
    family, ratios = Bundle(Path(TINY)), []
    print(f"{args.batch} images, {bench.batch} at once by us, {args.steps} DDIM steps, float32, {device}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    for label in args.models or family.labels:
        stock, ours, compiling, off = compare(family, label, how, args.batch, bench, args.repeats)
        ratios.append(stock / ours)
        rates = f"stock {args.batch / stock:8.1f} images/s, ours {args.batch / ours:8.1f}, ratio {stock / ours:5.2f}"
        print(f"{label:>5}: {rates}; compiled in {compiling:5.1f} s; images differ by {off:.2f} levels", flush=True)
    print(f"geometric mean of the ratios {math.prod(ratios) ** (1 / len(ratios)):.2f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    main()
