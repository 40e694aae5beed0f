"""``python -m tests.fuzz --inputs N --seed S [TARGET…]``: N inputs for each target.

A target (targets.py) is the daemon's own code that reads what others have written, from the bytes
to what becomes of them, and what is promised of that. Inputs are made, not drawn: good ones that
are damaged (mutate.py), by bytes, as JSON, or as TOML (documents.py); each can be made again from
the seed and its number. Targets that live longer than one input (a keeper in a made-up world, a
supervisor with its clients) take a life of some dozens of inputs at once.

Inputs that crash are kept below tests/fuzz/crashes/TARGET, and the exit status is 1. Such a file is
given a name that says what it is, and checked in with what mends it: from then on each run of the
tests gives it to its target, beside a few hundred new inputs for each (SDL_SEED names the seed).
A million inputs for a target take one to thirty minutes of one processor.
"""

import argparse
import os
import sys
from pathlib import Path

from tests.fuzz import runner
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="all without any")
    parser.add_argument("--inputs", type=int, default=10_000, help="for each target")
    parser.add_argument("--keep", type=Path, default=runner.CRASHES, help="where crashes are kept")
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
            path = runner.keep(arguments.keep, target, crash)
            sys.stdout.write(f"  input {number}, kept as {path}\n{crash.told}\n")
        bad += len(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
