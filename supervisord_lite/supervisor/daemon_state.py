"""What the daemon as a whole is doing: booting, ready, stopping; and what systemd is told of it."""

import json
from collections import Counter
from collections.abc import Callable

from supervisord_lite.base import exit_codes
from supervisord_lite.core import events
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.fleet import Escalation
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.standing import has_had_its_chance, is_ready
from supervisord_lite.core.states import (
    Backoff,
    Probing,
    Stopped,
    Stopping,
    Tripped,
    Worker,
    word_of,
)
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Outbox, Slot

#: Above what is known to be needed when more time is asked of systemd.
_MARGIN_S = 30.0
#: Asked for where a one-shot may work as long as it likes.
_NO_LIMIT_S = 86_400.0
#: After SIGKILL to everything; who lives then is in uninterruptible sleep.
_UNKILLABLE_S = 10.0


class DaemonState:
    """Boot, readiness and the end; saved, so that a new supervisor goes on with it.

    Attributes:
        is_stopping: A stop has begun.
        at_once: A signal asked for it twice: everything is killed.
        seen: Number of the last fact in this record.
        on_escalated: Told why the service ends, before anybody is stopped for it.
        on_reload: Called for a SIGHUP.
        on_upgrade: Called for a SIGUSR2.
        on_ready: Called once, when everybody has been ready or has given up.
        on_stop_asked: Told why a stop is asked for; returns whether it is held back (`drain.py`).
        is_draining: One is held back just now.
        verdict: The exit status that the stop leads to.
    """

    def __init__(
        self,
        fleet: Fleet,
        outbox: Outbox,
        saved: str | None,
        log: Callable[..., None],
    ) -> None:
        """Begin, or go on with what was *saved*."""
        self._fleet = fleet
        self._outbox = outbox
        self._log = log
        record = json.loads(saved) if saved else {}
        self._booted: bool = record.get("booted", False)
        self._was_ready: bool = record.get("ready", False)
        self.is_stopping: bool = record.get("stopping", False)
        self.at_once: bool = record.get("at_once", False)
        self._was_signalled: bool = record.get("signalled", False)
        self.seen: int = record.get("seen", 0)
        self._broken: str = record.get("broken", "")
        self.verdict: int = record.get("verdict", exit_codes.OK)
        self.on_escalated: Callable[[Escalation, str], None] = lambda _escalation, _why: None
        self._said = ""
        self._settled: set[Slot] = set()
        self._give_up_at_s: float | None = None
        self._is_reloading = False
        self.on_reload: Callable[[], None] | None = None
        self.on_upgrade: Callable[[], None] | None = None
        self.on_ready: Callable[[], None] = lambda: None
        self.on_stop_asked: Callable[[str], bool] = lambda _why: False
        self.is_draining = False
        self._may_be_broken = True  # an earlier supervisor may have died before it decided
        self._hold_if_broken()
        fleet.listen(self._stepped)

    def _save(self) -> None:
        record = {
            "booted": self._booted,
            "ready": self._was_ready,
            "stopping": self.is_stopping,
            "at_once": self.at_once,
            "signalled": self._was_signalled,
            "seen": self.seen,
            "verdict": self.verdict,
            "broken": self._broken,
        }
        # That it stops is saved before the first worker is told, so that it is never half a stop;
        # that it has booted after the last one, so that it is never half a boot.
        self._outbox.save("daemon", json.dumps(record), first=self.is_stopping)

    @property
    def word(self) -> str:
        """Return "starting", "running", "draining" or "stopping"."""
        if self.is_stopping:
            return "stopping"
        if self.is_draining:
            return "draining"
        return "running" if self._was_ready else "starting"

    def begin(self) -> None:
        """Start what starts by itself, once; or go on with what was under way."""
        if self.is_stopping:
            self._say_stopping()
            self._fleet.core.end()
            self._fleet.feed_all(events.ShutdownRequested(at_once=self.at_once))
        elif not self._booted:
            wanted = [
                slot
                for slot, worker in self._fleet.workers.items()
                # Not one that had its start already, when a supervisor died in the middle of this.
                if worker.policy.autostart and worker.run == 0 and worker.state == Stopped()
            ]
            for slot in self._fleet.core.to_start(wanted, by_person=False):
                self._fleet.feed_guarded(slot, events.StartRequested(by_itself=True))
        self._booted = True
        self._save()

    def signalled(self, name: str, number: int) -> None:
        """Take a signal of the main process; *number* is its fact's, each counts once."""
        if number <= self.seen:
            return
        self.seen = number
        self._save()
        if name in ("SIGTERM", "SIGINT"):
            # Only a second signal means impatience. A client that asks twice asks the same.
            self.ask_to_stop(name, at_once=self._was_signalled)
            self._was_signalled = True
            self._save()
        elif name == "SIGHUP" and self.on_reload is not None:
            self.on_reload()
        elif name == "SIGUSR2" and self.on_upgrade is not None:
            self.on_upgrade()
        else:
            self._log("warning", "signal.ignored", signal=name, reason="not in this version")

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del before, told
        # Of "all" also a stop decides: when the last one that worked is stopped by hand.
        if isinstance(after.state, Tripped | Stopped):
            self._may_be_broken = True
        elif not self._fleet.core.standing.is_ending:
            return
        if self._fleet.spec(slot[0]).critical != "no":
            self._hold_if_broken()

    def _hold_if_broken(self) -> None:
        """Let nobody start from now on: this comes before others are let go on, `decide` after."""
        if not self.is_stopping:
            self._fleet.core.end(is_ending=self._fleet.core.standing.broken() is not None)

    def decide(self) -> None:
        """End the service if a critical worker's breaker is open: in order, and to be restarted."""
        if not self._may_be_broken or self.is_stopping:
            return
        self._may_be_broken = False
        escalation = self._fleet.core.escalation()
        if escalation is None:
            return
        name = self._fleet.name(escalation.slot)
        count = f"failure {escalation.failures} of {escalation.of}"
        self._broken = f"critical worker {name} tripped: {escalation.reason} ({count})"
        self._log(
            "error", "daemon.escalated", name=name, critical=escalation.critical,
            failures=escalation.failures, of=escalation.of, window_s=escalation.window_s,
            reason=escalation.reason, exit=exit_codes.CRITICAL_WORKER,
        )  # fmt: skip
        self.verdict = exit_codes.CRITICAL_WORKER
        self.on_escalated(escalation, self._broken)
        self.begin_stop(self._broken)

    def ask_to_stop(self, why: str, *, at_once: bool = False) -> None:
        """Stop everything as `begin_stop` does, but behind a drain where one is configured."""
        if at_once or self.is_stopping or not self.on_stop_asked(why):
            self.begin_stop(why, at_once=at_once)

    def begin_drain(self, drain_s: float) -> None:
        """A stop is held back for so long: systemd must wait for it too."""
        self.is_draining = True
        self._say(f"EXTEND_TIMEOUT_USEC={int((drain_s + _MARGIN_S) * 1e6)}")

    def begin_stop(self, why: str, *, at_once: bool = False) -> None:
        """Stop everything and end the daemon; with *at_once* without the stop ladders."""
        if self.is_stopping and (self.at_once or not at_once):
            return
        self.at_once = at_once
        self._log("info", "daemon.stopping", why=why, at_once=at_once)
        if not self.is_stopping:
            self.is_stopping = True
            self._say_stopping()
        self._save()
        self._fleet.core.end()
        self._fleet.feed_all(events.ShutdownRequested(at_once=self.at_once))

    def _say_stopping(self) -> None:
        extension = int((self._fleet.core.longest_stop_s() + _MARGIN_S) * 1e6)
        self._say(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={extension}")

    @property
    def deadline_s(self) -> float | None:
        """When the stop is given up on whoever cannot be killed, or has had a fault of ours."""
        return self._give_up_at_s

    def is_over(self, now_s: float) -> bool:
        """Return whether the stop is complete, or nothing more can be done about it."""
        if not self.is_stopping:
            return False
        left = self._left()
        self._begin_to_give_up(left, now_s)
        if left and self._give_up_at_s is not None and now_s >= self._give_up_at_s:
            names = " ".join(self._fleet.name(slot) for slot in left)
            self._log("error", "daemon.unkillable", workers=names)
            return True
        return not left

    def _begin_to_give_up(self, left: list[Slot], now_s: float) -> None:
        if not left:
            return
        at_s = self._give_up_at_s
        if self.at_once:
            later_s = now_s + _UNKILLABLE_S
        elif at_s is None and not self._fleet.faulted.isdisjoint(left):
            # What it waits for may never come, and others wait until it is down: but no ordered
            # stop of them all takes longer than this.
            later_s = now_s + self._fleet.core.longest_stop_s() + _UNKILLABLE_S
        else:
            return
        self._give_up_at_s = later_s if at_s is None else min(at_s, later_s)

    def _left(self) -> list[Slot]:
        workers = self._fleet.workers
        return [slot for slot in workers if not isinstance(workers[slot].state, Stopped)]

    def begin_reload(self, now_s: float) -> None:
        """A file is being read that is to be put in force."""
        self._is_reloading = True
        if self._was_ready and not self.is_stopping:
            # Source: sd_notify(3). The time tells systemd that it is not of an earlier reload.
            self._say(f"RELOADING=1\nMONOTONIC_USEC={int(now_s * 1e6)}")

    def end_reload(self) -> None:
        """It is in force, or refused: what runs is as ready as it was."""
        self._is_reloading = False
        if self._was_ready and not self.is_stopping:
            self._say("READY=1")

    # -- what systemd is told ----------------------------------------------------------------------

    def tell(self, *, anew: bool = False) -> None:
        """Tell systemd what has changed since the last time; everything when *anew*."""
        if anew and self._was_ready and not self.is_stopping:
            # A main process that fell silent in the middle of something stays in it otherwise.
            self._said = ""
            self._say("READY=1")
        if not self._was_ready and not self.is_stopping and self._is_settled():
            self._was_ready = True
            self._save()
            self._log("info", "daemon.ready", **self._counts())
            self.on_ready()
            self._say("READY=1")
        text = self._status_text()
        if text != self._said:
            self._said = text
            self._say(f"STATUS={text}")
            if not self._was_ready and not self.is_stopping:
                self._say(f"EXTEND_TIMEOUT_USEC={int(self._patience_s() * 1e6)}")

    def _say(self, line: str) -> None:
        before = self._outbox.said("notify")
        self._outbox.say("notify", f"{before}\n{line}" if before else line)

    def _is_settled(self) -> bool:
        """Return whether every worker has been ready once, or has given up."""
        for slot, worker in self._fleet.workers.items():
            if slot in self._settled:
                continue
            is_job = worker.policy.schedule is not None  # no start of the daemon waits for its time
            if is_job or has_had_its_chance(worker) or self._fleet.core.is_stuck(slot):
                self._settled.add(slot)
        return all(slot in self._settled for slot in self._fleet.workers)

    def _patience_s(self) -> float:
        """Return how long it may take until something happens next."""
        waits = [
            worker.state.delay_s
            for worker in self._fleet.workers.values()
            if isinstance(worker.state, Backoff)
        ]
        starts = [_longest_start_s(worker.policy) for worker in self._fleet.workers.values()]
        return max([*waits, *starts, 0.0]) + _MARGIN_S

    def _counts(self) -> dict[str, int]:
        return dict(Counter(_word(worker) for worker in self._fleet.workers.values()).most_common())

    def _status_text(self) -> str:
        workers = self._fleet.workers
        if self.is_stopping:
            left = self._left()
            names = " ".join(self._fleet.name(slot) for slot in left[:3])
            more = " …" if len(left) > 3 else ""
            why = f"{self._broken}; " if self._broken else ""
            return f"{why}stopping: {len(left)} of {len(workers)} left: {names}{more}"
        counts = self._counts()
        parts = ["draining"] if self.is_draining else []
        parts += ["reloading"] if self._is_reloading else []
        for word in sorted(counts, key=_ORDER.index):
            text = f"{counts[word]} {word}"
            if word == "tripped":
                tripped = [s for s in workers if isinstance(workers[s].state, Tripped)]
                text += ": " + " ".join(self._fleet.name(slot) for slot in tripped[:3])
            parts.append(text)
        return ", ".join(parts) or "no workers"


def _longest_start_s(policy: Policy) -> float:
    if policy.ready_by != "exit":
        return policy.start_timeout_s
    return _NO_LIMIT_S if policy.run_timeout_s is None else policy.run_timeout_s


_ORDER = (
    "running", "starting", "probing", "waiting", "stopping", "exited", "stopped", "backoff",
    "tripped",
)  # fmt: skip


def _word(worker: Worker) -> str:
    if isinstance(worker.state, Probing) and is_ready(worker):
        return "running"
    if isinstance(worker.state, Stopping):
        return "stopping"
    return word_of(worker.state)
