"""Collecting exit statuses, each by the name of its process.

A wait for "any child" can hand out a status that somebody else was waiting for; so the kernel is
only asked who has ended (WNOWAIT), and then that one is reaped.
"""

from __future__ import annotations

import os

from supervisord_lite.base.signals import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.keeper.calls import Calls


class Ended:
    """One process that was reaped: exactly one of `code` and `signal` is a number."""

    __slots__ = ("code", "pid", "signal")

    def __init__(self, pid: int, code: int | None, signal: int | None) -> None:
        """Take what waitid said."""
        self.pid = pid
        self.code = code
        self.signal = signal

    def pack(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"pid": self.pid, "code": self.code, "signal": self.signal}

    @classmethod
    def unpacked(cls, said: dict[str, Any]) -> Ended:
        """Return what was packed."""
        return cls(said["pid"], said["code"], said["signal"])

    def how(self) -> dict[str, object]:
        """Return the field of a log line that says how it ended."""
        if self.signal is not None:
            return {"signal": name_of(self.signal)}
        return {"code": self.code}


def ended(calls: Calls) -> Ended | None:
    """Return one child that has ended, still unreaped; None when there is none.

    Raises:
        OSError: The kernel refused; ask again later.
    """
    try:
        seen = calls.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if seen is None:
        return None
    if seen.si_code == os.CLD_EXITED:
        return Ended(seen.si_pid, seen.si_status, None)
    return Ended(seen.si_pid, None, seen.si_status)


def reap(calls: Calls, pid: int) -> None:
    """Reap one child that has ended.

    Raises:
        OSError: The kernel refused; it is still there to be reaped.
    """
    calls.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
