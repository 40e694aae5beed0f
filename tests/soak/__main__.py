"""`python -m tests.soak --seconds S --workers N --seed X [--only KIND,…]`: see soak.py.

The suite soaks for a minute; this is for longer ones. As root disks are filled and frozen as well.
It says which seed it has, and at the end what it has counted and measured; the exit status is 1 if
something was not as it must be.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.soak.schedule import KINDS
from tests.soak.soak import Soak, a_fleet
from tests.support import leftovers


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seconds", metavar="S", type=float, default=600.0)
    parser.add_argument("--workers", metavar="N", type=int, default=200)
    parser.add_argument(
        "--seed", metavar="X", type=int, default=int.from_bytes(os.urandom(4), "big")
    )
    parser.add_argument("--only", metavar="KIND,…", default="", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="of a daemon that failed")
    arguments = parser.parse_args()
    arguments.only = [kind for kind in arguments.only.split(",") if kind]
    if unknown := set(arguments.only) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    return arguments


def main() -> int:
    """Soak; return the exit status."""
    arguments = _arguments()
    print(f"seed {arguments.seed}", flush=True)
    session = leftovers.Session()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = False
    try:
        keep = arguments.keep or Path(tempfile.gettempdir(), f"soak-{arguments.seed}")
        with a_fleet(arguments.workers) as fleet:
            soak = Soak(
                fleet, seed=arguments.seed, seconds=arguments.seconds, only=arguments.only,
                keep=keep,
            )  # fmt: skip
            try:
                soak.run()
            except AssertionError as error:
                failed = True
                print(f"BROKEN: {error}", file=sys.stderr)
            print(soak.report.text())
    finally:
        left = session.end()
    for line in left:
        print(f"was left, and is cleared away: {line}", file=sys.stderr)
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main())
