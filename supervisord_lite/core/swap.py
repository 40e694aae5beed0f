"""Two runs of one slot: the new one starts first, and the old one ends when the new one is ready.

Theory of operation
===================

A slot is one `Worker`: what people see, what others require, what the breaker counts. During a swap
a second run stands beside it, its *twin*: a `Worker` too, of the same slot, with a state, a policy
and the number of its run, and without counters. Both hear events through the same `step`; a fact
belongs to the one whose run it names. There is one twin at most, and it is one of two things:

* *coming*: the new run, `waiting` for its turn or `starting`. The slot is the old run still.
* *going*: a run on its way out, `stopping`: the old one after it was replaced, or the new one that
  did not become ready. It ends by the policy that it was started with, and does nothing else.

==============================================  ==================================================
what happens to a coming twin                   what follows
==============================================  ==================================================
it is ready                                     it is the slot; the old run is going ("replaced")
it ends, cannot be started, is late, is judged  it is going ("rejected"); the slot is not touched
the old run ends, fails, or is judged then      it is the slot now, as far as it has come
stop, shutdown                                  both go down
restart of the slot in place                    the slot starts again; the twin goes down
==============================================  ==================================================

Rules where two meet
--------------------

* *Who is being replaced has had its end asked for.* However it ends from then on is recorded, and
  not counted: it trips nothing.
* *Who did not become ready has failed, but not the slot*: the old run goes on, so nothing is
  counted there either, and no breaker opens. It is told (`worker.rejected`) when nothing of it is
  left; whoever had ordered the swap hears of it then, and nobody tries again by himself.
* What the slot has counted stays when another run takes it over; a run that was stable begins the
  backoff again, as before each start. A trial ends with a restart, so with this one too.
* *Down means both*: a slot is `stopped` when nothing of either run is left. Until then it is
  `stopping`, so others that stop after it wait for both.
* Whether the new run is late counts from its own start. Its turn is a start's turn: it waits until
  what it requires is ready. The old run's stop waits for nobody, for the slot stays.
* A number is used once: `Worker.spent` remembers that of the twin when that is gone.

Slot and twin are saved in one record, so a supervisor that is killed leaves them before a step or
after it. The keeper knows runs by their numbers and nothing of swaps; what it has never heard of is
asked for again (`Lost`), for each of the two.
"""

from supervisord_lite.base.clock import Rng
from supervisord_lite.base.record import record, replace
from supervisord_lite.base.signals import describe_end
from supervisord_lite.core import events, moves
from supervisord_lite.core.actions import Action, Announce
from supervisord_lite.core.ends import how
from supervisord_lite.core.events import SlotEvent
from supervisord_lite.core.gates import Ask, Gate, open_gate
from supervisord_lite.core.moves import Live
from supervisord_lite.core.standing import is_ready
from supervisord_lite.core.states import (
    Outcome,
    Running,
    Starting,
    Stopped,
    Stopping,
    Waiting,
    Worker,
)
from supervisord_lite.core.step import next_deadline_s, step

#: Of these nothing of a run is left, or its leader is not.
_ENDS = (events.Exited, events.SpawnFailed, events.Lost)


@record
class Both:
    """A slot and its twin after a step, and what to do, in order."""

    worker: Worker
    twin: Worker | None
    actions: tuple[Action, ...] = ()


def can_be_swapped(worker: Worker) -> bool:
    """Return whether there is anything to keep while a new run starts."""
    return worker.policy.schedule is None and isinstance(worker.state, Live) and is_ready(worker)


def is_coming(twin: Worker | None) -> bool:
    """Return whether it is to take the slot over; else it is on its way out, or there is none."""
    return twin is not None and isinstance(twin.state, Waiting | Starting)


def run_of(twin: Worker | None) -> int | None:
    """Return the number of the run that there is of a twin; None: it has not been begun."""
    return None if twin is None or isinstance(twin.state, Waiting) else twin.run


def due_s(worker: Worker, twin: Worker | None) -> float | None:
    """Return when a `DeadlinePassed` will change something of either."""
    at_s = next_deadline_s(worker)
    twin_at_s = None if twin is None else next_deadline_s(twin)
    if at_s is None or twin_at_s is None:
        return twin_at_s if at_s is None else at_s
    return min(at_s, twin_at_s)


def step_both(
    worker: Worker,
    twin: Worker | None,
    event: SlotEvent,
    *,
    now_s: float,
    rng: Rng,
    gate: Gate = open_gate,
) -> Both:
    """Decide what one event means for a slot and its twin; arguments as for `step`."""
    both = _Step(worker, twin, now_s, rng, gate)
    both.hear(event)
    both.settle()
    return Both(both.worker, both.twin, tuple(both.actions))


class _Step:
    """One step of both, while it is being decided."""

    def __init__(
        self, worker: Worker, twin: Worker | None, now_s: float, rng: Rng, gate: Gate
    ) -> None:
        self.worker = worker
        self.twin = twin
        self.actions: list[Action] = []
        self._now_s = now_s
        self._rng = rng
        self._gate = gate

    def hear(self, event: SlotEvent) -> None:
        """Let whoever is meant hear it."""
        match event:
            case events.ReplaceRequested():
                if self.twin is None:
                    self._begin(event)
            case (
                events.StartRequested()
                | events.ResetRequested()
                | events.PlanBegun()
                | events.CameDue()
            ):
                self._worker_hears(event)
            case events.RestartRequested() | events.RecycleRequested():
                self._worker_hears(event)
                if is_coming(self.twin) and isinstance(self.worker.state, Stopping):
                    self._go_down(events.StopRequested())
            case events.StopRequested() | events.ShutdownRequested():
                self._worker_hears(event)
                self._go_down(event)
            case events.PolicyChanged():
                if is_coming(self.twin) and event.policy.schedule is None:
                    self._twin_hears(event)
                self._worker_hears(event)
            case events.DeadlinePassed() | events.GateMoved():
                if self.twin is not None:
                    self._twin_hears(event)
                self._worker_hears(event)
            case _:
                if event.run == run_of(self.twin):
                    self._twin_hears(event)
                else:
                    self._worker_hears(event)

    def settle(self) -> None:
        """Let go of a twin of which nothing is left, and of a slot that had to wait for that."""
        if self.twin is not None and isinstance(self.twin.state, Stopped):
            self._note_end(self.twin)
            self.twin = None
        if self.worker.recycle and not is_coming(self.twin):
            self.worker = replace(self.worker, recycle="")
        state = self.worker.state
        if self.twin is None and isinstance(state, Stopping) and state.awaits_twin:
            moved, actions = self._step(self.worker, events.Emptied(self.worker.run), self._gate)
            self.worker = moved
            self.actions += actions
        elif self.twin is not None and isinstance(state, Stopped):
            self._await_twin(by_hand=state.by_hand)
        run = run_of(self.twin)
        if run is not None and run > max(self.worker.run, self.worker.spent):
            self.worker = replace(self.worker, spent=run)

    # -- the new run -------------------------------------------------------------------------------

    def _begin(self, event: events.ReplaceRequested) -> None:
        """Start a new run beside this one, or in its place where there is nothing to keep."""
        worker, policy = self.worker, event.policy
        # A job and a one-shot are to end: nobody can take over from them.
        is_to_end = policy.ready_by == "exit" or policy.schedule is not None
        if is_to_end or not can_be_swapped(worker):
            in_place: events.Event = events.RestartRequested()
            if event.recycle:
                in_place = events.RecycleRequested(worker.run, event.recycle)
            self._worker_hears(in_place)
            return
        if event.recycle != worker.recycle:
            self.worker = replace(worker, recycle=event.recycle)
        self.twin = Worker(worker.pool, worker.index, policy, run=moves.next_run(worker) - 1)
        self._twin_hears(events.StartRequested())

    def _twin_hears(self, event: events.Event) -> None:
        twin = self.twin
        assert twin is not None
        state = twin.state
        if isinstance(state, Starting) and isinstance(event, _ENDS) and _has_ended(state, event):
            # What was due before this end comes before it.
            ready, actions = moves.ready_if_due(twin, state, self._now_s)
            if isinstance(ready.state, Running):
                self.actions += actions
                self._take_over(ready)
                self._worker_hears(event)
                return
            twin = twin.in_state(_sent_off(state, "rejected", _reason(event)))
        moved, actions = self._step(twin, event, self._start_gate)
        after = moved.state
        if isinstance(after, Stopping) and after.outcome == "failed":
            moved = moved.in_state(replace(after, outcome="rejected"))
        self.actions += actions
        if isinstance(after, Running):
            self._take_over(moved)
        else:
            self.twin = moved

    def _take_over(self, ready: Worker) -> None:
        """The new run is ready: it is the slot from now on, and the old one goes."""
        old = self.worker
        assert isinstance(old.state, Live), "a twin comes only while its slot is served"
        going, actions = moves.begin_stop(
            _alone(old), old.state, "replaced", "replaced", self._now_s
        )
        why = old.recycle
        if why:
            assert isinstance(going.state, Stopping)
            going = going.in_state(replace(going.state, recycle=why))
        self._become(ready)
        self.worker = replace(self.worker, recycles=old.recycles + bool(why))
        self.twin = going
        self.actions += actions

    def _become(self, new: Worker) -> None:
        old = self.worker
        spawned_at_s = getattr(old.state, "spawned_at_s", None)
        stable_s = old.policy.stable_run_period_s
        was_stable = spawned_at_s is not None and self._now_s >= spawned_at_s + stable_s
        self.worker = replace(
            old,
            policy=new.policy,
            state=new.state,
            run=new.run,
            attempt=0 if was_stable else old.attempt,
            failures=old.failures[-new.policy.max_restarts :],
            recycle="",
        )

    # -- the slot ----------------------------------------------------------------------------------

    def _worker_hears(self, event: events.Event) -> None:
        worker = self.worker
        state = worker.state
        if isinstance(state, Stopping) and state.awaits_twin and isinstance(event, _ENDS):
            return  # nothing of it is left: that is known
        may_give_way = is_coming(self.twin) and isinstance(state, Live)
        if may_give_way and isinstance(event, _ENDS) and event.run == worker.run:
            assert isinstance(state, Live)
            left = _alone(worker).in_state(_sent_off(state, "replaced", _reason(event)))
            self._give_way(*self._step(left, event, open_gate))
            return
        moved, actions = self._step(worker, event, self._gate)
        after = moved.state
        if may_give_way and isinstance(after, Stopping) and after.outcome == "failed":
            left = _alone(moved).in_state(replace(after, outcome="replaced"))
            self._give_way(left, actions)
            return
        self.worker = moved
        self.actions += actions

    def _give_way(self, left: Worker, actions: tuple[Action, ...]) -> None:
        """The old run has ended, or is about to: the new one is the slot, as it is."""
        assert self.twin is not None
        self._become(self.twin)
        self.twin = left
        self.actions += actions

    def _note_end(self, gone: Worker) -> None:
        """Remember how the run ended that was replaced."""
        is_former = gone.run < self.worker.run
        if is_former and gone.last_exit is not None and isinstance(self.worker.state, Live):
            self.worker = replace(self.worker, last_exit=gone.last_exit)

    # -- down --------------------------------------------------------------------------------------

    def _go_down(self, event: events.StopRequested | events.ShutdownRequested) -> None:
        twin = self.twin
        if twin is None:
            return
        state = twin.state
        if isinstance(state, Waiting):
            self.twin = None
        elif is_coming(twin):
            self._twin_hears(event)
        elif isinstance(state, Stopping) and getattr(event, "at_once", False):
            self.twin, actions = moves.kill(twin, state)
            self.actions += actions

    def _await_twin(self, *, by_hand: bool) -> None:
        """Nothing of this run is left; the slot is down when nothing of its twin is either."""
        worker = self.worker
        waiting = Stopping(
            worker.run,
            "stopped" if by_hand else "shutdown",
            "stop" if by_hand else "shutdown",
            exited_at_s=self._now_s,
            rung=len(worker.policy.stop_ladder),
            awaits_twin=True,
        )
        self.worker = worker.in_state(waiting)
        self.actions = [each for each in self.actions if not _says_stopped(each, worker.run)]

    # -- both --------------------------------------------------------------------------------------

    def _step(
        self, worker: Worker, event: events.Event, gate: Gate
    ) -> tuple[Worker, tuple[Action, ...]]:
        return step(worker, event, now_s=self._now_s, rng=self._rng, gate=gate)

    def _start_gate(self, ask: Ask) -> str:
        """Let a twin start in its turn, and stop at any time: the slot is there."""
        return "" if ask == "stop" else self._gate(ask)


def _alone(worker: Worker) -> Worker:
    """Return the run of a slot without what the slot has counted."""
    return Worker(worker.pool, worker.index, worker.policy, worker.state, worker.run)


def _sent_off(live: Live, outcome: Outcome, reason: str) -> Stopping:
    """Return the state of a run whose end was decided before it ended by itself."""
    return Stopping(live.run, outcome, reason, pid=live.pid, spawned_at_s=live.spawned_at_s)


def _has_ended(live: Starting, event: events.Event) -> bool:
    """Return whether there is a run that has ended: one never asked for is asked for again."""
    return not isinstance(event, events.Lost) or live.spawned_at_s is not None


def _reason(event: events.Event) -> str:
    match event:
        case events.Exited():
            return how(event)
        case events.SpawnFailed(reason=reason):
            return reason
        case _:
            return describe_end(None, None)


def _says_stopped(action: Action, run: int) -> bool:
    if not isinstance(action, Announce) or action.event != "worker.stopped":
        return False
    return dict(action.fields).get("run", run) == run
