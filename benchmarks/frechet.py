"""Fréchet distance at 2,048 features, cost per cell: ours against scipy.linalg.sqrtm, both in one run.

python -m benchmarks.frechet               2,048 features, 9,000 samples per cell
python -m benchmarks.frechet --features 512
"""

import argparse
import time

import numpy as np
from scipy.linalg import sqrtm

from collect.metrics import gaussians, kernel_distance, precision_recall, sums
from collect.metrics.reference import Reference


def clock(function, *arguments):
    """Seconds of this process's own work and result: what else runs on the machine does not count for either side."""
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def features(rng, count, d):
    """float32 features with variances from 1 down to 1e-4, mixed, as a network's are."""
    mix = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0] * np.logspace(0, -2, d)
    return (rng.normal(size=(count, d)) @ mix.T).astype(np.float32)


def classic(sample, reference):
    """The distance with the root of the product of covariances, as the classic codes have it."""
    shift = sample.mean - reference.mean
    root = sqrtm(sample.covariance @ reference.covariance)
    return shift @ shift + np.trace(sample.covariance) + np.trace(reference.covariance) - 2 * np.trace(root.real)


def cell(d, count):
    """One cell: the distance by both, then what else a cell asks for."""
    rng = np.random.default_rng(1)
    real, fake = features(rng, 3 * d, d), features(rng, count, d) * 1.05 + 0.01
    base = sums.moments(real.astype(float))
    reference = Reference(base.mean, base.covariance, real[:5000].astype(float), len(real), "", "")
    once, _ = clock(lambda: reference.root)
    streaming, partial = clock(sums.of, fake, np.arange(count))
    sample = sums.gaussian(partial)
    times = [clock(gaussians.distance, sample, reference) for _ in range(3)]
    ours, distance = float(np.median([t for t, _ in times])), times[0][1]
    theirs, expected = clock(classic, sample, reference)
    print(f"{d} features, {count} samples; root of the reference, once for all cells: {once:.1f} s")
    print(f"distance from sums: ours {ours:.2f} s per cell (median of 3), scipy.linalg.sqrtm {theirs:.2f} s: "
          f"{theirs / ours:.1f} times cheaper")  # fmt: skip
    print(f"ours {distance:.12g}, theirs {expected:.12g}, relative difference {distance / expected - 1:+.1e}")
    print(f"sums of all samples: {streaming:.2f} s, {streaming / count * 1e3:.2f} ms per sample")
    return partial, reference, theirs


def everything(partial, reference, theirs):
    """All columns of a cell, and what each asks of the processor."""
    kept = partial["kept"].astype(float)
    whole = clock(gaussians.columns, partial, reference)[0]
    infinite, columns = clock(gaussians.columns, partial, reference, True)
    print(f"fd with its error and both halves: {whole:.2f} s, three distances; three by sqrtm: {3 * theirs:.1f} s")
    print(f"fd_inf as well: {infinite:.2f} s ({columns['fd_inf'][0]:.4g} +- {columns['fd_inf'][1]:.2g})")
    clock(lambda: (reference.own_kernel, reference.radii))
    print(f"kd: {clock(kernel_distance, kept, reference)[0]:.2f} s; precision and recall: "
          f"{clock(precision_recall, kept, reference)[0]:.2f} s")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=9000)
    args = parser.parse_args()
    everything(*cell(args.features, args.samples))


if __name__ == "__main__":
    main()
