"""One epoll: descriptors and what to do when they are ready."""

import select
import time
from collections.abc import Callable

from supervisord_lite.base.calls import CALLS
from supervisord_lite.base.patient_epoll import PatientEpoll
from supervisord_lite.base.stalls import Stalls


class Poller:
    """What the control server calls a watcher, and the loop's only blocking call.

    Attributes:
        stalls: For how long the loop was away from here.
    """

    def __init__(self) -> None:
        """Begin with nothing to watch."""
        self.stalls = Stalls()
        self._poll = PatientEpoll(CALLS)
        self._ready: dict[int, tuple[Callable[[], None] | None, Callable[[], None] | None]] = {}

    def watch(
        self,
        fd: int,
        *,
        readable: Callable[[], None] | None = None,
        writable: Callable[[], None] | None = None,
    ) -> None:
        """Call back when *fd* is ready; calling again replaces what was watched for."""
        mask = (select.EPOLLIN if readable else 0) | (select.EPOLLOUT if writable else 0)
        if fd not in self._ready:
            self._poll.add(fd, mask)
        elif self._mask(fd) != mask:
            self._poll.change(fd, mask)
        self._ready[fd] = (readable, writable)

    def _mask(self, fd: int) -> int:
        readable, writable = self._ready[fd]
        return (select.EPOLLIN if readable else 0) | (select.EPOLLOUT if writable else 0)

    def fileno(self) -> int:
        """Return what is readable while something is ready: one poller may watch another."""
        return self._poll.fileno()

    @property
    def again_s(self) -> float | None:
        """After how long to `serve`, whatever its descriptor says; None: that tells all."""
        return self._poll.again_s

    def unwatch(self, fd: int) -> None:
        """Forget *fd*; it must still be open."""
        del self._ready[fd]
        self._poll.remove(fd)

    def wait(self, timeout_s: float | None) -> None:
        """Sleep until something is ready or *timeout_s* has passed, and call back.

        What is weeks away may bring it back earlier: the kernel counts no longer than that.
        """
        sleep_s = -1.0 if timeout_s is None else max(0.0, timeout_s)
        self.stalls.looks(time.monotonic())
        happened = self._poll.wait(sleep_s)
        self.stalls.woke(time.monotonic())
        self._call_back(happened)

    def serve(self) -> None:
        """Call back for what is ready now."""
        self._call_back(self._poll.wait(0.0))

    def _call_back(self, happened: list[tuple[int, int]]) -> None:
        for fd, mask in happened:
            readable, writable = self._ready.get(fd, (None, None))
            # An error or the end of file is told by reading, or else by writing.
            trouble = mask & (select.EPOLLERR | select.EPOLLHUP)
            if readable is not None and (mask & select.EPOLLIN or trouble):
                readable()
                readable, writable = self._ready.get(fd, (None, None))
            if writable is not None and (mask & select.EPOLLOUT or trouble):
                writable()
