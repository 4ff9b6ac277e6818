"""Correct digits on the NIST StRD sets, both starting points: parameters and standard errors.

python -m benchmarks.nist
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from test_nist import MODELS, certify


def main():
    whole = 0
    for name in MODELS:
        both = [certify(name, start) for start in (0, 1)]
        reached = all(min(digits) >= 6 for digits in both)
        whole += reached
        print(f"{name:10s} start 1: {both[0][0]:5.1f} {both[0][1]:5.1f}   start 2: {both[1][0]:5.1f} "
              f"{both[1][1]:5.1f}   {'six digits' if reached else 'not reached'}")  # fmt: skip
    print(f"{whole} of {len(MODELS)} sets with six digits or more of parameters and standard errors from both starts")


if __name__ == "__main__":
    main()
