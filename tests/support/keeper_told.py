"""A keeper alone, from where its tests begin; and what it has told."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support import leftovers
from tests.support.cgroups import own as own_cgroup
from tests.support.forkserver import with_targets
from tests.support.keeper import below
from tests.support.keeper_alone import AloneKeeper


def seeded() -> random.Random:
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    return random.Random(seed)


@contextmanager
def alone(*, cgroups: bool, environment: dict[str, str] | None = None) -> Iterator[AloneKeeper]:
    if cgroups and own_cgroup() is None:
        pytest.skip("needs a writable cgroup v2")
    folder = leftovers.short_folder()
    (folder / "w").mkdir()
    keeper = AloneKeeper(with_targets(folder), cgroups=cgroups, environment=environment)
    try:
        keeper.begin()
        yield keeper
    finally:
        left = below(keeper.pid)
        status = keeper.close()
        leftovers.kill(left)
    assert status == 0, keeper.output()


def log(keeper: AloneKeeper, name: str) -> dict[str, Any]:
    return {
        "to": "log",
        "stream": {"path": f"{keeper.folder}/{name}.log", "max_size": 1 << 18, "backups": 1000},
    }


def facts_of(keeper: AloneKeeper, name: str) -> dict[int, list[dict[str, Any]]]:
    """Return the facts of a pool of one, by run, in the order of their numbers."""
    found: dict[int, list[dict[str, Any]]] = {}
    for number in sorted(keeper.facts):
        fact = keeper.facts[number]
        if fact.get("pool") == name:
            found.setdefault(fact["run"], []).append(fact)
    return found


def count(keeper: AloneKeeper, kind: str, prefix: str) -> int:
    return sum(
        fact["fact"] == kind and fact.get("pool", "").startswith(prefix)
        for fact in keeper.facts.values()
    )


def is_gone(keeper: AloneKeeper, name: str, run: int = 1) -> bool:
    facts = facts_of(keeper, name).get(run, ())
    return any(fact["fact"] == "emptied" or fact.get("emptied") for fact in facts)
