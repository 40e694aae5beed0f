"""The daemon's own two processes: started, replaced when they die or hang.

`Child` knows how one of them is started and when it may be started again. The supervisor's hang is
judged by `Pulse`: a round trip that is overdue, and a second witness, its CPU time.
"""

from __future__ import annotations

import os
import signal
import socket

from supervisord_lite.base import resident
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.keeper.calls import Calls, read_text
from supervisord_lite.wire import channel

#: Wait before the next start: 10 ms, doubled each time, up to a second.
FIRST_WAIT_S = 0.01
LAST_WAIT_S = 1.0
#: Deaths before the first answered round trip, in a row, after which the daemon gives up.
MOST_EARLY_DEATHS = 10
#: A round trip may take this long; a runnable process that is merely starved gets six times more.
HANG_S = 5.0
_STARVED_TIMES = 6
#: The supervisor says when it means to wake; this much later we ask whether it did.
OVERSLEPT_S = 5.0

_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Child:
    """One of the daemon's own processes, over all its lives.

    Attributes:
        pid: 0 while there is none.
        channel: To talk to it, or None.
        start_at_s: When it is to be started (again); None while it lives or must not be.
        early_deaths: Deaths in a row before it was `settled`.
    """

    def __init__(self, calls: Calls, role: str, stderr: int) -> None:
        """Prepare.

        Args:
            calls: The seam.
            role: "supervisor" or "scribe".
            stderr: Descriptor for its output, or 2.
        """
        self._calls = calls
        self.role = role
        self._stderr = stderr
        self.pid = 0
        self.channel: PacketSocket | None = None
        self.start_at_s: float | None = 0.0
        self.early_deaths = 0
        self.is_settled = False
        self.lives = 0

    def start(self, descriptors: list[int]) -> None:
        """Start it with its channel at descriptor 3 and *descriptors* at 4, 5 and so on.

        Raises:
            OSError: It could not be started; ask again later.
        """
        ours, theirs = self._calls.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        numbers = [theirs.fileno(), *descriptors]
        assert min(numbers) > 2 + len(numbers), "a copy would overwrite another's source"
        outputs = (1, 2) if self._stderr == 2 else (self._stderr, self._stderr)
        actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(outputs, start=1)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(numbers, start=3)]
        arguments = [str(to) for to, _ in enumerate(numbers, start=3)]
        command = resident.arguments_for(self.role, *arguments)
        try:
            self.pid = self._calls.posix_spawn(
                command[0],
                command,
                {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP},
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = PacketSocket(ours, channel.MAX_MESSAGE_BYTES)
        self.start_at_s = None
        self.lives += 1

    def settled(self) -> None:
        """It has answered: its death will not count, earlier ones are forgotten."""
        self.is_settled = True
        self.early_deaths = 0

    def died(self, now_s: float) -> None:
        """It was reaped; arrange the next start."""
        self.pid = 0
        if not self.is_settled:
            self.early_deaths += 1
        self.is_settled = False
        self.start_at_s = now_s + min(FIRST_WAIT_S * 2.0 ** min(self.early_deaths, 10), LAST_WAIT_S)

    def not_started(self, now_s: float) -> None:
        """The system lacks something; that is no death of ours: ask again in a while."""
        self.start_at_s = now_s + LAST_WAIT_S

    def kill(self) -> None:
        """SIGKILL to it: its death is reaped as any other."""
        if self.pid:
            try:
                self._calls.kill(self.pid, signal.SIGKILL)
            except OSError:
                return  # it is asked again, and then killed again


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
        return fields[0], (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
