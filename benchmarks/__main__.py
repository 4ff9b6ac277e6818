"""Every benchmark, both sides in one go.

python -m benchmarks          a twentieth of the rivals' starts, times 20: minutes
python -m benchmarks --full   all of them: about a quarter of an hour
"""

import os
import subprocess
import sys

FULL = "--full" in sys.argv
TABLE = (
    ("speed", () if FULL else ("--part", "20")),
    ("groups", ()),
    ("bnsl", ()),
    ("rows", ()),
    ("cores", ()),
    ("twelve", ()),
    ("nist", ()),
    ("coverage", () if FULL else ("--laws", "power_floor", "size_steps_interaction", "bnsl_1")),
    ("frechet", ()),
    ("loop", ()),
    ("bookkeeping", ()),
    ("planner", ()),
    ("scheduler", ()),
    ("design", () if FULL else ("--replays", "40", "--grids", "tiny-ldm", "tiny-t2i")),
    ("package", ()),
)
SAMPLING = ("loop", "bookkeeping")  # on all cores; the rest on the threads that `make bench` gives


def main():
    for name, options in TABLE:
        print(f"\n== {name}", flush=True)
        env = {k: v for k, v in os.environ.items() if name not in SAMPLING or k != "OMP_NUM_THREADS"}
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        subprocess.run(command, env=env, check=name not in ("package", "bnsl"))


if __name__ == "__main__":
    main()
