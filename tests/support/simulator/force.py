"""What has to be in force, worked out from the documented rules of reloads and sizes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Launch, LogTarget, Spec, spec_from_json
from supervisord_lite.core.pools import Pool, Slot
from tests.support.simulator.violation import BrokenPromiseError


class Force:
    """One configuration in force. It is never changed: what follows it is another one.

    Attributes:
        generation: How many files have been in force.
        file: Pool -> spec, as the file has it.
        hands: Pool -> the size that a person gave it, and the one that the file had then.
        specs: Pool -> spec with the size in force, in file order.
        former: Pools that are in no file any more, while something of them is there.
    """

    def __init__(
        self,
        generation: int,
        file: Iterable[Spec],
        hands: Mapping[str, tuple[int, int]],
        former: Mapping[str, Spec],
    ) -> None:
        self.generation = generation
        self.file = {spec.pool: spec for spec in file}
        self.hands = {
            pool: hand
            for pool, hand in hands.items()
            if pool in self.file and _holds(hand, self.file[pool])
        }
        self.specs = {
            pool: _sized(spec, self.hands[pool][0]) if pool in self.hands else spec
            for pool, spec in self.file.items()
        }
        self.former = {pool: each for pool, each in former.items() if pool not in self.file}

    def reloaded(self, file: Iterable[Spec], leaving: Iterable[Slot]) -> Force:
        """Return what follows when *file* is put in force; *leaving*: who was on the way out."""
        return Force(self.generation + 1, file, self.hands, self._known(leaving))

    def scaled(self, sizes: Mapping[str, int], leaving: Iterable[Slot]) -> Force:
        """Return what follows when a person gives pools other sizes."""
        hands = dict(self.hands)
        for pool, size in sizes.items():
            if size != self.specs[pool].pool_size:
                hands[pool] = (size, self.file[pool].pool_size)
        return Force(self.generation, self.file.values(), hands, self._known(leaving))

    def _known(self, leaving: Iterable[Slot]) -> dict[str, Spec]:
        there = {pool for pool, _ in leaving}
        former = {pool: spec for pool, spec in self.former.items() if pool in there}
        return {**former, **self.specs}

    def narrowed(self, pools: Iterable[str]) -> Force:
        """Return the same where only *pools* of the former ones are still known."""
        former = {pool: self.former[pool] for pool in pools if pool in self.former}
        return Force(self.generation, self.file.values(), self.hands, former)

    def slots(self) -> list[Slot]:
        """Return every slot that has a place."""
        return [
            (pool, index)
            for pool, spec in self.specs.items()
            for index in range(1, spec.pool_size + 1)
        ]

    def spec(self, pool: str) -> Spec:
        """Return the spec of a pool, also of a former one."""
        return self.specs.get(pool) or self.former[pool]

    def pools(self) -> list[Pool]:
        """Return all pools, with what they wait for."""
        specs = {**self.former, **self.specs}.values()
        return [Pool(each.pool, each.requires, each.after, each.critical) for each in specs]

    def name(self, slot: Slot) -> str:
        """Return how people call a slot."""
        size = self.spec(slot[0]).pool_size
        return slot[0] if size == 1 and slot[1] == 1 else f"{slot[0]}-{slot[1]}"

    def check(self, specs: Iterable[Spec]) -> None:
        """Compare with what the supervisor has put in force.

        Raises:
            BrokenPromiseError: It is something else.
        """
        found = list(specs)
        if found != list(self.specs.values()):
            brief = [(spec.pool, spec.pool_size, spec.launch.argv) for spec in found]
            real = [(each.pool, each.pool_size, each.launch.argv) for each in self.specs.values()]
            message = f"{brief} is in force, and not {real}"
            raise BrokenPromiseError(message)

    def check_saves(self, saves: Mapping[str, str], slots: Iterable[Slot]) -> None:
        """Compare with what a dead supervisor has left behind; *slots*: whoever should be there.

        Raises:
            BrokenPromiseError: It is a mixture of two configurations.
        """
        self.check(spec_from_json(saves[f"spec/{pool}"]) for pool in json.loads(saves["pools"]))
        generation = json.loads(saves.get("force", "{}")).get("generation", 1)
        hands = json.loads(saves.get("by_hand", "{}"))
        sizes = {pool: tuple(hand[:2]) for pool, hand in hands.items()}
        if (generation, sizes) != (self.generation, self.hands):
            message = f"generation and sizes: {generation}, {sizes}, not {self.generation}"
            raise BrokenPromiseError(message)
        kept = {
            (key.split("/")[1], int(key.split("/")[2]))
            for key, text in saves.items()
            if key.startswith("worker/") and not text.startswith('{"gone"')
        }
        strangers = kept - set(slots)
        if strangers:
            message = f"there are records of {strangers}, who are not there"
            raise BrokenPromiseError(message)


def _holds(hand: tuple[int, int], spec: Spec) -> bool:
    """A person's word holds until the file says something new about the size."""
    size, file_size = hand
    return file_size == spec.pool_size != size and not spec.singleton


def _sized(spec: Spec, size: int) -> Spec:
    launch = spec.launch
    path = launch.stdout.path
    if size > 1 and path and "%i" not in path:
        stdout = LogTarget("file", path.removesuffix(".log") + "-%i.log")
        launch = replace(launch, stdout=stdout)
    return replace(spec, pool_size=size, launch=launch)


def needs_new_run(old: Spec, new: Spec) -> bool:
    """Return whether a change holds only for a process that starts with it."""
    return _handed(old.launch) != _handed(new.launch)


def _handed(launch: Launch) -> tuple[object, ...]:
    return launch.argv, launch.environment, launch.stdout.kind


def log_of(spec: Spec, index: int) -> str:
    """Return where the output of an instance goes; "" where it has no file of its own."""
    return spec.launch.stdout.path.replace("%i", str(index))


def asked_log(request: Mapping[str, Any]) -> str:
    """Return where a request lets the output go."""
    stdout = request["stdout"]
    path: str = stdout["stream"]["path"] if stdout["to"] == "log" else ""
    return path
