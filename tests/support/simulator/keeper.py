"""The keeper of a simulation: the real table, and processes that are entries in another one."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from supervisord_lite.keeper.table import Key, Run, Table
from supervisord_lite.wire import channel
from tests.support.simulator.drawn import KILL, STAGES, Behaviour, Chance, Faults
from tests.support.simulator.force import asked_log
from tests.support.simulator.processes import Process, ProcessTable
from tests.support.simulator.violation import BrokenPromiseError


class Around(Protocol):
    """What the keeper needs of the world around it."""

    now_s: float
    rng: Chance
    faults: Faults

    def at(self, in_s: float, happen: Callable[..., None], *about: object) -> None:
        """Let something happen later."""

    def wake_supervisor(self) -> None:
        """There is something for the supervisor to read."""

    def on_asked(self, key: Key) -> None:
        """A run is about to be started."""

    def may_have_two(self, slot: tuple[str, int]) -> bool:
        """Return whether a run may be started beside another one of *slot*."""

    def good(self, behaviour: Behaviour) -> None:
        """Let a process be good, if faults have stopped."""


class Keeper:
    """Reads messages, carries out requests, tells facts.

    Attributes:
        processes: Every run of which something may be there; two of a slot at most.
        ends: Every end of a run, in order: what must be counted once each.
    """

    def __init__(self, world: Around, saves: dict[str, str], crash_loops: set[str]) -> None:
        self._world = world
        self.table = Table(dict(saves))
        self.inbox: deque[bytes] = deque()
        self.processes: dict[Key, Process] = {}
        self.ends: dict[tuple[str, int], list[int]] = {}
        self.told = 0
        self.lives = 0
        self._crash_loops = crash_loops
        self._pids = ProcessTable(world.rng, 48)

    # -- the channel -------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Take one packet of the supervisor; it is read a little later."""
        self.inbox.append(data)
        self._world.at(self._world.rng.choice((0.0, 0.0, 0.001, 0.02, 0.3)), self.read)

    def read(self) -> None:
        """Read all that has been said, also by one that is dead."""
        while self.inbox:
            self._obey(channel.decode_whole(self.inbox.popleft()))
        if self.told < self.table.last:
            self._world.wake_supervisor()

    def _obey(self, message: dict[str, Any]) -> None:
        if "save" in message or "applied" in message:
            self.table.save(message.get("save", {}), message.get("applied", 0))
        for request in message.get("do", ()):
            key: Key = (request["pool"], request["index"], request["run"])
            if request["do"] == "spawn":
                self._spawn(key, request)
                continue
            run = self.table.runs.get(key)
            if run is None or run.emptied:
                continue
            if request["do"] == "relog":
                self.processes[key].log = asked_log(request)
            elif request["do"] == "kill":
                self._kill(key)
            elif request["scope"] == "tree" or not run.ended:
                self._signal(run, request)

    def page(self) -> list[dict[str, Any]]:
        """Return some of the facts that the present supervisor has not been told."""
        page = self.table.page(self.told, self._world.rng.randint(1, 4))
        self.told = page[-1]["n"]
        return page

    def handover(self) -> dict[str, Any]:
        """Return what a new supervisor is told, after the dead one was read to its end."""
        self.read()
        text = self.table.handover(
            keeper_pid=1, started_at_s=0.0, adoption=self.lives, has_cgroups=False,
            controllers=[], dropped={}, troubles={},
        )  # fmt: skip
        self.lives += 1
        self.told = self.table.last
        handover: dict[str, Any] = json.loads(text)
        return handover

    def fact(self, kind: str, key: Key | None = None, **fields: object) -> None:
        """Number a fact, and wake whoever must hear it."""
        self.table.fact(kind, self._world.now_s, key, **fields)
        self._world.wake_supervisor()

    # -- runs --------------------------------------------------------------------------------------

    def _spawn(self, key: Key, request: dict[str, Any]) -> None:
        if self.table.is_known(key):
            return
        self.table.note_asked(key)
        slot, world = key[:2], self._world
        others = [each for each in self.processes.values() if each.key[:2] == slot]
        for old in others:
            if old.stage == "gone":
                del self.processes[old.key]
        if self.count(slot) > int(world.may_have_two(slot)):
            message = f"run {key} is started while {slot} is {self.tree(slot)}"
            raise BrokenPromiseError(message)
        world.on_asked(key)
        rng, faults = world.rng, world.faults
        fails = bool(faults.failed_spawn) and rng.random() < faults.failed_spawn
        if fails and rng.random() < 0.5:
            stage, missing, hopeless = rng.choice(STAGES)
            self._tell_failure(key, stage, missing=missing, hopeless=hopeless)
            return
        behaviour = Behaviour(rng, faults, is_crash_loop=key[0] in self._crash_loops)
        world.good(behaviour)
        process = Process(key, self._pids.take(key), behaviour)
        process.program, process.log = tuple(request["argv"]), asked_log(request)
        process.failure = rng.choice(STAGES) if fails else None
        self.processes[key] = process
        self.table.add(Run(key, process.pid, request["marker"], None))
        if process.failure is None and rng.random() < 0.5:
            self._set_up(process)
        else:
            slow = faults.slow_spawn and rng.random() < faults.slow_spawn
            world.at(rng.random() * (20.0 if slow else 0.05), self._set_up, process)

    def _tell_failure(self, key: Key, stage: str, *, missing: bool, hopeless: bool) -> None:
        self.ends.setdefault(key[:2], []).append(key[2])
        self.fact(
            "spawn_failed", key, stage=stage, reason="why", missing=missing, hopeless=hopeless
        )

    def _set_up(self, process: Process) -> None:
        if process.stage != "setup":
            return
        if process.failure is not None:
            self._die(process, 1, None)
            return
        process.stage = "alive"
        run = self.table.runs[process.key]
        run.spawned_at_s = self._world.now_s
        self.fact("spawned", process.key, pid=process.pid)
        own = process.behaviour
        self._world.at(own.lives_s, self._end_by_itself, process)

    def _end_by_itself(self, process: Process) -> None:
        own = process.behaviour
        self._world.good(own)
        if own.lives_s < 1e9:
            self._die(process, own.code, own.signal)

    def _signal(self, run: Run, request: dict[str, Any]) -> None:
        process = self.processes[run.key]
        if run.ended:
            return
        self._pids.signal(run.pid, run.key)
        if process.stage == "setup":
            self._world.at(0.0, self._die, process, None, request["signal"])
        elif request.get("stop") and process.behaviour.heeds_s is not None:
            heeds_s = process.behaviour.heeds_s
            self._world.at(heeds_s, self._die, process, None, request["signal"])

    def _kill(self, key: Key) -> None:
        process = self.processes[key]
        if not self.table.runs[key].ended:
            self._pids.signal(process.pid, key)
            self._world.at(self._world.rng.random() * 0.01, self._die, process, None, KILL)

    def kill_somebody(self) -> None:
        """Somebody else kills one of the workers."""
        alive = [each for each in self.processes.values() if each.stage == "alive"]
        if alive:
            self._die(self._world.rng.choice(alive), None, KILL)

    def _die(self, process: Process, code: int | None, signal: int | None) -> None:
        if process.stage in ("setup", "alive"):
            if process.stage == "alive":
                process.failure = None
            elif process.failure is None:
                process.failure = ("exec", False, False)  # killed in the middle of its set-up
            process.stage, process.code, process.signal = "zombie", code, signal
            self._world.at(self._world.rng.choice((0.0, 0.003, 0.2)), self._reap, process)

    def _reap(self, process: Process) -> None:
        run, left_s = self.table.runs[process.key], process.behaviour.leaves_s
        self.table.note_reaped(run)
        self._pids.release(process.pid)
        if process.failure is not None:
            process.stage = "gone"
            stage, missing, hopeless = process.failure
            self._tell_failure(process.key, stage, missing=missing, hopeless=hopeless)
            self.table.note_emptied(run, self.table.last)
            return
        self.ends.setdefault(process.key[:2], []).append(process.key[2])
        process.stage = "gone" if left_s is None else "left"
        self.fact(
            "exited", process.key, code=process.code, signal=process.signal,
            emptied=left_s is None,
        )  # fmt: skip
        if left_s is None:
            self.table.note_emptied(run, self.table.last)
        else:
            # Longer than some seconds after SIGKILL is a process that cannot be killed.
            self._world.at(min(left_s, 8.0), self._clear, process)

    def _clear(self, process: Process) -> None:
        process.stage = "gone"
        self.fact("emptied", process.key, killed=["9 x"])
        self.table.note_emptied(self.table.runs[process.key], self.table.last)

    # -- looking -----------------------------------------------------------------------------------

    def count(self, slot: tuple[str, int]) -> int:
        """Return of how many runs of a slot there is anything."""
        alive = [each for each in self.processes.values() if each.stage != "gone"]
        return sum(each.key[:2] == slot for each in alive)

    def tree(self, slot: tuple[str, int]) -> str:
        """Return how the trees of a slot really are: "none" where nothing is left of any."""
        trees = [self.tree_of(key) for key in self.processes if key[:2] == slot]
        return " ".join(each for each in trees if each != "none") or "none"

    def tree_of(self, key: Key) -> str:
        """Return how the tree of a run really is, in the words of `SlotModel.tree`."""
        process = self.processes.get(key)
        stage = "gone" if process is None else process.stage
        if process is not None and stage == "zombie" and process.failure is not None:
            return "asked"  # it never came to be
        return {"setup": "asked", "zombie": "alive", "gone": "none"}.get(stage, stage)
