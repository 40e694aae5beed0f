"""Other code in place of this: what the keeper does for an upgrade, and the way back.

Theory of operation
===================

::

    supervisor ─trial──▶ a child of the other code reads copies of the state  (trial.py)
               ◀─trial── what it said, or why it will not do
               ─replace▶ both children end; both are started anew, of the other code
                         (keeper = true: in between this process is re-executed in its place)

The keeper decides nothing here either: whether what a trial has said is good enough is judged by
the supervisor that asked. A trial ends with the supervisor that wanted it.

*Replacing.* The supervisor has said all that it had to say, and leaves by itself; the scribe
finishes the chunk that it is at, leaves no intent in its memory, and leaves. Who has not left after
`LEAVE_S` is killed: both may be, at any moment. Their channels are read to the end, as ever.
Clients wait in the backlog of the socket, workers in their pipes: nobody is refused. Each of the
two is started anew when it has ended; where the keeper is to be replaced, both wait for each other
and for that (succession.py).

*The way back.* Until supervisor and scribe of the other code have both answered a round trip, the
code before is remembered. Two deaths of one of them in a row before that, or an end without a word
that would otherwise be a verdict, and the code before is put in force again, in the same way; the
new supervisor of that code is told why ("fell_back"), and tells the event journal. There is no way
back to the same path: what was there before is not there any more.

An answer is not much: who answers and falls over soon afterwards, again and again, may be too short
there to be told to leave. So both are watched for `WATCH_S` more, and three deaths of one of them
in that time are the way back too. Somebody's SIGKILL says nothing about the code, and is not
counted; the one that it gets because it hangs is.

*Killed in the middle.* The order is one message; it is carried out or it never came. A supervisor
that dies behind its order is what the order wants. An order that is under way is not in the saves:
the keeper is the only one who could lose it, and then all is lost with it.
"""

from __future__ import annotations

import signal

from supervisord_lite.keeper.trial import Trial, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.base.resident import Code
    from supervisord_lite.keeper.boot import Boot
    from supervisord_lite.keeper.children import Child
    from supervisord_lite.keeper.journal import Journal
    from supervisord_lite.keeper.poller import Poller
    from supervisord_lite.keeper.reap import Ended
    from supervisord_lite.keeper.scribe_side import ScribeSide
    from supervisord_lite.keeper.supervisor_side import SupervisorSide

#: From the order to leave to SIGKILL.
LEAVE_S = 5.0
#: Deaths before the first answer after which the code before is put in force again.
_MOST_DEATHS = 2
#: Behind the first answers: for so long deaths are counted, and so many are too many.
WATCH_S = 60.0
_MOST_LATE_DEATHS = 3


class Upgrade:
    """Which code the daemon's own processes are started from, and how that changes.

    Beside a trial one of these is under way, in this order, or nothing: both leave
    (`_leave_at_s`), other code has yet to answer (`_is_unproven`), it is watched
    (`_watch_until_s`).

    Attributes:
        fell_back: Why the code before is in force again; empty: it is not, or that was told.
    """

    def __init__(
        self,
        boot: Boot,
        journal: Journal,
        poller: Poller,
        supervisor: SupervisorSide,
        scribe: ScribeSide,
        *,
        started: Callable[[int], None],
        copies: Callable[[], list[int]],
        succeed: Callable[[str, str], str],
    ) -> None:
        """Begin with the code of this process.

        Args:
            boot: With the seam.
            journal: Takes lines.
            poller: Wakes the loop.
            supervisor: One of the two that are replaced.
            scribe: The other one.
            started: Told the pid of each child that is made here.
            copies: Makes what a trial reads: descriptors that are closed here. May raise OSError.
            succeed: Re-executes this process with an interpreter and the path of its code, or
                returns why that failed.
        """
        self._calls = boot.calls
        self._journal = journal
        self._poller = poller
        self._supervisor = supervisor
        self._scribe = scribe
        self._started = started
        self._copies = copies
        self._succeed = succeed
        self.fell_back = ""
        self._trial: Trial | None = None
        # When who has not left is killed; None: nobody is to leave.
        self._leave_at_s: float | None = None
        # Nobody is started: this process is to be re-executed when both have left.
        self._is_held = False
        # Since other code was ordered, until supervisor and scribe of it have both answered.
        self._is_unproven = False
        # While the other code is watched: until when, and who of it has died how often.
        self._watch_until_s: float | None = None
        self._late_deaths: dict[str, int] = {}
        # The code before, as long as there is a way back to it.
        self._former: Code | None = None
        # This process is replaced with the two, so it goes the way back with them.
        self._replaces_keeper = False

    # -- for the successor of this process ---------------------------------------------------------

    def pack(self) -> dict[str, Any]:
        """Return what the keeper after this one must know."""
        return {"former": self._former, "fell_back": self.fell_back}

    def unpack(self, said: dict[str, Any], refused: str) -> None:
        """Go on with what the keeper before this one has packed.

        *refused*: why the other code could not; then this is the code before.
        """
        self.fell_back = said.get("fell_back", "")
        former = said.get("former")
        if refused:
            self.fell_back = f"its keeper could not go on with the state: {refused}"
            return
        self._is_unproven = True
        if former is not None:
            self._former = former[0], former[1]
            self._replaces_keeper = True

    # -- what the supervisor wants -----------------------------------------------------------------

    def obey(self, message: dict[str, Any], now_s: float) -> None:
        """Take "trial" and "replace" of one message, behind all else that is in it."""
        if "trial" in message:
            self._try(message["trial"], now_s)
        if "replace" in message:
            self._replace(message["replace"], now_s)

    def _try(self, order: dict[str, Any], now_s: float) -> None:
        name, code = str(order["id"]), (str(order["interpreter"]), str(order["resident"]))
        if self._trial is not None:
            self._supervisor.note({"trial": refusal(name, "another trial is under way")})
            return
        descriptors: list[int] = []
        try:
            descriptors = self._copies()
            self._trial = Trial(self._calls, self._poller, name, code, descriptors, now_s)
        except OSError as error:
            reason = f"{code[0]} cannot be started: {error.strerror}"
            self._supervisor.note({"trial": refusal(name, reason)})
            return
        finally:
            for descriptor in descriptors:
                self._calls.close(descriptor)
        self._started(self._trial.pid)

    def _replace(self, order: dict[str, Any], now_s: float) -> None:
        code = str(order["interpreter"]), str(order["resident"])
        is_no_good = self._is_unproven or bool(self._late_deaths)
        if not is_no_good or self._former is None:  # else the code before that one stays the place
            self._former = self._supervisor.code
        self._former = None if code == self._former else self._former
        self._unwatch()
        self._is_unproven = True
        self.fell_back = ""
        self._replaces_keeper = bool(order["keeper"])
        self._journal.write(
            "info", "daemon.replacing", version=str(order.get("version", ""))[:100],
            code=code[1], keeper="replaced" if order["keeper"] else "kept",
        )  # fmt: skip
        self._begin(code, now_s)  # the supervisor leaves by itself

    def _begin(self, code: Code, now_s: float) -> None:
        self._is_held = self._replaces_keeper
        self._leave_at_s = now_s + LEAVE_S
        for child in self._both:
            child.code = code
            child.early_deaths = 0
            if child.pid:
                child.leave()
            elif child.start_at_s is not None:
                child.start_at_s = now_s

    @property
    def _both(self) -> tuple[Child, Child]:
        return self._supervisor, self._scribe

    # -- the loop ----------------------------------------------------------------------------------

    @property
    def holds(self) -> bool:
        """Whether nobody is started just now: this process is to be re-executed before."""
        return self._is_held

    @property
    def deadline_s(self) -> float | None:
        """When to call `turn`; None: not at all."""
        trial_s = None if self._trial is None else self._trial.deadline_s
        both = [at_s for at_s in (trial_s, self._leave_at_s) if at_s is not None]
        return min(both, default=None)

    def turn(self, now_s: float) -> None:
        """Do what is due."""
        if self._trial is not None:
            self._trial.check(now_s)
        if self._leave_at_s is not None:
            self._wait_for_both(now_s)
        elif self._is_unproven:
            self._judge(now_s)
        elif self._watch_until_s is not None:
            self._watch(now_s)
        elif self.fell_back and self._supervisor.is_settled:
            self.fell_back = ""  # it was told, with the handover

    def _wait_for_both(self, now_s: float) -> None:
        assert self._leave_at_s is not None
        leaving = [child for child in self._both if child.is_leaving]
        if leaving and now_s >= self._leave_at_s:
            for child in leaving:
                self._journal.write("warning", f"{child.role}.did_not_leave", pid=child.pid)
                child.kill()
            self._leave_at_s = now_s + LEAVE_S
        if leaving:
            return
        self._leave_at_s = None
        if self._is_held:
            self._become_other(now_s)

    def _become_other(self, now_s: float) -> None:
        """Re-execute this process; come back only where that cannot be."""
        reason = f"its keeper cannot be started: {self._succeed(*self._supervisor.code)}"
        self._is_held = False
        self._replaces_keeper = False
        if self._former is not None:
            self._go_back(reason, now_s)
            return
        # Supervisor and scribe are of what is there now: they get along with this process, or the
        # supervisor asks for another one again (supervisor/other_keeper.py).
        self.fell_back = reason
        self._journal.write("error", "upgrade.failed", reason=reason)

    def _judge(self, now_s: float) -> None:
        """See whether the other code has proven itself, or has failed."""
        if self._supervisor.is_settled and self._scribe.is_settled:
            self._is_unproven = False
            self._watch_until_s = None if self._former is None else now_s + WATCH_S
            return
        for child in self._both:
            if child.early_deaths >= _MOST_DEATHS and self._former is not None:
                self._go_back(f"its {child.role} died before it answered: {child.last_end}", now_s)
                return

    def _watch(self, now_s: float) -> None:
        """See whether the other code falls over again and again, or that time is over.

        Nobody wakes for its end. So it comes first: what brings the next turn, perhaps days later,
        may be one death more.
        """
        assert self._watch_until_s is not None
        if now_s >= self._watch_until_s:
            self._former = None
            self._unwatch()
            return
        for child in self._both:
            deaths = self._late_deaths.get(child.role, 0)
            if deaths >= _MOST_LATE_DEATHS:
                reason = f"its {child.role} died {deaths} times in a minute: {child.last_end}"
                self._go_back(reason, now_s)
                return

    def _unwatch(self) -> None:
        self._watch_until_s = None
        self._late_deaths.clear()

    def _go_back(self, reason: str, now_s: float) -> None:
        self._unwatch()
        former, self._former = self._former, None
        assert former is not None
        self._is_unproven = False
        self.fell_back = reason
        self._journal.write("error", "upgrade.failed", reason=reason, next="back", code=former[1])
        self._begin(former, now_s)
        self._supervisor.kill()

    # -- the dead ----------------------------------------------------------------------------------

    def takes(self, dead: Ended) -> bool:
        """Bury a child that was made here; return whether it was one."""
        trial = self._trial
        if trial is None or dead.pid != trial.pid:
            return False
        self._trial = None
        self._supervisor.note({"trial": trial.ended(dead)})
        return True

    def died(self, child: Child, dead: Ended) -> None:
        """One of the two has ended, and is not buried yet: count that, if it is watched."""
        if self._watch_until_s is None or child.is_leaving:
            return
        if dead.signal != signal.SIGKILL or child.killed_because:
            self._late_deaths[child.role] = self._late_deaths.get(child.role, 0) + 1

    def supervisor_ended(self) -> None:
        """Whoever wanted a trial is gone."""
        if self._trial is not None:
            self._trial.kill()

    @property
    def has_former(self) -> bool:
        """Whether there is other code that could be gone back to."""
        return self._former is not None

    def is_no_verdict(self) -> bool:
        """Return whether what looks like a verdict is another way of the new code to fail."""
        return self._is_unproven and not self._supervisor.has_spoken
