"""What the next service must know of jobs whose missed runs are wanted: kept in a file.

Only of those with `schedule.missed = "once"`: up to which planned time all has been dealt with. The
rest of what a service leaves behind is forgotten at a stop and a boot (carry.py); this is not, for
what was missed meanwhile is the question.

============================  =================================================================
what happens                  the file
============================  =================================================================
a planned time is dealt with  written, by a child, soon after the keeper knows of it
a job is stopped by hand      has no plan, and stands in it no more
the service stops             stays as it is; the end waits until it is written, but not for a
                              disk that does not answer
a keeper is killed            as old as its last writing: what began in that moment runs again
============================  =================================================================

`run` reads it (cli/plans.py), and takes up what still is the same plan. Times are seconds since the
epoch, so they are good over a boot; a time that lies ahead of the clock counts as now.
"""

import json
from collections.abc import Callable, Mapping

from supervisord_lite.base.clock import Clock
from supervisord_lite.core.schedule import Schedule
from supervisord_lite.supervisor.child_file import AGAIN_S, EVERY_S, ChildFile
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.escalation import StartNote
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.poller import Poller

#: Among the saves: what an earlier service had dealt with; as long as nobody has taken it up.
PLANS = "plans"
VERSION = 1
#: In the state folder.
FILE_NAME = "plans.json"


class PlanFile:
    """Keeps the file as the plans are."""

    def __init__(
        self,
        fleet: Fleet,
        daemon: DaemonState,
        poller: Poller,
        saves: Mapping[str, str],
        clock: Clock,
        log: Callable[..., None],
        start_note: StartNote,
    ) -> None:
        """Go on with what an earlier supervisor, or service, may have left on the disk.

        Args:
            fleet: Whose workers these are.
            daemon: Knows whether it stops.
            poller: Wakes the loop when the child has something to say.
            saves: What the keeper kept.
            clock: Now.
            log: The journal.
            start_note: Starts the child that writes: (path, content, now_s=, limit_s=).
        """
        self._fleet = fleet
        self._daemon = daemon
        self._clock = clock
        self._log = log
        self._is_given_up = False
        self._file = ChildFile(
            f"{fleet.settings.state_dir}/{FILE_NAME}",
            "" if PLANS in saves or self._wanted() else None,
            start_note=start_note, poller=poller, clock=clock, on_failed=self._failed,
        )  # fmt: skip
        self._text = self._file.on_disk
        self._may_differ = True
        self._not_before_s = clock.now_s()
        fleet.listen(lambda *_step: self._look_again())

    def _look_again(self) -> None:
        self._may_differ = True

    def _wanted(self) -> dict[str, dict[str, object]]:
        wanted = {}
        for slot, worker in self._fleet.workers.items():
            schedule = worker.policy.schedule
            if schedule is None or schedule.missed != "once" or worker.settled_s is None:
                continue
            if schedule.cron is not None and slot not in self._fleet.leaving:
                wanted[f"{slot[0]}/{slot[1]}"] = {
                    "plan": plan_text(schedule),
                    "settled_s": worker.settled_s,
                }
        return wanted

    def go_on(self, now_s: float) -> None:
        """Begin to write what has changed; call it when all has been sent to the keeper."""
        if self._may_differ and not self._daemon.is_stopping:
            # Who is stopped with the service has no plan any more, and keeps it in the file.
            self._may_differ = False
            plans = self._wanted()
            self._text = json.dumps({"v": VERSION, "plans": plans}) if plans else None
        file = self._file
        if file.is_busy or self._text == file.on_disk or now_s < self._not_before_s:
            return
        self._not_before_s = now_s + EVERY_S
        file.write(None if self._text is None else json.loads(self._text), self._text, now_s)

    def _failed(self, reason: str) -> None:
        self._log("warning", "plans.not_written", path=self._file.path, reason=reason)
        self._is_given_up = self._daemon.is_stopping
        self._not_before_s = self._clock.now_s() + AGAIN_S

    @property
    def deadline_s(self) -> float | None:
        """When to look at it again."""
        if self._file.is_busy:
            return self._file.deadline_s
        return None if self._text == self._file.on_disk else self._not_before_s

    def expire(self, now_s: float) -> None:
        """Give up a child whose disk does not answer."""
        self._file.expire(now_s)

    @property
    def is_written(self) -> bool:
        """Whether a service that ends need not wait any more."""
        return self._text == self._file.on_disk or self._is_given_up


def plan_text(schedule: Schedule) -> str:
    """Return what tells one plan of cron from another."""
    return "" if schedule.cron is None else f"{schedule.cron.text} {schedule.zone.name}".rstrip()
