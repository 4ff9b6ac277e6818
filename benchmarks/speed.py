"""The same fit and the same 4,000 refits, ours and what people run, in one go.

python -m benchmarks.speed            all 4,500 starts with numeric gradients: minutes
python -m benchmarks.speed --part 10  every tenth start and resample of the rivals, times 10
"""

import argparse
import time
from dataclasses import replace

import numpy as np

from benchmarks import rivals
from benchmarks.points import BEST, chinchilla
from scalinglaws.fitting import fit
from scalinglaws.fitting.batching import minimise_all
from scalinglaws.fitting.bootstrap import pair_weights
from scalinglaws.fitting.settings import BOOTSTRAP, SOLVER


def clock(function, *arguments):
    """Seconds of this process's own work and result: what else runs on the machine does not count for either side."""
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def ours(table):
    return fit(table, "chinchilla", "loss", {"N": "N", "D": "D"}, delta=rivals.DELTA, bootstrap="pair", replicates=4000)


def from_scratch(table, part):
    """Our fit from initial guesses between two rival grids; the median of 15 of ours, taken before and after."""
    logs, target = (np.log(table["N"].to_numpy()), np.log(table["D"].to_numpy())), np.log(table["loss"].to_numpy())
    rivals.check_gradient(logs, target)
    starts = rivals.grid()[::part]
    times = [clock(ours, table)[0] for _ in range(8)]
    numeric, objectives = clock(rivals.grid_fit, logs, target, starts, False)
    times += [clock(ours, table)[0] for _ in range(8)]
    analytic, exact = clock(rivals.grid_fit, logs, target, starts, True)
    times += [clock(ours, table)[0] for _ in range(8)]
    seconds, result = float(np.median(times)), ours(table)
    above = result.objective / BEST - 1
    print(f"ours, from initial guesses: {seconds * 1e3:.1f} ms (median of {len(times)}), objective "
          f"{result.objective:.16g}, relative to the known optimum {above:+.1e}")  # fmt: skip
    for name, spent, values in (("numeric", numeric, objectives), ("analytic", analytic, exact)):
        near = np.mean(values < result.objective * (1 + 1e-6))
        print(f"{len(starts)} L-BFGS-B starts, {name} gradient: {spent:.1f} s, x {part} = {spent * part:.1f} s; best "
              f"{values.min() / result.objective - 1:+.1e} above ours; {near:.0%} of starts within 1e-6; "
              f"ours is {spent * part / seconds:,.0f} times faster")  # fmt: skip


def bootstrap(table, part):
    """4,000 weighted refits, both from the same optimum with the same weights."""
    result = ours(table)
    problem, theta = result.problem, result.minima.theta[0]
    weights = pair_weights(problem, 4000, np.random.default_rng(0))
    objective, starts = problem.objective.with_(weight=weights), np.tile(theta, (4000, 1))
    limits = replace(SOLVER, iterations=BOOTSTRAP.iterations, stall_tolerance=BOOTSTRAP.stall_tolerance)
    times = [clock(minimise_all, [objective], [starts], limits) for _ in range(3)]
    seconds, (refits,) = min(times, key=lambda pair: pair[0])
    logs, target = (np.log(table["N"].to_numpy()), np.log(table["D"].to_numpy())), np.log(table["loss"].to_numpy())
    values = result.values
    start = np.array([np.log(values["A"]), np.log(values["B"]), np.log(values["E"]), values["a"], values["b"]])
    spent, rival = clock(rivals.bootstrap_fit, logs, target, weights[::part], start)
    worse = refits.objective[::part] - rival
    print(f"4,000 refits: ours {seconds:.2f} s; BFGS with analytic gradient {len(rival)} in {spent:.1f} s, x {part} = "
          f"{spent * part:.1f} s: {spent * part / seconds:.0f} times faster")  # fmt: skip
    print(f"ours minus theirs, worst replicate {worse.max():.1e} (relative {(worse / rival).max():.1e}); "
          f"theirs worse by more than 1e-8 on {np.mean(worse < -1e-8):.1%}")  # fmt: skip


def errors(table):
    """Standard errors of 4,000 pair resamples: the publication's own draws, then ten other seeds."""
    result = ours(table)
    published = {"A": 124.5, "B": 1293, "E": 0.0257, "a": 0.0154, "b": 0.0206}
    rows, draw = len(table), np.random.RandomState(42)
    weights = np.stack([np.bincount(draw.choice(rows, rows), minlength=rows) for _ in range(4000)]).astype(float)
    objective = result.problem.objective.with_(weight=weights)
    refits = minimise_all([objective], [np.tile(result.minima.theta[0], (4000, 1))])[0]
    own = result.problem.coordinates.natural(refits.theta).std(axis=0)
    for name, error in zip(result.law.params, own, strict=True):
        print(f"standard error of {name}, the published draws: {error:.5g}, published {published[name]}, "
              f"{error / published[name] - 1:+.2%}")  # fmt: skip
    spread = np.array([result.resampled(4000, seed, "pair").std(axis=0) for seed in range(10)])
    for k, name in enumerate(result.law.params):
        ratio = spread[:, k] / published[name]
        print(f"standard error of {name}: {spread[:, k].mean():.5g}, published {published[name]}, ratio "
              f"{ratio.mean():.3f}, ten seeds {ratio.min():.3f} to {ratio.max():.3f}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=int, default=1)
    part = parser.parse_args().part
    table, real = chinchilla()
    print("the 240 Chinchilla points" if real else "240 synthetic points: the Chinchilla points are not here")
    from_scratch(table, part)
    bootstrap(table, part)
    errors(table)


if __name__ == "__main__":
    main()
