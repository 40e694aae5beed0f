"""A journald that tests look into: the same protocol, read by the book."""

from __future__ import annotations

import array
import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Journald:
    """Listens at *path*; `entries` has all that came, in order."""

    def __init__(self, path: Path, *, receive_bytes: int = 0) -> None:
        self.path = path
        self.entries: list[dict[str, bytes]] = []
        self.in_memory = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if receive_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.bind(str(path))

    def receive(self, most: int = 1 << 30) -> int:
        """Take what has come, *most* entries; return how many that was."""
        before = len(self.entries)
        while len(self.entries) < before + most:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 20, 64)
            except BlockingIOError:
                return len(self.entries) - before
            for _, _, payload in ancillary:
                (memory,) = array.array("i", payload)
                data = os.pread(memory, 1 << 24, 0)
                os.close(memory)
                self.in_memory += 1
            self.entries.append(parse(data))
        return most

    def lines(self, worker: str = "") -> list[bytes]:
        """Return the messages that came, pieces of one line put together."""
        self.receive()
        lines, begun = [], b""
        for entry in self.entries:
            if not worker or entry["WORKER"] == worker.encode():
                begun += entry["MESSAGE"]
                if "PARTIAL" not in entry:
                    lines.append(begun)
                    begun = b""
        return lines

    def close(self) -> None:
        self._socket.close()
        self.path.unlink()


def parse(data: bytes) -> dict[str, bytes]:
    """Return the fields of an entry, as the journal reads it.

    Raises:
        ValueError: It is none.
    """
    found: dict[str, bytes] = {}
    while data:
        head, newline, rest = data.partition(b"\n")
        if not newline:
            raise ValueError(head)
        name, equals, value = head.partition(b"=")
        if not equals:
            if len(rest) < 8:
                raise ValueError(head)
            (size,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            if len(value) < size or rest[:1] != b"\n":
                raise ValueError(head)
            rest = rest[1:]
        found[name.decode("ascii")] = value
        data = rest
    return found
