"""Is a process of ours hung? A round trip that is overdue, and a second witness: its CPU time."""

from __future__ import annotations

from supervisord_lite.base import procfs
from supervisord_lite.keeper.calls import Calls, read_text

#: A round trip may take this long; a runnable process that is merely starved gets six times more.
HANG_S = 5.0
_STARVED_TIMES = 6


class Pulse:
    """The question whether the supervisor's loop is live."""

    def __init__(self, calls: Calls, watchdog_s: float | None = None) -> None:
        """Begin with nothing asked.

        Args:
            calls: The seam.
            watchdog_s: How often systemd wants to hear from us. It is asked every third of that;
                one that hangs must be replaced, and have answered, before systemd loses patience.
        """
        self._calls = calls
        self._hang_s = HANG_S if watchdog_s is None else min(HANG_S, watchdog_s / 3)
        self._pid = 0
        self._asked_cpu_s = 0.0
        self._extensions = 0
        self.number = 0
        self.deadline_s: float | None = None

    def ask(self, pid: int, now_s: float) -> dict[str, int] | None:
        """Return the ping to send, or None when one is under way."""
        if self.deadline_s is not None and pid == self._pid:
            return None
        self._pid = pid
        self.number += 1
        self._extensions = 0
        self._asked_cpu_s = self._look()[1]
        self.deadline_s = now_s + self._hang_s
        return {"ping": self.number}

    def answered(self, number: int) -> bool:
        """Take a pong; return whether it answers the present question."""
        if number != self.number:
            return False
        self.deadline_s = None
        return True

    def forget(self) -> None:
        """There is another supervisor: nothing is asked."""
        self.deadline_s = None

    def forgive(self, now_s: float) -> None:
        """We ourselves were stopped, who knows since when: everybody only looks late."""
        if self.deadline_s is not None:
            self.deadline_s = now_s + self._hang_s

    def is_hung(self, now_s: float) -> bool:
        """Return whether it must be replaced: overdue, and not merely starved of CPU."""
        if self.deadline_s is None or now_s < self.deadline_s:
            return False
        state, cpu_s = self._look()
        is_starved = state == "R" and cpu_s - self._asked_cpu_s < self._hang_s / 2
        if is_starved and self._extensions < _STARVED_TIMES:
            self._extensions += 1
            self.deadline_s = now_s + self._hang_s
            return False
        return True

    def _look(self) -> tuple[str, float]:
        try:
            fields = read_text(self._calls, f"/proc/{self._pid}/stat").rpartition(")")[2].split()
        except OSError:
            return "", 0.0
        return fields[procfs.STATE], procfs.cpu_s(fields)
