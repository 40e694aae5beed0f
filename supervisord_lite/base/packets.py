"""A non-blocking SOCK_SEQPACKET socket with a queue: how the daemon's own processes talk.

Bytes and descriptors only; what the bytes mean is `wire.channel`'s business.

Source: unix(7). After the peer's death the first receive is ECONNRESET, then come the messages that
were still queued, then the end of file; so ECONNRESET is not the end.
"""

from __future__ import annotations

import array
import errno
import socket
from collections import deque

from supervisord_lite.base.calls import CALLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from supervisord_lite.base.calls import Calls

_DESCRIPTOR_SPACE = socket.CMSG_SPACE(64 * 4)
#: These pass: too many descriptors in flight, no memory. The packet waits; nothing is lost.
_PASSING = (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)
#: So often one `receive` tries again at once.
_MOST_REFUSED = 3


class PacketSocket:
    """One end of a channel.

    Attributes:
        ended: The peer has gone and everything it had said has been received.
    """

    def __init__(self, own: socket.socket, largest_bytes: int, calls: Calls = CALLS) -> None:
        """Take over *own*; no packet is larger than *largest_bytes*."""
        self._calls = calls
        own.setblocking(False)
        self._socket = own
        self._largest = largest_bytes
        self._queue: deque[tuple[bytes, Sequence[int], bool]] = deque()
        self.ended = False

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return what another program in this process goes on with, as JSON.

        *keep* is called with each descriptor that goes with it.
        """
        queue = [
            [data.decode("latin-1"), [keep(number) for number in descriptors], owned]
            for data, descriptors, owned in self._queue
        ]
        return {"descriptor": keep(self.fileno()), "queue": queue, "ended": self.ended}

    @classmethod
    def unpacked(
        cls, said: dict[str, Any], largest_bytes: int, calls: Calls = CALLS
    ) -> PacketSocket:
        """Return what was packed; nothing is sent yet."""
        own = cls(socket.socket(fileno=said["descriptor"]), largest_bytes, calls)
        for data, descriptors, owned in said.get("queue", ()):
            own._queue.append((data.encode("latin-1"), descriptors, owned))
        own.ended = said.get("ended", False)
        return own

    def fileno(self) -> int:
        """Return the descriptor, for a poller."""
        return self._socket.fileno()

    @property
    def is_blocked(self) -> bool:
        """Whether packets wait for the peer to read; watch for writability then."""
        return bool(self._queue)

    def send(self, data: bytes, descriptors: Sequence[int] = (), *, owned: bool = False) -> None:
        """Send or queue one packet.

        Args:
            data: Not empty.
            descriptors: They must stay open until it has left.
            owned: They are closed then.
        """
        self._queue.append((data, descriptors, owned))
        self.flush()

    def flush(self) -> None:
        """Send what is queued, as far as the peer reads. A dead peer's packets are dropped."""
        while self._queue:
            data, descriptors, owned = self._queue[0]
            rights = []
            if descriptors:
                packed = array.array("i", descriptors)
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)]
            try:
                self._calls.sendmsg(self._socket, [data], rights)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _PASSING:
                    self._forget()  # EPIPE, ECONNRESET: whoever reads will see the end
                return
            self._queue.popleft()
            if owned:
                self._close(descriptors)

    def receive(self, most: int = 64) -> list[tuple[bytes, list[int]]]:
        """Return up to *most* packets that are there now; descriptors close on exec."""
        packets: list[tuple[bytes, list[int]]] = []
        refused = 0
        while len(packets) < most:
            try:
                data, ancillary, _, _ = self._calls.recvmsg(
                    self._socket, self._largest, _DESCRIPTOR_SPACE, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return packets
            except ConnectionResetError:
                continue
            except OSError as error:
                refused += 1
                if error.errno not in _PASSING:
                    raise
                if refused > _MOST_REFUSED:
                    return packets  # it stays there, and readable
                continue  # who reads the last words of a dead peer does not come again
            descriptors: list[int] = []
            for level, kind, rights in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received = array.array("i")
                    received.frombytes(rights[: len(rights) - len(rights) % 4])
                    descriptors += received
            if not data:
                self.ended = True
                return packets
            packets.append((data, descriptors))
        return packets

    def close(self) -> None:
        """Close the socket and forget the queue."""
        self._forget()
        self._socket.close()

    def _forget(self) -> None:
        queue, self._queue = self._queue, deque()
        for _, descriptors, owned in queue:
            if owned:
                self._close(descriptors)

    def _close(self, descriptors: Sequence[int]) -> None:
        for descriptor in descriptors:
            self._calls.close(descriptor)
