"""One epoll, and what to call for each descriptor that it watches."""

from __future__ import annotations

import select
import time

from supervisord_lite.base.calls import CALLS
from supervisord_lite.base.patient_epoll import PatientEpoll
from supervisord_lite.base.stalls import Stalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.base.calls import Calls
    from supervisord_lite.base.packets import PacketSocket


class Poller:
    """What the keeper sleeps in.

    Attributes:
        stalls: For how long the loop was away from here.
    """

    def __init__(self, calls: Calls = CALLS) -> None:
        """Watch nothing yet."""
        self.stalls = Stalls()
        self._poll = PatientEpoll(calls)
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}

    def watch(self, descriptor: int, mask: int, callback: Callable[[int], None]) -> None:
        """Call *callback* with the events of *descriptor*; said again, it is changed."""
        before = self._masks.get(descriptor)
        if before is None:
            self._poll.add(descriptor, mask)
        elif before != mask:
            self._poll.change(descriptor, mask)
        self._masks[descriptor] = mask
        self._callbacks[descriptor] = callback

    def unwatch(self, descriptor: int) -> None:
        """Forget *descriptor*, before it is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            del self._masks[descriptor]
            self._poll.remove(descriptor)

    def mind(self, own: PacketSocket, readable: Callable[[int], None]) -> None:
        """Watch a channel for what matters now: the peer's end is told by its reaping."""
        if own.ended:
            # Its end would be told again and again, whatever is watched for.
            self.unwatch(own.fileno())
            return
        mask = select.EPOLLIN
        if own.is_blocked:
            own.flush()
            mask |= select.EPOLLOUT if own.is_blocked else 0
        self.watch(own.fileno(), mask, readable)

    def wait(self, timeout_s: float) -> set[int]:
        """Sleep until something happens, at most *timeout_s* (-1: for ever); call for each.

        Returns:
            The descriptors that had something.
        """
        self.stalls.looks(time.monotonic())
        happened = self._poll.wait(timeout_s)
        self.stalls.woke(time.monotonic())
        for descriptor, mask in happened:
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                callback(mask)
        return {descriptor for descriptor, _ in happened}

    def close(self) -> None:
        """Close the epoll; for tests, where the process goes on."""
        self._poll.close()
