"""Ten thousand to a million rows: seconds and peak memory, one process each.

python -m benchmarks.rows
"""

import resource
import subprocess
import sys
import time

from benchmarks.points import synthetic
from scalinglaws.fitting import fit

COUNTS = (10_000, 100_000, 1_000_000)


def one(count: int) -> None:
    """Fit count synthetic rows in this process."""
    table = synthetic(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = fit(table, "chinchilla", "loss", {"N": "N", "D": "D"})
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    doubts = len(result.warnings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{count:>9,} rows: fit {seconds:6.2f} s ({seconds / count * 1e6:.2f} µs a row), warnings {doubts} in "
          f"{time.perf_counter() - start:.2f} s, peak {peak / 2**20:.2f} GiB (before the fit {before / 2**20:.2f}), "
          f"alpha {result.values['a']:.5f} beta {result.values['b']:.5f}")  # fmt: skip


def main():
    if len(sys.argv) > 1:
        return one(int(sys.argv[1]))
    for count in COUNTS:
        subprocess.run([sys.executable, "-m", "benchmarks.rows", str(count)], check=True)


if __name__ == "__main__":
    main()
