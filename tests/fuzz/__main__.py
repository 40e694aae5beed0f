"""``python -m tests.fuzz --inputs N --seed S [TARGET…]``: N inputs for each target.

Inputs that crash are kept below tests/fuzz/crashes, to be checked in with what mends them, and the
exit status is 1.
"""

import argparse
import os
import sys

from tests.fuzz import runner
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="all without any")
    parser.add_argument("--inputs", type=int, default=10_000, help="for each target")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    arguments = parser.parse_args()
    sys.stdout.write(f"seed {arguments.seed}\n")
    bad = 0
    for target in arguments.target or TARGETS:
        found, took_s = runner.timed(target, arguments.seed, arguments.inputs)
        sys.stdout.write(
            f"{target:10} {arguments.inputs:,} inputs in {took_s:.1f} s, {len(found)} crashes\n"
        )
        for number, crash in found:
            sys.stdout.write(
                f"  input {number}, kept as {runner.keep(target, crash)}\n{crash.told}\n"
            )
        bad += len(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
