"""Files that lie in memory: what is too long for a packet or a pipe, or must not be on a disk."""

from __future__ import annotations

import os

from supervisord_lite.base.calls import CALLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.base.calls import Calls


def memory_file(data: bytes, name: str = "message", calls: Any = CALLS) -> int:
    """Return a descriptor of a memory file that holds *data*, at its beginning and closed on exec.

    Args:
        data: What is in it.
        name: What /proc calls it.
        calls: Where memfd_create, write and close come from: a seam of whoever has one.

    Raises:
        OSError: No memory, or no descriptor; then there is none.
    """
    descriptor: int = calls.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(data)
    try:
        while view:
            view = view[calls.write(descriptor, view) :]
    except OSError:
        calls.close(descriptor)
        raise
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def memory_content(descriptor: int, calls: Calls = CALLS) -> bytes:
    """Return what is in a memory file, from its beginning; where it is read from stays.

    Raises:
        OSError: It cannot be read.
    """
    size = os.fstat(descriptor).st_size
    pieces = []
    place = 0
    while place < size and (piece := calls.pread(descriptor, size - place, place)):
        pieces.append(piece)
        place += len(piece)
    return b"".join(pieces)
