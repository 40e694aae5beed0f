"""What processes use, as far as somebody has asked: looked at by a child, kept with its age.

Nobody asks while nobody wants to know: an idle daemon samples nothing. Those who ask are clients
(`Status` with `samples`, and whoever scrapes metrics) and `recycle.memory` (`recycling.py`). One
question is under way at a time; those who ask meanwhile are answered by the next one, together, by
one pass over /proc.

A sample belongs to a run, not to a pid: what comes for one that has ended is dropped. While one run
takes over from another, a slot has two, and both are looked at. A child that does not answer in
time is given up, and so is what was asked: then what is known is what is known.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from supervisord_lite.base.clock import Clock
from supervisord_lite.base.record import record
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.sampling import Sampling
from supervisord_lite.supervisor.twins import led_runs_of

#: A sample younger than this answers the next question too.
FRESH_S = 2.0
#: How long the child waits for another question.
_LINGER_S = 5.0
#: Children that were given up and still hang, at most.
_MOST_HUNG = 2

StartSampling = Callable[..., Sampling]
#: A slot, and the number of one of its runs.
Run = tuple[Slot, int]


@record
class Usage:
    """Of one tree.

    Attributes:
        at_s: When, on the daemon's clock.
        run: Of which run.
        rss_bytes: Resident memory, shared pages counted in each process.
        pss_bytes: The same, each shared page divided among those who share it; None: not looked at,
            or not for us to see.
        cpu_s: CPU time of the tree until now.
        cpu_percent: Of one core; since the sample before, or since the leader was forked. Never
            more than the box has.
        fds: Open descriptors; None as with `pss_bytes`.
        threads, processes: How many there are.
        charged_bytes: What its cgroup is charged for; None: no memory controller.
        started: Tells two leaders with one pid apart.
    """

    at_s: float
    run: int
    rss_bytes: int
    pss_bytes: int | None
    cpu_s: float
    cpu_percent: float
    fds: int | None
    threads: int
    processes: int
    charged_bytes: int | None
    started: int

    @property
    def memory_bytes(self) -> int:
        """Return what a limit of memory goes by: what is charged, else PSS, else RSS."""
        if self.charged_bytes is not None:
            return self.charged_bytes
        return self.rss_bytes if self.pss_bytes is None else self.pss_bytes


class Samples:
    """The latest sample of each run, and the child that takes new ones.

    Attributes:
        changes: Counts what was taken in: while it is the same, the sample of a run that lives is.
    """

    def __init__(
        self,
        fleet: Fleet,
        poller: Poller,
        clock: Clock,
        *,
        keeper_pid: int,
        cgroups: str | None = None,
        start: StartSampling = Sampling,
    ) -> None:
        """Begin with nothing sampled.

        Args:
            fleet: Whose workers these are.
            poller: Wakes the loop when the child has answered.
            clock: Now.
            keeper_pid: The parent of every leader.
            cgroups: The folder with a cgroup for each run; None: there are none.
            start: Starts the child: (keeper_pid, now_s=).
        """
        self._fleet = fleet
        self._poller = poller
        self._clock = clock
        self._keeper_pid = keeper_pid
        self._cgroups = cgroups
        self._start = start
        self.changes = 0
        self._usage: dict[Run, Usage] = {}
        self._child: Sampling | None = None
        self._linger_until_s: float | None = None
        self._leaving: list[Sampling] = []
        self._asked: list[Run] = []
        self._wanted: dict[Slot, None] = {}
        self._told: list[Callable[[], None]] = []
        self._later: list[Callable[[], None]] = []

    # -- what is known -----------------------------------------------------------------------------

    def of(self, slot: Slot, run: int) -> Usage | None:
        """Return the latest sample of a run of *slot*; None: there is none, or it has ended."""
        found = self._usage.get((slot, run))
        return found if found is not None and run in self._trees(slot) else None

    def are_fresh(self, slots: Iterable[Slot]) -> bool:
        """Return whether nothing new would be learned of *slots* by asking."""
        now_s = self._clock.now_s()
        return all(
            (found := self._usage.get((slot, run))) is not None and now_s - found.at_s < FRESH_S
            for slot in slots
            for run in self._trees(slot)
        )

    # -- asking ------------------------------------------------------------------------------------

    def ask(self, slots: Iterable[Slot], then: Callable[[], None]) -> None:
        """Look at *slots*, and call *then* when that is done, or will never be."""
        self._wanted.update(dict.fromkeys(slots))
        self._later.append(then)
        if not self._told:
            self._begin()

    def _begin(self) -> None:
        wanted, self._wanted = self._wanted, {}
        self._told, self._later = self._later, []
        now_s = self._clock.now_s()
        trees = {(slot, run): tree for slot in wanted for run, tree in self._trees(slot).items()}
        self._asked = list(trees)
        if not trees:
            self._end()
            return
        question = {"trees": list(trees.values()), "close": True}
        self._linger_until_s = None
        try:
            self._child_at(now_s).ask(question, now_s)
        except OSError:
            # One that died while nobody asked; a second one that cannot be asked is no accident.
            self._let_go()
            try:
                self._child_at(now_s).ask(question, now_s)
            except OSError:
                self._let_go()
                self._end()

    def _trees(self, slot: Slot) -> dict[int, dict[str, Any]]:
        """Return what to ask about each run of *slot* that lives; that of the slot comes first."""
        worker = self._fleet.workers.get(slot)
        if worker is None:
            return {}
        pool, index = slot
        trees = {}
        for each in led_runs_of(worker, self._fleet.twins.get(slot)):
            tree = {"pid": getattr(each.state, "pid", None), "pool": pool, "index": index}
            tree["spawned_at_s"] = getattr(each.state, "spawned_at_s", None)
            tree["cgroup"] = self._cgroups and f"{self._cgroups}/{pool}.{index}.{each.run}"
            if tree["spawned_at_s"] is not None:
                trees[each.run] = tree
        return trees

    def _child_at(self, now_s: float) -> Sampling:
        if self._child is None:
            if len(self._leaving) >= _MOST_HUNG:
                raise TimeoutError(0, "children that were given up still hang")
            self._child = self._start(self._keeper_pid, now_s=now_s)
            self._poller.watch(self._child.fileno(), readable=self._receive)
        return self._child

    # -- answers -----------------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire` next."""
        if self._child is not None and self._told:
            return self._child.deadline_s
        return self._linger_until_s

    def expire(self, now_s: float) -> None:
        """Give up an answer that takes too long, and a child that nobody needs."""
        if self._child is None:
            return
        if self._told:
            if now_s >= self._child.deadline_s:
                self._receive()
        elif self._linger_until_s is not None and now_s >= self._linger_until_s:
            self._let_go()

    def _receive(self) -> None:
        child = self._child
        if child is None:
            return
        now_s = self._clock.now_s()
        child.receive(now_s)
        if child.answer is not None:
            answer, child.answer = child.answer, None
            self._take(answer, now_s)
        elif not child.is_over:
            return
        if child.is_over:
            self._let_go()
        self._end()

    def _take(self, answer: list[list[Any] | None], now_s: float) -> None:
        self.changes += 1
        for asked, found in zip(self._asked, answer, strict=True):
            slot, run = asked
            if found is None or run not in self._trees(slot):
                self._usage.pop(asked, None)
                continue
            rss, pss, cpu_s, fds, threads, processes, charged, started, age_s = found
            before = self._usage.get(asked)
            # A leader is older than its run: it also worked while it was being set up.
            lasted_s, used_s = age_s, 0.0
            if before is not None and before.started == started and before.cpu_s <= cpu_s:
                lasted_s, used_s = now_s - before.at_s, before.cpu_s
            percent = _percent(cpu_s - used_s, lasted_s)
            self._usage[asked] = Usage(
                now_s, run, rss, pss, cpu_s, percent, fds, threads, processes, charged, started
            )

    def _end(self) -> None:
        """Tell those who asked, and look for those who asked meanwhile."""
        told, self._told = self._told, []
        self._asked = []
        for each in told:
            each()
        if self._later and not self._told:
            self._begin()
        elif not self._told and self._child is not None:
            self._linger_until_s = self._clock.now_s() + _LINGER_S
        for slot, run in [each for each in self._usage if each[1] not in self._trees(each[0])]:
            del self._usage[slot, run]

    def _let_go(self) -> None:
        """Let the child end, and bury it when it has."""
        child, self._child = self._child, None
        self._linger_until_s = None
        if child is None:
            return
        if child.has_ended():
            self._close(child)
            return
        self._leaving.append(child)
        child.dismiss()
        self._poller.watch(child.fileno(), readable=partial(self._bury, child))

    def _bury(self, child: Sampling) -> None:
        child.receive(self._clock.now_s())
        if child.has_ended():
            self._leaving.remove(child)
            self._close(child)

    def _close(self, child: Sampling) -> None:
        self._poller.unwatch(child.fileno())
        child.close()


def _percent(used_s: float, lasted_s: float) -> float:
    """Return CPU time as a share of one core.

    What is counted in ticks, and read a moment before the clock is, may come to more than there
    was.
    """
    most = 100.0 * (os.cpu_count() or 1)
    return round(min(most, 100 * used_s / max(lasted_s, 1e-3)), 1)
