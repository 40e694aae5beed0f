"""An epoll that takes every descriptor, also when the kernel has no memory to watch it just now."""

from __future__ import annotations

import errno
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from supervisord_lite.base.calls import Calls

#: epoll_wait(2) takes milliseconds as an int: 24 days.
_LONGEST_S = 20 * 86_400.0
#: What could not be watched is tried again after this long.
_AGAIN_S = 0.1
#: Source: epoll_ctl(2); ENOSPC is max_user_watches.
_PASSING = (errno.ENOMEM, errno.ENOSPC)


class PatientEpoll:
    """An epoll; what it was refused it asks for again before each sleep, which is short then."""

    def __init__(self, calls: Calls) -> None:
        """Watch nothing yet.

        Raises:
            OSError: There is none to be had.
        """
        self._calls = calls
        self._poll = select.epoll()
        self._refused: dict[int, int] = {}

    def fileno(self) -> int:
        """Return its own descriptor: readable while something is ready."""
        return self._poll.fileno()

    @property
    def again_s(self) -> float | None:
        """After how long to wait here again, for what was refused; None: nothing was."""
        return _AGAIN_S if self._refused else None

    def add(self, descriptor: int, mask: int) -> None:
        """Watch *descriptor* from now on, or from when that can be."""
        try:
            self._calls.epoll_add(self._poll, descriptor, mask)
        except OSError as error:
            if error.errno not in _PASSING:
                raise  # a mistake of ours
            self._refused[descriptor] = mask

    def change(self, descriptor: int, mask: int) -> None:
        """Watch *descriptor* for something else."""
        if descriptor in self._refused:
            self._refused[descriptor] = mask
        else:
            self._poll.modify(descriptor, mask)

    def remove(self, descriptor: int) -> None:
        """Watch *descriptor* no more; it is still open."""
        if self._refused.pop(descriptor, None) is None:
            self._poll.unregister(descriptor)

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        """Sleep until something happens, at most *timeout_s* (negative: for ever).

        What is weeks away may bring it back earlier: the kernel counts no longer than that.
        """
        sleep_s = min(timeout_s, _LONGEST_S)
        if self._refused:
            refused, self._refused = self._refused, {}
            for descriptor, mask in refused.items():
                self.add(descriptor, mask)
            if self._refused:
                sleep_s = _AGAIN_S if sleep_s < 0 else min(sleep_s, _AGAIN_S)
        return self._calls.epoll_wait(self._poll, sleep_s)

    def close(self) -> None:
        """Close it."""
        self._poll.close()
