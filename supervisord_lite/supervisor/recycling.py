"""Which runs have had their share, and are to be replaced: recycle.memory, .age and .runs.

Nothing of this is saved: the age follows from the worker's record, work done from what the keeper
keeps, and memory is looked at again. What was decided is a roll (`rolls.py`), and that is saved. So
a supervisor may die at any moment: what is due is found due again, and asked for once.

Memory is looked at by a child (`samples.py`), and of those only who have that key: first when a run
is ready and some seconds old, then the sooner the nearer to the limit it was. Looks that come close
together are one look: that costs less than to spread them.

Whoever is not ready, or on trial, is not recycled: first it must have started. A roll that a failed
run has ended leaves the others as they are; what is still due then is asked for again: soon, and
after `backoff.max` for whom the new run beside the old one was rejected. The old one works, and a
new one that fails every few seconds heals nothing that a deploy would.
"""

from collections.abc import Iterable
from typing import Any

from supervisord_lite.base.clock import Clock
from supervisord_lite.core import recycle
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.recycle import Recycle, part_of
from supervisord_lite.core.states import Running, Worker
from supervisord_lite.supervisor.deadlines import Deadlines
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.rolls import Rolls
from supervisord_lite.supervisor.samples import Samples
from supervisord_lite.supervisor.words import Words

#: After this long what was asked for, and has not happened, is asked for again.
_AGAIN_S = 10.0
#: Looks that are due within this long are one.
_TOGETHER_S = 1.0
_NONE = Recycle()


class Recycling:
    """Watches those who have limits."""

    def __init__(
        self, fleet: Fleet, rolls: Rolls, samples: Samples, words: Words, clock: Clock
    ) -> None:
        """Watch *fleet*; call `begin` when it stands as it is."""
        self._fleet = fleet
        self._rolls = rolls
        self._samples = samples
        self._words = words
        self._clock = clock
        self._runs: dict[Slot, int] = {}
        self._not_before_s: dict[Slot, float] = {}  # of those whose new run was rejected
        self._ages: Deadlines[Slot] = Deadlines()
        self._looks: Deadlines[Slot] = Deadlines()
        self._specs = fleet.specs
        fleet.listen(self._stepped)

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire`; None: not at all."""
        if self._specs is not self._fleet.specs:  # another configuration is in force
            self.begin()
        due = (self._ages.next_s(), self._looks.next_s())
        return min((each for each in due if each is not None), default=None)

    def begin(self) -> None:
        """Look at everybody anew: after an adoption, or with other limits."""
        self._specs = self._fleet.specs
        for slot in list(self._runs):
            self._forget(slot)
        for slot, worker in self._fleet.workers.items():
            self._follow(slot, worker)

    def _limits(self, slot: Slot) -> Recycle:
        spec = self._fleet.specs.get(slot[0])
        return _NONE if spec is None or slot in self._fleet.leaving else spec.recycle

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del before
        self._follow(slot, after)
        if slot in self._runs and any(each.event == "worker.rejected" for each in told):
            wait_s = after.policy.backoff.max_s
            self._not_before_s[slot] = self._clock.now_s() + wait_s

    def _follow(self, slot: Slot, worker: Worker) -> None:
        limits = self._limits(slot)
        spawned_at_s = _spawned_at_s(worker)
        if limits == _NONE or spawned_at_s is None:
            if slot in self._runs:
                self._forget(slot)
        elif self._runs.get(slot) != worker.run:
            self._runs[slot] = worker.run
            self._not_before_s.pop(slot, None)
            self._ages.put(slot, recycle.age_due_s(limits, spawned_at_s, _part(slot, worker)))
            if limits.memory_bytes is not None:
                now_s = self._clock.now_s()
                self._looks.put(slot, max(now_s, spawned_at_s + recycle.FIRST_LOOK_S))
            self._judge_work(slot, worker)

    def _forget(self, slot: Slot) -> None:
        del self._runs[slot]
        self._not_before_s.pop(slot, None)
        self._ages.forget(slot)
        self._looks.forget(slot)

    # -- age and work ------------------------------------------------------------------------------

    def expire(self, now_s: float) -> None:
        """Ask for what is due by *now_s*."""
        for slot in self._ages.take_due(now_s):
            worker = self._fleet.workers.get(slot)
            if worker is not None and self._runs.get(slot) == worker.run:
                self._judge_age(slot, worker, now_s)
        first_s = self._looks.next_s()
        if first_s is not None and now_s >= first_s:
            self._look(self._looks.take_due(now_s + _TOGETHER_S))

    def _judge_age(self, slot: Slot, worker: Worker, now_s: float) -> None:
        limits, spawned_at_s = self._limits(slot), _spawned_at_s(worker)
        if spawned_at_s is None:
            return
        part = _part(slot, worker)
        why = recycle.why_old(limits, spawned_at_s, part, now_s)
        why = why or recycle.why_worn(limits, self._words.runs(slot, worker.run), part)
        if why:
            self._ask(slot, why, now_s)
            again_s = max(now_s + _AGAIN_S, self._not_before_s.get(slot, 0.0))
            self._ages.put(slot, again_s)

    def take(self, message: dict[str, Any]) -> None:
        """Take what a message of the keeper tells of work that was done, if anything."""
        if "words" in message:
            pool, index, run, words = message["words"]
            worker = self._fleet.workers.get((pool, index))
            if words.get("runs") and worker is not None and worker.run == run:
                self._judge_work((pool, index), worker)

    def _judge_work(self, slot: Slot, worker: Worker) -> None:
        if self._runs.get(slot) != worker.run:
            return  # not ready yet: it is judged when it is
        done = self._words.runs(slot, worker.run)
        why = recycle.why_worn(self._limits(slot), done, _part(slot, worker))
        if why:
            self._ages.put(slot, max(self._clock.now_s(), self._not_before_s.get(slot, 0.0)))

    # -- memory ------------------------------------------------------------------------------------

    def _look(self, slots: Iterable[Slot]) -> None:
        runs = [(slot, self._runs[slot]) for slot in slots if slot in self._runs]
        if runs:
            self._samples.ask([slot for slot, _ in runs], lambda: self._looked(runs))

    def _looked(self, runs: list[tuple[Slot, int]]) -> None:
        now_s = self._clock.now_s()
        for slot, run in runs:
            limits = self._limits(slot)
            if self._runs.get(slot) != run or limits.memory_bytes is None:
                continue
            usage = self._samples.of(slot, run)
            if usage is None:
                self._looks.put(slot, now_s + _AGAIN_S)
                continue
            self._looks.put(slot, now_s + recycle.look_again_s(limits, usage.memory_bytes))
            why = recycle.why_large(limits, usage.memory_bytes)
            if why:
                self._ask(slot, why, now_s)

    def _ask(self, slot: Slot, why: str, now_s: float) -> None:
        may_ask = now_s >= self._not_before_s.get(slot, 0.0)
        if may_ask and not self._rolls.will_replace(slot):
            self._rolls.recycle(slot, why)


def _part(slot: Slot, worker: Worker) -> float:
    return part_of(*slot, worker.run)


def _spawned_at_s(worker: Worker) -> float | None:
    """Return since when a run that is ready lives; None: it is not, or not ready, or on trial."""
    state = worker.state
    return state.spawned_at_s if isinstance(state, Running) else None
