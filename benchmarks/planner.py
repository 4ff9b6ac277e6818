"""A sweep of 100,800 cells: seconds to name them all, to find what is missing and to price it.

python -m benchmarks.planner
"""

import tempfile
import time
from pathlib import Path

from collect.run import sweep
from collect.run.plan import plan

FAMILY = Path("data/models/tiny-ldm").resolve()
SWEEP = f"""
family: {FAMILY}
samplers: [ddim, dpm++2m, euler, unipc, heun]
steps: {list(range(1, 73))}
guidance: [1.0, 1.5, 2.0, 3.0]
seed: {list(range(10))}
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(SWEEP)
        begin = time.perf_counter()
        opened = sweep.open_sweep(path, f"{folder}/store")
        named = len(opened.jobs), time.perf_counter()
        prices = plan(opened, timed=False)
        print(f"{named[0]} cells named in {named[1] - begin:.1f} s; {len(prices)} missing ones priced in "
              f"{time.perf_counter() - named[1]:.1f} s: {sum(p.flops for p in prices):.3g} FLOPs")  # fmt: skip


if __name__ == "__main__":
    main()
