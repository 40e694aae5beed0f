"""Calls fail on purpose, each Nth of them with each plausible errno, until a run is clean.

    python -m tests.faults [--places N] [PART…]

PART is "alone" (a keeper to which the test is supervisor and scribe), "rotation" (of the scribe),
"keeper", "supervisor" or "scribe" (of a whole daemon); "alone:KIND", "rotation:WAY",
"supervisor:SCENE" and "supervisor:SCENE:KIND" are less. Without any, all are tried, which takes
hours; --places tries so many of each kind in a scene of a whole daemon.
It says where it is, and goes on behind a failure; the exit status is 1 if there was one.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence

from tests.faults.sweeps import ALONE, OF_ROLE, Tally, alone, rotation, whole
from tests.support import leftovers
from tests.support.refusing import SCENES
from tests.support.scribe_life import WAYS

PARTS = ("alone", "rotation", *OF_ROLE)


def _sweep(tally: Tally, part: str, most: int) -> None:
    role, *rest = part.split(":")
    if role == "alone":
        alone(tally, rest or list(ALONE))
    elif role == "rotation":
        rotation(tally, rest or list(WAYS))
    else:
        whole(tally, role, rest[:1] or list(SCENES), rest[1:], most=most)


def main(words: list[str]) -> int:
    """Sweep, and say so; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--places", type=int, default=0)
    parser.add_argument("parts", nargs="*", metavar="PART")
    given = parser.parse_args(words)
    folder = tempfile.mkdtemp(prefix="sdl-", dir="/tmp")
    os.environ[leftovers.MARKER] = folder  # holds all that is made here
    try:
        return _sweep_all(given.parts or PARTS, given.places)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_all(parts: Sequence[str], most: int) -> int:
    wrong = 0
    for part in parts:
        tally = Tally()
        _sweep(tally, part, most)
        kinds = len({kind for kind, _ in tally.kinds})
        count = f"{tally.places} calls of {kinds} kinds in {len(tally.kinds)} ways"
        print(f"{part}: {count} were refused, {len(tally.wrong)} were wrong", flush=True)
        for where in tally.wrong:
            print(f"  {where}", flush=True)
        wrong += len(tally.wrong)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
