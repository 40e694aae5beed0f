"""A slot with two runs: what should be, while a new run stands beside the old one.

Written from the rules of the swap: who is meant by an event, who is the slot from now on, when is
it down. What each run should be doing by itself says `SlotModel`, for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from supervisord_lite.core import events
from supervisord_lite.core.actions import Action
from supervisord_lite.core.states import Worker
from tests.support.simulator.model import SlotModel
from tests.support.simulator.violation import BrokenPromiseError

_ENDS = (events.Exited, events.Lost)
#: What belongs to a run, and not to its slot.
_OF_RUN = (
    "again", "aim", "at_once", "code", "end", "exited_s", "extended_s", "is_held", "is_trial",
    "pid", "policy", "ready", "rest", "run", "rung", "rung_s", "said_s", "spawned_s", "then",
    "tree",
)  # fmt: skip


class TwinModel(SlotModel):
    """The run beside that of a slot: it has no failures, and is over when nothing of it is left."""

    __slots__ = ("is_for_recycle", "is_over")

    def __init__(self, slot: PairModel | None, policy: Any) -> None:
        super().__init__(policy)
        self.is_over = False
        self.is_for_recycle = False
        if slot is not None:
            self.belong_to(slot)

    def belong_to(self, slot: PairModel) -> None:
        """Say, ask and end in the slot's name."""
        self.acts, self.says, self.ends = slot.acts, slot.says, slot.ends

    @property
    def is_coming(self) -> bool:
        """Whether it is to take the slot over."""
        return not (self.is_leaving or self.is_over)

    def _gone(
        self, at_s: float, worker: Worker, *, missing: bool = False, hopeless: bool = False
    ) -> None:
        del at_s, worker, missing, hopeless
        ended = "worker.recycled" if self.is_recycle else "worker.stopped"
        self.says.append(ended if self.aim else "worker.rejected")
        self._clean()
        self.is_over = True


class PairModel(SlotModel):
    """A slot that may have two runs.

    Attributes:
        twin: The run beside its own.
        awaits: Nothing of its own run is left, and it is down when nothing of its twin is.
    """

    __slots__ = ("awaits", "twin")

    def __init__(self, policy: Any) -> None:
        super().__init__(policy)
        self.twin: TwinModel | None = None
        self.awaits = False

    def copy(self) -> Self:
        """Return one that goes its own way, and its twin with it."""
        other = super().copy()
        other.awaits = self.awaits
        if self.twin is not None:
            other.twin = TwinModel(None, self.twin.policy)
            for name in SlotModel.names():
                setattr(other.twin, name, getattr(self.twin, name))
            other.twin.is_for_recycle = self.twin.is_for_recycle
            other.twin.belong_to(other)
            other.twin.gate = other.gate_of_twin
        return other

    def gate_of_twin(self, ask: str) -> bool:
        """Return whether the twin must wait: to start, as its slot would; never to stop."""
        return ask != "stop" and self.gate is not None and self.gate(ask)

    def hear_both(
        self,
        event: events.SlotEvent,
        at_s: float,
        worker: Worker,
        twin: Worker | None,
        actions: Sequence[Action],
        due_s: float | None,
    ) -> None:
        """Take one event, and what the core made of it for both runs.

        Raises:
            BrokenPromiseError: That is not what has to follow.
        """
        self.acts.clear()
        self.says.clear()
        self._route(event, at_s, worker)
        self._settle(at_s, worker)
        self.compare_actions(actions)
        self.compare_twin(twin)
        self.compare(worker, due_s)

    def compare_twin(self, twin: Worker | None) -> None:
        """Compare what people see of the run beside it.

        Raises:
            BrokenPromiseError: Something differs.
        """
        model = self.twin
        if (twin is None) != (model is None):
            message = f"beside it is {twin}, and not {model and model.state_name()}"
            raise BrokenPromiseError(message)
        if twin is None or model is None:
            return
        told = (type(twin.state).__name__, twin.run, getattr(twin.state, "pid", None), twin.policy)
        real = (model.state_name(), model.run, model.pid, model.policy)
        if told != real or twin.failures or twin.restarts:
            message = f"beside it is {told}, {twin.failures}, and not {real}"
            raise BrokenPromiseError(message)

    def all_due_s(self) -> float | None:
        """Return when time alone changes something of either."""
        dues_s = [self.due_s(), None if self.twin is None else self.twin.due_s()]
        return min((each for each in dues_s if each is not None), default=None)

    @property
    def last_run(self) -> int:
        """The highest number that any run of it has had."""
        return max(self.run, self.spent)

    def trees(self) -> dict[int, str]:
        """Return how each of its runs is, as far as has been told."""
        found = {self.run: "none" if self.awaits else self.tree}
        if self.twin is not None and self.twin.tree != "none":
            found[self.twin.run] = self.twin.tree
        return found

    # -- who is meant ------------------------------------------------------------------------------

    def _route(self, event: events.SlotEvent, at_s: float, worker: Worker) -> None:
        twin = self.twin
        match event:
            case events.ReplaceRequested():
                if twin is None:
                    self._begin(event, at_s, worker)
            case (
                events.StartRequested()
                | events.ResetRequested()
                | events.PlanBegun()
                | events.CameDue()
            ):
                self._main_hears(event, at_s, worker)
            case events.RestartRequested() | events.RecycleRequested():
                self._main_hears(event, at_s, worker)
                if self.twin is not None and self.twin.is_coming and self.is_leaving:
                    self._send_down(events.StopRequested(), at_s, worker)
            case events.StopRequested() | events.ShutdownRequested():
                self._main_hears(event, at_s, worker)
                if self.twin is not None:
                    self._send_down(event, at_s, worker)
            case events.PolicyChanged():
                if twin is not None and twin.is_coming and event.policy.schedule is None:
                    twin.take(event, at_s, worker)
                self._main_hears(event, at_s, worker)
            case events.DeadlinePassed() | events.GateMoved():
                if twin is not None:
                    self._twin_hears(event, at_s, worker)
                self._main_hears(event, at_s, worker)
            case _:
                if twin is not None and twin.tree != "none" and event.run == twin.run:
                    self._twin_hears(event, at_s, worker)
                else:
                    self._main_hears(event, at_s, worker)

    def _begin(self, event: events.ReplaceRequested, at_s: float, worker: Worker) -> None:
        is_served = self.tree == "alive" and self.ready and not self.is_leaving
        is_job = self.policy.schedule is not None or event.policy.schedule is not None
        if is_job or not is_served or event.policy.ready_by == "exit":
            in_place: events.Event = events.RestartRequested()
            if event.recycle:
                in_place = events.RecycleRequested(self.run, event.recycle)
            self.take(in_place, at_s, worker)
            return
        self.twin = TwinModel(self, event.policy)
        self.twin.is_for_recycle = bool(event.recycle)
        self.twin.gate = self.gate_of_twin
        self.twin.run = max(self.run, self.spent)
        self.twin.take(events.StartRequested(), at_s, worker)

    def _twin_hears(self, event: events.Event, at_s: float, worker: Worker) -> None:
        twin = self.twin
        assert twin is not None
        if twin.is_coming and isinstance(event, _ENDS) and twin.tree == "alive":
            twin.ripen(at_s)
            if twin.ready:
                self._take_over(at_s)
                self._main_hears(event, at_s, worker)
                return
        twin.take(event, at_s, worker)
        if twin.ready and twin.is_coming:
            self._take_over(at_s)

    def _main_hears(self, event: events.Event, at_s: float, worker: Worker) -> None:
        is_its_end = isinstance(event, _ENDS) and event.run == self.run
        if self.awaits and isinstance(event, (*_ENDS, events.Emptied)):
            return
        twin = self.twin
        if twin is None or not twin.is_coming or self.tree != "alive" or self.is_leaving:
            self.take(event, at_s, worker)
        elif is_its_end:
            going = self._split()
            self._become(twin, at_s)
            self.twin = going
            going.take(event, at_s, worker)
        else:
            self.take(event, at_s, worker)
            if self.end == "late":
                going = self._split()
                self._become(twin, at_s)
                self.twin = going

    # -- who is the slot ---------------------------------------------------------------------------

    def _take_over(self, at_s: float) -> None:
        going, twin = self._split(), self.twin
        assert twin is not None
        going.is_recycle = twin.is_for_recycle
        self.recycles += twin.is_for_recycle
        self._become(twin, at_s)
        self.twin = going
        going.climb(at_s)

    def _split(self) -> TwinModel:
        """Return its own run as one that was replaced."""
        going = TwinModel(self, self.policy)
        for name in _OF_RUN:
            setattr(going, name, getattr(self, name))
        going.aim, going.end, going.is_trial = "replaced", "", False
        return going

    def _become(self, twin: TwinModel, at_s: float) -> None:
        spawned_s = self.spawned_s
        if spawned_s is not None and at_s >= spawned_s + self.policy.stable_run_period_s:
            self.attempt = 0
        for name in _OF_RUN:
            setattr(self, name, getattr(twin, name))
        del self.failures[: -self.policy.max_restarts]

    # -- down --------------------------------------------------------------------------------------

    def _send_down(self, event: events.Event, at_s: float, worker: Worker) -> None:
        twin = self.twin
        assert twin is not None
        if twin.is_coming and twin.tree == "none":
            self.twin = None
        elif twin.is_coming:
            twin.take(event, at_s, worker)
        elif getattr(event, "at_once", False):
            twin.at_once = True
            twin.climb(at_s)

    def _settle(self, at_s: float, worker: Worker) -> None:
        if self.twin is not None and self.twin.is_over:
            self.twin = None
        if self.twin is None and self.awaits:
            self.awaits = False
            self._gone(at_s, worker)
        elif self.twin is not None and self.tree == "none" and self.rest == "stopped":
            self.awaits, self.tree = True, "left"
            self.aim = "down" if self.by_hand else "end"
            self.says.remove("worker.stopped")
        if self.twin is not None and self.twin.tree != "none" and self.twin.run > self.run:
            self.spent = max(self.spent, self.twin.run)
