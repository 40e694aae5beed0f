"""Health: who is asked whether it works, and what follows from the answers.

`core.probing` says when to ask and what answers come to; here are the means. A question over a
socket (`http`, `tcp`) is asked by this process in its own epoll (`probes.py`); a program (`exec`)
is started by the keeper (keeper/probes.py), which tells what it came to.

* Asked are runs that live: from ready on, or, where the first good answer makes ready, from their
  spawn on. With the beginning of an end a question that is under way is dropped. A run of an
  earlier configuration is asked as that one said, or not at all.
* The state of it all is lost with this process. A new one counts anew.
* Nobody is judged for our own absence: after a gap (this process or the machine was stopped, or got
  no CPU) a missing or bad answer says nothing, and the question is asked again.
* At most so many questions are under way; the others wait in a row. An answer that will never come
  (the keeper has forgotten it) is given up a while after its time.
"""

import math
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from supervisord_lite.base.clock import Clock
from supervisord_lite.base.record import replace
from supervisord_lite.base.signals import name_of
from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.spec import Health as HealthSpec
from supervisord_lite.config.spec import Spec
from supervisord_lite.core import probing
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.probing import Asked
from supervisord_lite.core.states import Probing, Running, Starting, Worker
from supervisord_lite.supervisor.deadlines import Deadlines
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.launch import private_place, probe_request
from supervisord_lite.supervisor.outbox import Request, Slot
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.probes import Question, Target
from supervisord_lite.supervisor.words import without_secrets
from supervisord_lite.wire import http_probe

#: Being this late means that we were stopped ourselves.
_GAP_S = 1.0
#: Under way at the same time: connections, and programs.
_MOST_QUESTIONS = 256
_MOST_PROGRAMS = 16
#: Begun in one turn: clients and workers come first.
_MOST_IN_TURN = 64
#: Questions that are due at about the same time are asked in one turn, so many times a second.
_TURNS = 16.0
#: Where the interval is shorter, somebody looks at milliseconds.
_LEAST_ALIGNED_S = 1.0
#: The keeper tells when a program is late; this much later nothing will come any more.
_LOST_S = 10.0
#: After a question that could not be asked.
_AGAIN_S = 1.0


Key = tuple[str, int, int]  #: pool, index, run


class _Case:
    """One run that is asked.

    Attributes:
        health: How.
        target: Where; None: a program is asked.
        question: Under way over a socket.
        number: Of the latest question to a program.
    """

    __slots__ = ("asked", "health", "number", "phase", "question", "target")

    def __init__(
        self, asked: Asked, health: HealthSpec, phase: float, target: Target | None
    ) -> None:
        self.asked = asked
        self.health = health
        self.phase = phase
        self.target = target
        self.question: Question | None = None
        self.number = 0


class Health:
    """Everybody who is asked.

    Attributes:
        on_changed: Told of each slot of which `note` may say something else now.
    """

    def __init__(
        self,
        fleet: Fleet,
        poller: Poller,
        clock: Clock,
        is_outdated: Callable[[Slot, int], bool] = lambda _slot, _run: False,
    ) -> None:
        """Ask those of *fleet* who want it.

        Args:
            fleet: Whose they are.
            poller: Calls back.
            clock: Now.
            is_outdated: Whether this run of a slot is of an earlier configuration.
        """
        self.on_changed: Callable[[Slot], None] = lambda _slot: None
        self._fleet = fleet
        self._poller = poller
        self._clock = clock
        self._is_outdated = is_outdated
        self._deadlines: Deadlines[Key] = Deadlines()
        self._cases: dict[Key, _Case] = {}
        #: The runs of each slot that are asked.
        self._asked: dict[Slot, set[int]] = {}
        #: Who is due and has to wait for others: insertion order.
        self._waiting: dict[Key, None] = {}
        self._questions = 0
        self._programs = 0
        self._count = 0
        self._specs: object = None
        fleet.listen(self._stepped)

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire`; None: not at all."""
        return self._deadlines.next_s()

    def note(self, slot: Slot, run: int) -> str:
        """Return what to say of the latest answer of a run, for people; empty: nothing."""
        case = self._cases.get((*slot, run))
        return "" if case is None else case.asked.note(case.health.pace)

    # -- who ---------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Take another configuration into account, if there is one."""
        if self._fleet.specs is self._specs:
            return
        self._specs = self._fleet.specs
        for slot in {key[:2] for key in self._cases} | self._fleet.workers.keys():
            self._follow(slot)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del before, after, told
        if self._fleet.specs is self._specs:  # else in the middle of a change: see `follow`
            self._follow(slot)

    def _follow(self, slot: Slot) -> None:
        """Ask those runs of a slot that are to be asked, as they are to be; and no others."""
        spec = self._fleet.specs.get(slot[0])
        asked = self._asked.get(slot)
        if asked is None and (spec is None or spec.health is None):
            return
        wanted: set[Key] = set()
        for worker in self._runs_of(slot):
            begun, key = _begun(worker), (*slot, worker.run)
            if begun is None:
                continue
            if self._is_outdated(slot, worker.run):
                if key in self._cases:
                    wanted.add(key)
            elif spec is not None and spec.health is not None:
                wanted.add(key)
                self._go_on(spec, spec.health, key, begun)
        for run in [run for run in asked or () if (*slot, run) not in wanted]:
            self._drop((*slot, run))

    def _runs_of(self, slot: Slot) -> list[Worker]:
        """Return the runs of a slot: while one takes over from another there are two."""
        runs = (self._fleet.workers.get(slot), self._fleet.twins.get(slot))
        return [worker for worker in runs if worker is not None]

    def _go_on(self, spec: Spec, health: HealthSpec, key: Key, begun: tuple[float, bool]) -> None:
        """Ask a run by this spec; one that is asked so already goes on."""
        since_s, is_awaited = begun
        case = self._cases.get(key)
        is_same = case is not None and case.health == health
        if case is not None and is_same and (is_awaited or not case.asked.is_awaited):
            return
        self._drop(key)
        pool, index, run = key
        now_s, phase = self._clock.now_s(), probing.phase(zlib.crc32(pool.encode()), index)
        asked = probing.begin(
            run, since_s, is_awaited=is_awaited, now_s=now_s, pace=health.pace, phase=phase
        )
        target = None if health.kind == "exec" else self._target(spec, health, index, run)
        self._cases[key] = _Case(asked, health, phase, target)
        self._asked.setdefault((pool, index), set()).add(run)
        self._arm(key)

    def _target(self, spec: Spec, health: HealthSpec, index: int, run: int) -> Target:
        path = instance_text(health.path, index)
        if health.socket:
            place = private_place(spec, health.socket, index, run, self._fleet.settings)
            assert place is not None, health.socket
            return Target(place=place, request=http_probe.request(path, "localhost"))
        port = instance_text(health.port, index)
        addresses = tuple((address, int(port or 80)) for address in health.addresses)
        if health.kind == "tcp":
            return Target(addresses)
        host = f"[{health.host}]" if ":" in health.host else health.host
        host = f"{host}:{port}" if port else host
        return Target(addresses, request=http_probe.request(path, host))

    def _drop(self, key: Key) -> None:
        case = self._cases.pop(key, None)
        if case is None:
            return
        pool, index, run = key
        self.on_changed((pool, index))
        runs = self._asked[pool, index]
        runs.discard(run)
        if not runs:
            del self._asked[pool, index]
        self._deadlines.forget(key)
        self._waiting.pop(key, None)
        if self._stop_asking(case) and (pool, index) in self._fleet.workers:
            request: Request = {"do": "end_probe", "pool": pool, "index": index, "run": run}
            self._fleet.outbox.request((pool, index), request)

    def _stop_asking(self, case: _Case) -> bool:
        """Forget the question under way; return whether it was put to a program."""
        if case.question is not None:
            case.question.close()
            case.question = None
            self._questions -= 1
            return False
        is_program = case.target is None and case.asked.asked_at_s is not None
        self._programs -= is_program
        return is_program

    # -- when --------------------------------------------------------------------------------------

    def expire(self, now_s: float) -> None:
        """Ask whoever is due, and judge who has not answered in time."""
        if self._is_gap(now_s):
            self._forgive(now_s)
        first_s = self._deadlines.next_s()
        if first_s is not None and first_s <= now_s:
            for key in self._deadlines.take_due(now_s):
                case = self._cases.get(key)
                if case is None:
                    continue
                if case.asked.asked_at_s is None:
                    self._waiting[key] = None
                else:
                    self._late(key, case, now_s)
        for _ in range(_MOST_IN_TURN):
            next_key = self._next_waiting()
            if next_key is None:
                return
            del self._waiting[next_key]
            self._ask(next_key, self._cases[next_key], now_s)
        next_key = self._next_waiting()
        if next_key is not None:  # in the next turn, which comes at once
            del self._waiting[next_key]
            self._deadlines.put(next_key, now_s)

    def _next_waiting(self) -> Key | None:
        """Return the first in the row for whom there is room."""
        has_room = (self._questions < _MOST_QUESTIONS, self._programs < _MOST_PROGRAMS)
        if has_room == (True, True):
            return next(iter(self._waiting), None)
        if not any(has_room):
            return None
        wanted = (
            key
            for key in self._waiting
            if has_room[0 if self._cases[key].target is not None else 1]
        )
        return next(wanted, None)

    def _is_gap(self, now_s: float) -> bool:
        first_s = self._deadlines.next_s()
        return first_s is not None and now_s > first_s + _GAP_S

    def _forgive(self, now_s: float) -> None:
        for key, case in self._cases.items():
            if case.asked.asked_at_s is None:
                continue
            if case.question is None:
                # The keeper has its own eye on gaps.
                self._deadlines.put(key, now_s + case.health.pace.timeout_s + _LOST_S)
                continue
            self._stop_asking(case)
            self._put_off(key, case, now_s)

    def _arm(self, key: Key) -> None:
        asked, pace = self._cases[key].asked, self._cases[key].health.pace
        at_s = asked.next_at_s
        if at_s is not None and not asked.is_awaited and pace.interval_s >= _LEAST_ALIGNED_S:
            at_s = math.ceil(at_s * _TURNS) / _TURNS
        self._deadlines.put(key, at_s)

    def _put_off(self, key: Key, case: _Case, at_s: float, problem: str | None = None) -> None:
        case.asked = probing.put_off(case.asked, at_s, problem)
        self.on_changed(key[:2])
        self._deadlines.put(key, at_s)

    def _late(self, key: Key, case: _Case, now_s: float) -> None:
        if case.question is None:
            self._stop_asking(case)
            self._put_off(key, case, now_s)
            return
        problem = f"{case.question.late} within {case.health.pace.timeout_s:g}s"
        self._stop_asking(case)
        self._take(key, case, problem, now_s)

    # -- asking ------------------------------------------------------------------------------------

    def _ask(self, key: Key, case: _Case, now_s: float) -> None:
        case.asked = probing.ask(case.asked, now_s)
        timeout_s = case.health.pace.timeout_s
        if case.target is None:
            self._count += 1
            case.number = self._count
            self._programs += 1
            self._deadlines.put(key, now_s + timeout_s + _LOST_S)
            # Where it runs is the spec's; what runs, and for how long, is what the case began with.
            pool, index, run = key
            spec = replace(self._fleet.spec(pool), health=case.health)
            request = probe_request(spec, index, run, case.number, self._fleet.settings)
            self._fleet.outbox.request((pool, index), request)
            return
        self._deadlines.put(key, now_s + timeout_s)
        self._questions += 1
        case.question = Question(self._poller, case.target, partial(self._done, key, case))
        case.question.start()

    def _done(self, key: Key, case: _Case, problem: str, counts: bool) -> None:
        """A question over a socket has been answered, or cannot be."""
        case.question = None
        self._questions -= 1
        now_s = self._clock.now_s()
        if counts:
            self._take(key, case, problem, now_s)
        else:
            self._put_off(key, case, now_s + _AGAIN_S, problem)

    def take(self, message: dict[str, Any]) -> None:
        """Take what a program came to, if *message* of the keeper tells of one."""
        if "probed" not in message:
            return
        pool, index, run, number, outcome = message["probed"]
        key = (pool, index, run)
        case = self._cases.get(key)
        is_asked = case is not None and case.target is None and case.asked.asked_at_s is not None
        if case is None or not is_asked or case.number != number:
            return
        self._programs -= 1
        spec, settings = self._fleet.spec(pool), self._fleet.settings
        now_s, problem = self._clock.now_s(), _problem(outcome)
        problem = without_secrets(problem, spec, index, settings)
        if outcome.get("is_its_own", True):
            self._take(key, case, problem, now_s)
        else:
            self._put_off(key, case, now_s + _AGAIN_S, problem)

    def _take(self, key: Key, case: _Case, problem: str, now_s: float) -> None:
        """Let an answer count; but a bad one after a gap is asked for again."""
        if problem and case.target is not None and self._is_gap(now_s):
            self._put_off(key, case, now_s)
            return
        if problem or case.asked.problem:
            self.on_changed(key[:2])
        case.asked, verdict = probing.answered(
            case.asked, problem, now_s=now_s, pace=case.health.pace, phase=case.phase
        )
        self._arm(key)
        if verdict is not None:
            self._fleet.feed_guarded(key[:2], verdict, now_s)


def _begun(worker: Worker) -> tuple[float, bool] | None:
    """Return since when a run is asked, and whether an answer makes it ready; None: it is not."""
    match worker.state:
        case Running(ready_at_s=ready_at_s) | Probing(ready_at_s=float() as ready_at_s):
            return ready_at_s, False
        case (
            Starting(spawned_at_s=float() as spawned_at_s)
            | Probing(spawned_at_s=float() as spawned_at_s)
        ):
            return (spawned_at_s, True) if worker.policy.ready_by == "health" else None
        case _:
            return None


def _problem(outcome: dict[str, Any]) -> str:
    """Return what is wrong with what a program came to, for people; empty: nothing."""
    if "late_s" in outcome:
        return f"no answer within {outcome['late_s']:g}s"
    if "not_started" in outcome:
        return f"could not be asked: {outcome['not_started']}"
    if outcome["code"] == 0:
        return ""
    how = f"exit {outcome['code']}" if outcome["signal"] is None else name_of(outcome["signal"])
    return f"{how}: {outcome['line']}" if outcome["line"] else how
