"""What one slot should be doing: a model of the promises, written from them and not from the code.

It hears each event that the core hears, says what has to follow, and compares. Where the core keeps
a state machine, this keeps what is known of the process tree (`tree`), what is wanted of it
(`aim`), and the whole history of failures; everything else is worked out from those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from supervisord_lite.core import events
from supervisord_lite.core.actions import Action
from supervisord_lite.core.states import Worker
from tests.support.simulator.told import Told
from tests.support.simulator.violation import BrokenPromiseError


class SlotModel(Told):
    """Hears what happens to one slot, and says what has to follow."""

    __slots__ = ()

    def hear(
        self,
        event: events.Event,
        at_s: float,
        worker: Worker,
        actions: Sequence[Action],
        due_s: float | None,
    ) -> None:
        """Take one event, and what the core made of it; *due_s*: when it wants to be woken.

        Raises:
            BrokenPromiseError: That is not what has to follow.
        """
        self.acts.clear()
        self.says.clear()
        _HEAR[type(event)](self, event, at_s, worker)
        if actions or self.acts or self.says:
            self.compare_actions(actions)
        self.compare(worker, due_s)

    def take(self, event: events.Event, at_s: float, worker: Worker) -> None:
        """Take one event; what has to follow is added to what has to follow already."""
        _HEAR[type(event)](self, event, at_s, worker)

    def ripen(self, at_s: float) -> bool:
        """Let what was due of a live run have happened; return whether anything was."""
        return self._ripen(at_s)

    def climb(self, at_s: float) -> None:
        """Send the next signal of the ladder, or kill."""
        self._climb(at_s)

    # -- the keeper's facts ------------------------------------------------------------------------

    def _spawned(self, event: events.Spawned, at_s: float, _: Worker) -> None:
        if event.run != self.run or self.tree != "asked":
            return
        self.tree, self.pid, self.spawned_s = "alive", event.pid, at_s
        self.says.append("worker.started")
        if self.is_leaving:
            self._climb(at_s)
        else:
            self._age(at_s)

    def _said(self, event: events.ReadySaid, at_s: float, _: Worker) -> None:
        is_news = self.policy.ready_by == "said" and self.said_s is None
        is_over = self.tree in ("none", "left") or self.is_leaving
        if event.run != self.run or is_over or not is_news or (self.ready and not self.is_trial):
            return
        self.said_s = at_s
        if self.tree == "alive":
            self._age(at_s)

    def _extended(self, event: events.Extended, _at_s: float, _: Worker) -> None:
        if event.run != self.run or self.tree not in ("asked", "alive"):
            return
        if self.is_leaving:
            if self.rung_s is not None:
                self.rung_s = max(self.rung_s, event.until_s)
        elif not self.ready:
            self.extended_s = max(self.extended_s, event.until_s)

    def _judged(self, event: events.JudgedFailed, at_s: float, _: Worker) -> None:
        if event.run != self.run or self.tree in ("none", "left") or self.is_leaving:
            return
        self.end = "late"
        if self.tree == "alive":
            self._climb(at_s)

    def _recycled(self, event: events.RecycleRequested, at_s: float, _: Worker) -> None:
        if event.run != self.run or self.tree in ("none", "left") or self.is_leaving:
            return
        self.is_recycle = True
        self._bring_down("up", at_s)

    def _spawn_failed(self, event: events.SpawnFailed, at_s: float, worker: Worker) -> None:
        if event.run != self.run or self.tree != "asked":
            return
        if not self.aim:
            self.end = "failed"
        self.exited_s, self.code = at_s, None
        self.ends.append(self.run)
        self._gone(at_s, worker, missing=event.missing, hopeless=event.hopeless)

    def _exited(self, event: events.Exited, at_s: float, worker: Worker) -> None:
        if event.run != self.run or self.tree != "alive":
            return
        if not self.is_leaving:
            self._ripen(at_s)
            self.end = "ok" if event.code in self.policy.ok_exit_codes else "failed"
        self.tree, self.pid, self.rung_s, self.exited_s = "left", None, None, at_s
        self.code, self.is_held = event.code, False
        self.ends.append(self.run)
        if event.emptied:
            self._gone(at_s, worker)

    def _emptied(self, event: events.Emptied, at_s: float, worker: Worker) -> None:
        if event.run != self.run or self.tree != "left":
            return
        self._gone(at_s, worker)
        if event.killed:
            self.says.append("worker.cleared")

    def _lost(self, event: events.Lost, at_s: float, worker: Worker) -> None:
        if event.run != self.run or self.tree == "none":
            return
        if self.tree == "alive":
            self._exited(events.Exited(event.run, None, None, emptied=True), at_s, worker)
        elif self.tree == "left" or self.is_leaving:
            self._gone(at_s, worker)
        else:
            self.acts.append(("spawn", self.run, 0))

    # -- time --------------------------------------------------------------------------------------

    def _time(self, _event: events.Event, at_s: float, _: Worker) -> None:
        due_s = self.due_s()
        if due_s is None or at_s < due_s:
            return
        if self.tree == "none":
            kind = "restart" if self.failed_before else "again"
            self._spawn("probe" if self.rest == "tripped" else kind)
        elif self.is_leaving:
            self._climb(at_s)
        else:
            self._age(at_s)

    def _age(self, at_s: float) -> None:
        """Let what is due of a live run happen: good news first, and alone."""
        spawned_s, policy = self.spawned_s, self.policy
        assert spawned_s is not None
        if self._ripen(at_s):
            return
        is_late = not self.ready and policy.ready_by != "exit"
        limit_s = policy.run_timeout_s
        late_s = max(spawned_s + policy.start_timeout_s, self.extended_s)
        if (is_late and at_s >= late_s) or (limit_s is not None and at_s >= spawned_s + limit_s):
            self.end = "late"
            self._climb(at_s)

    def _ripen(self, at_s: float) -> bool:
        """Let it be ready, and its trial be over, if that is due; return whether anything was."""
        policy, spawned_s, news = self.policy, self.spawned_s, len(self.says)
        assert spawned_s is not None
        ready_s = self.ready_s()
        late_s = max(spawned_s + policy.start_timeout_s, self.extended_s)
        if not self.ready and ready_s is not None and ready_s <= min(at_s, late_s):
            self.ready = True
            self.says.append("worker.ready")
        if self.ready and self.is_trial and at_s >= spawned_s + policy.stable_run_period_s:
            self._forgive()
        return len(self.says) > news

    def _climb(self, at_s: float) -> None:
        """Send the next signal of the ladder, or kill."""
        ladder = self.policy.stop_ladder
        if self.rung < 0 and self.aim and not self.at_once:
            self.is_held = self.gate is not None and self.gate("stop")
            if self.is_held:
                return
        self.is_held = False
        self.rung += 1
        if self.at_once or self.rung >= len(ladder):
            self.rung, self.rung_s = 1 << 30, None
            self.acts.append(("kill", self.run, 0))
        else:
            self.rung_s = at_s + ladder[self.rung].timeout_s
            self.acts.append(("signal", self.run, ladder[self.rung].signal))

    # -- nothing is left of a run ------------------------------------------------------------------

    def _gone(
        self, at_s: float, worker: Worker, *, missing: bool = False, hopeless: bool = False
    ) -> None:
        policy = self.policy
        spawned_s, exited_s = self.spawned_s, self.exited_s
        was_stable = (
            spawned_s is not None
            and exited_s is not None
            and exited_s >= spawned_s + policy.stable_run_period_s
        )
        aim, end, again, was_trial = self.aim, self.end, self.again, self.is_trial
        is_recycle = self.is_recycle and aim == "up"
        self.ended_run = self.run
        self._clean()
        if aim:
            self.says.append("worker.recycled" if is_recycle else "worker.stopped")
            self.recycles += is_recycle
            if aim == "up":
                self.attempt = 0 if was_stable else self.attempt
                self._spawn("start")
            else:
                self._lie_down(by_hand=aim == "down")
        elif end == "ok":
            self.says.append("worker.exited")
            self.attempt = 0 if was_stable else self.attempt
            if was_trial:
                self._forgive()
            if policy.schedule is not None and not again:
                self._end_planned()
            elif again or (policy.restart == "always" and was_stable):
                self._spawn("start" if again else "again")
            elif policy.restart == "always":
                self._wait(at_s, policy.backoff.min_s, failed=False)
            else:
                self.rest = "exited"
        else:
            self.says.append("worker.failed")
            self._count(at_s if exited_s is None else exited_s)
            self.attempt = 1 if was_stable else self.attempt + 1
            self.failed_as = (len(self.failures), self.attempt)
            is_full = len(self.failures) >= policy.max_restarts and policy.restart != "never"
            is_job = policy.schedule is not None
            gives_up = hopeless or is_full or policy.restart == "never" or self.is_owed
            if is_job and gives_up and not again:
                self.says.append("job.failed")
                self._end_planned()
            elif (hopeless or was_trial or is_full) and not is_job:
                self._trip(at_s)
            elif again:
                self._spawn("start")
            elif policy.restart == "never":
                self.rest = "exited"
            else:
                self._back_off(at_s, worker, missing=missing)

    def _end_planned(self) -> None:
        """A run of a job is over: what is owed begins, or it waits for its time."""
        if self.is_owed:
            self._spawn_planned()
        else:
            self.rest = "scheduled"

    def _spawn_planned(self) -> None:
        """Begin a planned run: it knows of no failure."""
        self.is_owed, self.attempt = False, 0
        self.failures.clear()
        self._spawn("due")

    def _lie_down(self, *, by_hand: bool) -> None:
        """Be stopped: without a plan."""
        self.rest, self.by_hand = "stopped", by_hand
        self.settled_s, self.is_owed = None, False

    def _clean(self) -> None:
        """Forget the run that is over."""
        self.tree, self.pid, self.spawned_s, self.exited_s = "none", None, None, None
        self.aim = self.end = ""
        self.is_recycle = False
        self.again = self.at_once = self.ready = self.is_trial = self.is_held = False
        self.rest = ""
        self.rung, self.rung_s, self.said_s, self.extended_s = -1, None, None, 0.0

    def _count(self, at_s: float) -> None:
        """Count one failure, in the plainest way: look at all of them."""
        every = sorted([*self.failures, at_s])
        self.failures = [x for x in every if every[-1] - self.policy.circuit_window_s < x]
        del self.failures[: -self.policy.max_restarts]

    def _trip(self, at_s: float) -> None:
        self.says.append("worker.tripped")
        self.rest, self.tripped_s = "tripped", at_s
        self._set_probe()

    def _set_probe(self) -> None:
        cooldown_s = self.policy.circuit_cooldown_s
        is_hopeful = cooldown_s is not None and self.policy.restart != "never"
        self.probe_s = self.tripped_s + (cooldown_s or 0.0) if is_hopeful else None

    def _back_off(self, at_s: float, worker: Worker, *, missing: bool) -> None:
        policy = self.policy.backoff
        full_s = policy.min_s
        for _ in range(min(self.attempt - 1, 64)):
            full_s = min(full_s * policy.factor, policy.max_s)
        high_s = policy.max_s if missing else min(full_s, policy.max_s)
        low_s = high_s / 2 if policy.jitter and not missing else high_s
        drawn_s: float = getattr(worker.state, "delay_s", -1.0)
        if not low_s * (1 - 1e-9) <= drawn_s <= min(high_s * (1 + 1e-9), policy.max_s):
            message = f"waits {drawn_s}s after failure {self.attempt}, not {low_s}s to {high_s}s"
            raise BrokenPromiseError(message)
        self._wait(at_s, drawn_s, failed=True)

    def _wait(self, at_s: float, delay_s: float, *, failed: bool) -> None:
        self.rest, self.retry_s, self.failed_before = "backoff", at_s + delay_s, failed
        self.delay_s = delay_s

    def _spawn(self, kind: str, *, by_person: bool = False) -> None:
        """Start it, or let it wait for its turn."""
        if self.gate is not None and self.gate(kind):
            if self.rest != "waiting":
                self.says.append("worker.waiting")
            self.rest, self.then = "waiting", kind
            return
        self.run = max(self.run, self.spent) + 1
        self.tree = "asked"
        self.acts.append(("spawn", self.run, 0))
        self.is_trial = kind == "probe"
        if self.is_trial:
            self.says.append("worker.probing")
        self.restarts += kind in ("restart", "probe") and not by_person

    def _turn(self, _event: events.Event, at_s: float, _: Worker) -> None:
        """Its turn may have come."""
        if self.tree == "none" and self.rest == "waiting":
            self._spawn(self.then)
        elif self.is_held:
            self._climb(at_s)

    def _forgive(self) -> None:
        self.failures.clear()
        self.attempt = 0
        self.is_trial = False
        self.says.append("worker.reset")

    # -- people ------------------------------------------------------------------------------------

    def _start(self, event: events.Event, _at_s: float, _: Worker) -> None:
        if self.tree == "none":
            if self.rest == "backoff":
                self._spawn("again")
            elif self.rest == "waiting" and self.then != "probe":
                self._forget_for_person()
                self._spawn(self.then, by_person=True)
            elif self.rest in ("stopped", "exited", "scheduled"):
                if getattr(event, "by_itself", False) and self.policy.schedule is not None:
                    self.rest = "scheduled"
                    return
                self._forget_for_person()
                self._spawn("start")
        elif self.aim == "down":
            self.aim, self.is_recycle = "up", False
        elif self.end:
            self.again = True

    def _forget_for_person(self) -> None:
        self.attempt = 0
        if self.policy.schedule is not None:
            self.failures.clear()

    def _restart(self, event: events.Event, at_s: float, worker: Worker) -> None:
        if self.tree == "none" or self.is_leaving:
            self._start(event, at_s, worker)
        else:
            self._bring_down("up", at_s)

    def _stop(self, _event: events.Event, at_s: float, _: Worker) -> None:
        if self.tree == "none":
            if not (self.rest == "stopped" and self.by_hand):
                self.says.append("worker.stopped")
            self._lie_down(by_hand=True)
        elif not self.is_leaving:
            self._bring_down("down", at_s)
        elif self.aim != "end":
            self.aim, self.end, self.again = "down", "", False

    def _shutdown(self, event: events.ShutdownRequested, at_s: float, _: Worker) -> None:
        if self.tree == "none":
            if self.rest != "stopped":
                self.says.append("worker.stopped")
                self._lie_down(by_hand=False)
            return
        self.at_once |= event.at_once
        if not self.is_leaving and not event.at_once:
            self._bring_down("end", at_s)
            return
        self.aim, self.end, self.again = "end", "", False
        if event.at_once:
            self._climb(at_s)

    def _bring_down(self, aim: str, at_s: float) -> None:
        self.aim = aim
        if self.tree == "alive":
            self._climb(at_s)

    def _reset(self, _event: events.Event, _at_s: float, _: Worker) -> None:
        rest = self.rest if self.tree == "none" else ""
        had_trial = self.is_trial or (rest == "waiting" and self.then == "probe")
        if rest in ("backoff", "tripped") or self.failures or self.attempt or had_trial:
            self._forgive()
        if rest in ("backoff", "tripped"):
            self._spawn("again" if rest == "backoff" else "start")
        elif had_trial and rest == "waiting":
            self.then = "start"

    def _policy(self, event: events.PolicyChanged, _at_s: float, _: Worker) -> None:
        if event.policy.schedule != self.policy.schedule:
            self.settled_s, self.is_owed = None, False
        self.policy = event.policy
        del self.failures[: -event.policy.max_restarts]
        self._set_probe()
        if self.tree != "none":
            return
        is_job = self.policy.schedule is not None
        if self.rest == "scheduled" and not is_job:
            self._spawn("start")
        elif self.rest in ("tripped", "exited") and is_job:
            if self.rest == "tripped":
                self._forgive()
            self.rest = "scheduled"

    # -- the plan of a job -------------------------------------------------------------------------

    def _plan(self, event: events.PlanBegun, _at_s: float, _: Worker) -> None:
        is_stopped = self.tree == "none" and self.rest == "stopped"
        if self.policy.schedule is not None and not is_stopped:
            self.settled_s, self.is_owed = event.settled_s, False

    def _came_due(self, event: events.CameDue, _at_s: float, _: Worker) -> None:
        schedule = self.policy.schedule
        is_down = self.tree == "none" and self.rest in ("stopped", "exited", "tripped")
        if schedule is None or is_down or self.aim in ("down", "end"):
            return
        self.settled_s = event.settled_s
        if event.missed:
            self.says.append("job.missed")
            if event.is_missed and schedule.missed == "skip":
                return
        if self.tree == "none" and self.rest in ("scheduled", "backoff"):
            self._spawn_planned()
        elif self.tree != "none" and schedule.overlap == "wait" and not self.is_owed:
            self.is_owed = True
        else:
            self.says.append("job.skipped")


_HEAR: dict[type[events.Event], Callable[[SlotModel, Any, float, Worker], None]] = {
    events.Spawned: SlotModel._spawned,
    events.SpawnFailed: SlotModel._spawn_failed,
    events.Exited: SlotModel._exited,
    events.Emptied: SlotModel._emptied,
    events.Lost: SlotModel._lost,
    events.ReadySaid: SlotModel._said,
    events.JudgedFailed: SlotModel._judged,
    events.RecycleRequested: SlotModel._recycled,
    events.Extended: SlotModel._extended,
    events.GateMoved: SlotModel._turn,
    events.DeadlinePassed: SlotModel._time,
    events.StartRequested: SlotModel._start,
    events.RestartRequested: SlotModel._restart,
    events.StopRequested: SlotModel._stop,
    events.ShutdownRequested: SlotModel._shutdown,
    events.ResetRequested: SlotModel._reset,
    events.PolicyChanged: SlotModel._policy,
    events.PlanBegun: SlotModel._plan,
    events.CameDue: SlotModel._came_due,
}
