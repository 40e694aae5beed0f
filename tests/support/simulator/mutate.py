"""Run simulations over a broken program: python -m tests.support.simulator.mutate NAME.

The modules are patched while they are imported, so this imports nothing of the program itself
before that. Exit status: 0 noticed, 1 not noticed within the budget, 2 the text is not there.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType

from tests.support.simulator.mutants import MUTANTS, Mutant

#: Seeds, and events of each before all faults stop.
BUDGET = {"fast": (85, 1000), "whole": (60, 400)}


class _Loader(SourceFileLoader):
    """Reads one module with its mutation; never from a cache."""

    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        if source.count(self.mutant.old) != 1:
            sys.stdout.write(f"{self.mutant.file} has the text {source.count(self.mutant.old)} x\n")
            sys.exit(2)
        return compile(source.replace(self.mutant.old, self.mutant.new), self.path, "exec")


class _Finder(MetaPathFinder):
    """Finds the one module that is changed."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = "supervisord_lite." + mutant.file.removesuffix(".py").replace("/", ".")

    def find_spec(self, name: str, path: object, _target: object = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        spec = PathFinder.find_spec(name, path)  # type: ignore[arg-type]
        assert spec is not None
        assert spec.origin is not None
        loader = _Loader(name, spec.origin)
        loader.mutant = self._mutant
        spec.loader = loader
        return spec


def main(name: str) -> int:
    """Return 0 when the mutant called *name* is noticed."""
    (mutant,) = (each for each in MUTANTS if each.name == name)
    sys.meta_path.insert(0, _Finder(mutant))
    module = import_module(f"tests.support.simulator.{mutant.kind}")
    world_of = module.FastWorld if mutant.kind == "fast" else module.WholeWorld
    broken = import_module("tests.support.simulator.violation").BrokenPromiseError
    seeds, events = BUDGET[mutant.kind]
    count = 0
    for seed in range(mutant.first, mutant.first + seeds):
        world = world_of(seed)
        try:
            world.run(events)
            world.calm()
        except broken as error:
            count += world.trace.count
            sys.stdout.write(f"after {count} events: {str(error).splitlines()[0]}\n")
            return 0
        count += world.trace.count
    sys.stdout.write(f"not in {count} events\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
