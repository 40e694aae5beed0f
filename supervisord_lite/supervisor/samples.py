"""What processes use, as far as somebody has asked: looked at by a child, kept with its age.

Nobody asks while nobody wants to know: an idle daemon samples nothing. Those who ask are clients
(`Status` with `samples`, and whoever scrapes metrics) and `recycle.memory` (`recycling.py`). One
question is under way at a time; those who ask meanwhile are answered by the next one, together, by
one pass over /proc.

A sample belongs to a run, not to a pid: what comes for one that has ended is dropped. A child that
does not answer in time is given up, and so is what was asked: then what is known is what is known.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from supervisord_lite.base.clock import Clock
from supervisord_lite.base.record import record
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.sampling import Sampling

#: A sample younger than this answers the next question too.
FRESH_S = 2.0
#: How long the child waits for another question.
_LINGER_S = 5.0
#: Children that were given up and still hang, at most.
_MOST_HUNG = 2

StartSampling = Callable[..., Sampling]


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
        cpu_percent: Of one core; since the sample before, or since the start.
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
    """The latest sample of each slot, and the child that takes new ones."""

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
        self._usage: dict[Slot, Usage] = {}
        self._child: Sampling | None = None
        self._linger_until_s: float | None = None
        self._leaving: list[Sampling] = []
        self._asked: list[tuple[Slot, int, float]] = []
        self._wanted: dict[Slot, None] = {}
        self._told: list[Callable[[], None]] = []
        self._later: list[Callable[[], None]] = []

    # -- what is known -----------------------------------------------------------------------------

    def of(self, slot: Slot) -> Usage | None:
        """Return the latest sample of the present run of *slot*; None: there is none."""
        found = self._usage.get(slot)
        worker = self._fleet.workers.get(slot)
        if found is None or worker is None or getattr(worker.state, "pid", None) is None:
            return None
        return found if found.run == worker.run else None

    def are_fresh(self, slots: Iterable[Slot]) -> bool:
        """Return whether nothing new would be learned of *slots* by asking."""
        now_s = self._clock.now_s()
        return all(
            (found := self.of(slot)) is not None and now_s - found.at_s < FRESH_S
            for slot in slots
            if self._tree(slot) is not None
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
        trees = [(slot, tree) for slot in wanted if (tree := self._tree(slot)) is not None]
        self._asked = [(s, self._fleet.workers[s].run, t["spawned_at_s"]) for s, t in trees]
        if not trees:
            self._end()
            return
        question = {"trees": [tree for _, tree in trees], "close": True}
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

    def _tree(self, slot: Slot) -> dict[str, Any] | None:
        worker = self._fleet.workers.get(slot)
        state = None if worker is None else worker.state
        pid, at_s = getattr(state, "pid", None), getattr(state, "spawned_at_s", None)
        if worker is None or pid is None or at_s is None:
            return None
        pool, index = slot
        cgroup = self._cgroups and f"{self._cgroups}/{pool}.{index}.{worker.run}"
        return {"pid": pid, "pool": pool, "index": index, "spawned_at_s": at_s, "cgroup": cgroup}

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
        for (slot, run, spawned_at_s), found in zip(self._asked, answer, strict=True):
            worker = self._fleet.workers.get(slot)
            if worker is None or worker.run != run or found is None:
                self._usage.pop(slot, None)
                continue
            rss, pss, cpu_s, fds, threads, processes, charged, started = found
            before = self._usage.get(slot)
            since_s, used_s = spawned_at_s, 0.0
            if (
                before is not None
                and (before.run, before.started) == (run, started)
                and before.cpu_s <= cpu_s
            ):
                since_s, used_s = before.at_s, before.cpu_s
            percent = round(100 * (cpu_s - used_s) / max(now_s - since_s, 1e-3), 1)
            self._usage[slot] = Usage(
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
        for slot in [slot for slot in self._usage if slot not in self._fleet.workers]:
            del self._usage[slot]

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
