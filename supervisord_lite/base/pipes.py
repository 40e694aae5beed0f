"""Pipes: what can be read of them."""

from __future__ import annotations

import fcntl
import struct
import termios


def readable_bytes(descriptor: int) -> int:
    """Return how much can be read of a pipe now, in bytes.

    Raises:
        OSError: It is not one.
    """
    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]
    return count
