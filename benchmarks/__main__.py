"""Every benchmark, both sides in one go.

python -m benchmarks          a twentieth of the rivals' starts, times 20: minutes
python -m benchmarks --full   all of them: about a quarter of an hour
python -m benchmarks ask nist only those
"""

import os
import subprocess
import sys

FULL = "--full" in sys.argv
TABLE = (
    ("speed", () if FULL else ("--part", "20")),
    ("ask", ()),
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
    ("settings", ("--starts", "8" if FULL else "2")),
    ("trainings", ()),
    ("package", ()),
)
SAMPLING = ("loop", "bookkeeping")  # on all cores; the rest on the threads that `make bench` gives


def main():
    wanted = [word for word in sys.argv[1:] if not word.startswith("--")]
    if unknown := set(wanted) - set(dict(TABLE)):
        raise SystemExit(f"No benchmark {', '.join(sorted(unknown))}. Known: {', '.join(dict(TABLE))}.")
    for name, options in TABLE:
        if wanted and name not in wanted:
            continue
        print(f"\n== {name}", flush=True)
        env = {k: v for k, v in os.environ.items() if name not in SAMPLING or k != "OMP_NUM_THREADS"}
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        subprocess.run(command, env=env, check=name not in ("package", "bnsl"))


if __name__ == "__main__":
    main()
