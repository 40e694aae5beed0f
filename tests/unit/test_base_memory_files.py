"""Files in memory: whole, at their beginning, and none is left behind where that fails."""

import errno
import os

import pytest

from supervisord_lite.base.memory_files import memory_content, memory_file


class Grudging:
    """Writes one byte at a time, and after *most* none; the rest is the kernel's."""

    memfd_create = staticmethod(os.memfd_create)

    def __init__(self, most: int) -> None:
        self.left = most
        self.closed: list[int] = []

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1
        return os.write(descriptor, data[:1])

    def close(self, descriptor: int) -> None:
        self.closed.append(descriptor)
        os.close(descriptor)


def test_what_goes_in_piece_by_piece_is_there_as_a_whole_from_the_beginning() -> None:
    """Whoever inherits the file reads it with `read`; whoever looks into it moves nothing."""
    descriptor = memory_file(b"twelve bytes", "test", Grudging(12))
    try:
        assert memory_content(descriptor) == b"twelve bytes"
        assert os.read(descriptor, 100) == b"twelve bytes"
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_one_that_cannot_be_written_is_closed() -> None:
    """The keeper lives for months: a descriptor for each refusal would be the end of it."""
    calls = Grudging(3)
    with pytest.raises(OSError, match="No space left"):
        memory_file(b"twelve bytes", "test", calls)
    (closed,) = calls.closed
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(closed)
