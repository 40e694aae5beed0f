"""The channel to the keeper: never blocks, and what waits to be sent is bounded."""

from __future__ import annotations

import socket
import struct
from collections import deque

from supervisord_lite.wire import channel
from supervisord_lite.wire.errors import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DESCRIPTOR = struct.Struct("i")
_ANCILLARY_BYTES = socket.CMSG_SPACE(channel.MAX_DESCRIPTORS * _DESCRIPTOR.size)
#: While so many messages wait, none is read: whoever does not listen is not answered.
_QUEUE_FULL = 1024
#: Reports leave this much room for what must not be put off.
_QUEUE_BUSY = 256


class Link:
    """One end of the channel. Not locked by itself.

    Attributes:
        descriptor: For polling.
        closed: The keeper is gone.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over the socket."""
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self.descriptor = descriptor
        self.closed = False
        self._waiting: deque[bytes] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether reports should wait."""
        return len(self._waiting) >= _QUEUE_BUSY

    @property
    def is_full(self) -> bool:
        """Whether nothing should be added that can be left out."""
        return len(self._waiting) >= _QUEUE_FULL

    @property
    def is_waiting(self) -> bool:
        """Whether there is something left to send."""
        return bool(self._waiting) and not self.closed

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message, and send what can be sent now."""
        self._waiting.append(channel.encode(message))
        self.flush()

    def flush(self) -> None:
        """Send what can be sent without waiting."""
        while self._waiting and not self.closed:
            try:
                self._socket.send(self._waiting[0])
            except BlockingIOError:
                return
            except OSError:
                # Reading will show the end as well; what it still says is read first.
                self._waiting.clear()
                return
            self._waiting.popleft()

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return the next message and its descriptors, which are the caller's; None for none now.

        What is not a message is skipped: it has no descriptors worth keeping, and a keeper of
        another version may say more than is understood here.
        """
        while not self.closed and not self.is_full:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    channel.MAX_MESSAGE_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return None
            except ConnectionResetError:
                continue  # said once, before the messages that are still there
            except OSError:
                self.closed = True
                return None
            descriptors = [
                descriptor
                for level, kind, payload in ancillary
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
                for (descriptor,) in _DESCRIPTOR.iter_unpack(
                    payload[: len(payload) - len(payload) % _DESCRIPTOR.size]
                )
            ]
            if not data:
                self.closed = True
                return None
            try:
                return channel.decode(data), descriptors
            except WireError:
                for descriptor in descriptors:
                    socket.close(descriptor)
        return None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
