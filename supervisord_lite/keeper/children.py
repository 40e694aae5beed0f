"""The daemon's own two processes: how one of them is started, and when it may be started again."""

from __future__ import annotations

import errno
import os
import signal
import socket

from supervisord_lite.base import resident
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.wire import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.keeper.calls import Calls

#: Wait before the next start: 10 ms, doubled each time, up to a second.
FIRST_WAIT_S = 0.01
LAST_WAIT_S = 1.0
#: Deaths before the first answered round trip, in a row, after which the daemon gives up.
MOST_EARLY_DEATHS = 10

#: What the daemon's own processes have of its environment.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")


def start_own(
    calls: Calls, role: str, handed: int, code: resident.Code, actions: list[tuple[Any, ...]]
) -> int:
    """Start one of the daemon's own processes, in a session of its own; return its pid.

    Args:
        calls: The seam.
        role: Of `resident.ROLES`.
        handed: So many descriptors, from 3 on, are its arguments.
        code: What it is started from.
        actions: Of posix_spawn: how descriptors get where it finds them.

    Raises:
        OSError: It could not be started.
    """
    arguments = [str(number) for number in range(3, 3 + handed)]
    command = resident.arguments_for(role, *arguments, code=code)
    try:
        pid: int = calls.posix_spawn(
            command[0],
            command,
            {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP},
        )
    except ValueError as error:  # a NUL byte, or what no name of a file can hold
        raise OSError(errno.ENOENT, str(error)) from None
    return pid


class Child:
    """One of the daemon's own processes, over all its lives.

    Attributes:
        pid: 0 while there is none.
        channel: To talk to it, or None.
        start_at_s: When it is to be started (again); None while it lives or must not be.
        early_deaths: Deaths in a row before it was `settled`.
        code: What it is started from (keeper/upgrade.py).
        is_leaving: It was told to make room for another one.
        killed_because: Why this one was killed here, for people; empty: it was not.
        last_end: How the one before ended, for people.
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
        self.code = resident.own_code()
        self.is_leaving = False
        self.killed_because = ""
        self.last_end = ""

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
        try:
            self.pid = start_own(self._calls, self.role, len(numbers), self.code, actions)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = PacketSocket(ours, channel.MAX_MESSAGE_BYTES, self._calls)
        self.killed_because = ""
        self.start_at_s = None
        self.lives += 1

    def pack(self) -> dict[str, Any]:
        """Return what a successor of this keeper must know of it; it has ended."""
        return {"lives": self.lives, "early_deaths": self.early_deaths}

    def unpack(self, said: dict[str, Any]) -> None:
        """Go on with what was packed: it is started at once."""
        self.lives = said.get("lives", 0)
        self.early_deaths = said.get("early_deaths", 0)

    def settled(self) -> None:
        """It has answered: its death will not count, earlier ones are forgotten."""
        self.is_settled = True
        self.early_deaths = 0

    def leave(self) -> None:
        """It is to make room for another one: its end is wanted, however it comes."""
        self.is_leaving = True

    def died(self, now_s: float) -> None:
        """It was reaped; arrange the next start."""
        self.pid = 0
        if self.is_leaving:
            self.is_leaving = self.is_settled = False
            self.start_at_s = now_s
            return
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

    def close_channel(self) -> None:
        """Nobody is at its other end any more."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
