"""Jobs whose time comes: two clocks, and nobody wakes before something is due.

What a planned time means is decided in `core` (schedule.py there); here it is noticed. Of each job
the next planned time is known: of cron on the wall clock, of `every` on the monotonic one. A timer
of the kernel goes off when the wall clock has come there, and also when somebody sets it or the
machine wakes up; then all is judged anew. So there is no tick, and no wrong time is slept through.

What is dealt with is in the worker's own record and leaves with it, in the message that asks for
the run: killed before that message, neither has happened, and after it both have. What must be
known beyond the daemon's own life stands in a file (plan_file.py), which `run` reads.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from supervisord_lite.base.clock import Clock
from supervisord_lite.base.log_line import rfc3339
from supervisord_lite.base.wall_timer import WallTimer
from supervisord_lite.core import events
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.moves import Live
from supervisord_lite.core.schedule import MOST_AHEAD_S, Schedule, judge, next_planned_s
from supervisord_lite.core.states import Exited, Stopped, Stopping, Tripped, Worker
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.deadlines import Deadlines
from supervisord_lite.supervisor.escalation import StartNote
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.plan_file import PLANS, PlanFile, plan_text
from supervisord_lite.supervisor.poller import Poller


class Timer(Protocol):
    """What `WallTimer` does."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def arm(self, at_s: float | None) -> None:
        """Let it go off."""

    def drain(self) -> None:
        """Take note."""


class Schedules:
    """Tells jobs that their time has come.

    Attributes:
        file: What the next service is told.
    """

    def __init__(
        self,
        fleet: Fleet,
        daemon: DaemonState,
        poller: Poller,
        saves: Mapping[str, str],
        clock: Clock,
        log: Callable[..., None],
        start_note: StartNote,
        make_timer: Callable[[], Timer] = WallTimer,
    ) -> None:
        """Go on with the plans that are in the workers' records.

        Args:
            fleet: Whose workers these are.
            daemon: Knows whether it stops: then nothing starts.
            poller: Wakes the loop when the timer goes off.
            saves: What the keeper kept.
            clock: Both clocks.
            log: The journal.
            start_note: Starts the child that writes the file: (path, content, now_s=, limit_s=).
            make_timer: Makes what watches the wall clock.
        """
        self._fleet = fleet
        self._daemon = daemon
        self._poller = poller
        self._clock = clock
        self._make_timer = make_timer
        self._timer: Timer | None = None
        self._has_no_timer = False
        self._armed_s: float | None = None
        self._before: dict[str, dict[str, Any]] = json.loads(saves.get(PLANS, "{}"))
        self._must_forget = PLANS in saves
        self._by_wall: Deadlines[Slot] = Deadlines()
        self._by_now: Deadlines[Slot] = Deadlines()
        self._of_cron: set[Slot] = set()
        self._news = {
            slot: None
            for slot, worker in fleet.workers.items()
            if worker.policy.schedule is not None
        }
        fleet.listen(self._stepped)
        self.file = PlanFile(fleet, daemon, poller, saves, clock, log, start_note)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del told
        if after.policy.schedule is not None or before.policy.schedule is not None:
            self._news[slot] = None

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire`, on the monotonic clock; the timer may say so earlier."""
        if self._daemon.is_stopping:
            return None
        at_s, wall_at_s = self._by_now.next_s(), self._by_wall.next_s()
        if wall_at_s is not None:
            same_s = self._clock.now_s() + (wall_at_s - self._clock.wall_s())
            at_s = same_s if at_s is None else min(at_s, same_s)
        return at_s

    def expire(self, now_s: float) -> None:
        """Tell every job whose planned time has come."""
        if self._daemon.is_stopping:
            return
        for slot in self._by_now.take_due(now_s):
            self._came_due(slot, now_s)
        wall_s = self._clock.wall_s()
        for slot in self._by_wall.take_due(wall_s):
            self._came_due(slot, wall_s)

    def _came_due(self, slot: Slot, clock_s: float) -> None:
        worker = self._fleet.workers.get(slot)
        if worker is None or worker.policy.schedule is None or worker.settled_s is None:
            return
        self._news[slot] = None
        verdict = judge(worker.policy.schedule, worker.settled_s, clock_s)
        if verdict is None:
            return
        is_cron = worker.policy.schedule.cron is not None
        missed_s = verdict.missed_s
        event = events.CameDue(
            verdict.settled_s,
            rfc3339(verdict.planned_s) if is_cron else "",
            is_missed=verdict.is_missed,
            missed="" if missed_s is None else rfc3339(missed_s),
        )
        if not self._fleet.feed_guarded(slot, event):
            self._news.pop(slot, None)  # asked again at once it would fail again

    def go_on(self) -> None:
        """Plan for those of whom something has changed; call it before what changed is sent."""
        while self._news:
            news, self._news = self._news, {}
            for slot in news:
                self._plan(slot)
        if self._must_forget:
            # Taken up, in the records that leave with this.
            self._must_forget, self._before = False, {}
            self._fleet.outbox.save(PLANS, None)
        self._arm()

    def _plan(self, slot: Slot) -> None:
        worker = self._fleet.workers.get(slot)
        schedule = None if worker is None or _is_paused(worker) else worker.policy.schedule
        if worker is None or schedule is None or self._daemon.is_stopping:
            self._put(slot, None, None)
            return
        wall_s = self._clock.wall_s()
        is_ahead = schedule.cron is not None and (worker.settled_s or 0.0) > wall_s + MOST_AHEAD_S
        if worker.settled_s is None or is_ahead:
            settled_s = wall_s if is_ahead else self._first_settled_s(slot, worker, schedule)
            self._fleet.feed_guarded(slot, events.PlanBegun(settled_s))
            return  # that is news, and comes back
        at_s = next_planned_s(schedule, worker.settled_s)
        is_cron = schedule.cron is not None
        self._put(slot, at_s if is_cron else None, None if is_cron else at_s)

    def _put(self, slot: Slot, wall_at_s: float | None, at_s: float | None) -> None:
        self._by_wall.put(slot, wall_at_s)
        self._by_now.put(slot, at_s)
        if wall_at_s is None:
            self._of_cron.discard(slot)
        else:
            self._of_cron.add(slot)
        if slot not in self._fleet.workers:
            self._by_wall.forget(slot)
            self._by_now.forget(slot)

    def _first_settled_s(self, slot: Slot, worker: Worker, schedule: Schedule) -> float:
        """Return since when planned times count, where a plan begins."""
        if schedule.every_s is not None and schedule.cron is None:
            now_s, last = self._clock.now_s(), worker.last_exit
            if isinstance(worker.state, Live | Stopping):
                return now_s
            # The first one comes at once; under another plan it is counted from the last start.
            return now_s - schedule.every_s if last is None else last.at_s - last.ran_s
        wall_s = self._clock.wall_s()
        before = self._before.get(f"{slot[0]}/{slot[1]}")
        if before is None or before["plan"] != plan_text(schedule) or schedule.missed != "once":
            return wall_s
        return min(wall_s, float(before["settled_s"]))

    # -- the wall clock ----------------------------------------------------------------------------

    def _arm(self) -> None:
        at_s = self._by_wall.next_s()
        if at_s == self._armed_s or self._has_no_timer:
            return
        if self._timer is None:
            try:
                self._timer = self._make_timer()
            except OSError:
                self._has_no_timer = True  # a clock that is set is noticed with the next event
                return
            self._poller.watch(self._timer.fileno(), readable=self._went_off)
        self._timer.arm(at_s)
        self._armed_s = at_s

    def _went_off(self) -> None:
        """The time has come, the clock was set, or the machine has slept: look at all of them."""
        assert self._timer is not None
        self._timer.drain()
        self._armed_s = None
        self._news.update(dict.fromkeys(self._of_cron))


def _is_paused(worker: Worker) -> bool:
    match worker.state:
        case Stopped() | Exited() | Tripped() | Stopping(outcome="stopped" | "shutdown"):
            return True
        case _:
            return False
