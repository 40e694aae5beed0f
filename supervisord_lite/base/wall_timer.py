"""A descriptor that is readable when the wall clock has come to a time, or has been set.

Source: timerfd_create(2) with TFD_TIMER_CANCEL_ON_SET. Python has it from 3.13 on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

_REALTIME = 0
_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000
_ABSTIME, _CANCEL_ON_SET = 1, 2
#: interval and time, each in seconds and nanoseconds.
_SPEC = struct.Struct("@llll")

_libc = ctypes.CDLL(None, use_errno=True)


class WallTimer:
    """One timer; it sleeps with the machine, and goes off when that wakes."""

    def __init__(self) -> None:
        """Make one that is not armed.

        Raises:
            OSError: There is none to be had.
        """
        self._fd = _checked(_libc.timerfd_create(_REALTIME, _NONBLOCK | _CLOEXEC))

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def arm(self, at_s: float | None) -> None:
        """Let it go off at *at_s*, in seconds since the epoch, and when the clock is set.

        None: never. What is over goes off at once.
        """
        whole_s = 0 if at_s is None else max(1, int(at_s // 1))
        rest_ns = 0 if at_s is None else int(at_s % 1 * 1e9)
        spec = _SPEC.pack(0, 0, whole_s, rest_ns)
        _checked(_libc.timerfd_settime(self._fd, _ABSTIME | _CANCEL_ON_SET, spec, None))

    def drain(self) -> None:
        """Take note that it went off: it is not readable any more."""
        # ECANCELED: the clock has been set. EAGAIN: it was nothing.
        with contextlib.suppress(OSError):
            os.read(self._fd, 8)

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
