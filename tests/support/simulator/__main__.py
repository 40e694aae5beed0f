"""Run seeds and print the hash of each: python -m tests.support.simulator fast 1 1000 20."""

import sys

from tests.support.simulator.fast import FastWorld
from tests.support.simulator.whole import WholeWorld


def main(kind: str, first: str, events: str, seeds: str = "1") -> None:
    """Run *seeds* seeds from *first* on, with so many *events* each."""
    for seed in range(int(first), int(first) + int(seeds)):
        world = FastWorld(seed) if kind == "fast" else WholeWorld(seed)
        world.run(int(events))
        world.calm()
        sys.stdout.write(f"{kind} {seed} {world.trace.count} {world.trace.digest()}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
