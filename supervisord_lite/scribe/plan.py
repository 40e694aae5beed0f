"""Where a chunk is cut for rotation: pure, so that a successor decides the same.

A file is full at `max_size`. The line that crosses it is finished, not cut, unless it runs more
than `OVERRUN_BYTES` beyond: there it is cut, so that one endless line cannot grow a file without
bound.
A full file is renamed only when there is more to write. One that is old (ages.py) ends with the
line that is being written; a successor need not know that, for it is decided again.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmap import mmap

#: How far the line that crosses `max_size` may run beyond it, in bytes.
OVERRUN_BYTES = 65536


class Chunk:
    """What has been read and is to be written, and where.

    Attributes:
        start: First byte that is not written yet; positions count from the chunk's first byte.
        end: End of the bytes that were read.
        offset: Where in the current file the byte at `start` goes: its size, in bytes.
        line_start: Where in the current file its last line begins; `offset` when that is finished.
        max_size: Of a file, in bytes; 0 never rotates.
        is_old: The current file is to end with the line that is being written.
    """

    __slots__ = ("_base", "_data", "end", "is_old", "line_start", "max_size", "offset", "start")

    def __init__(self, data: bytes | mmap, base: int = 0) -> None:
        """Take the bytes of *data* from position *base* on."""
        self._data = data
        self._base = base
        self.start = 0
        self.end = 0
        self.offset = 0
        self.line_start = 0
        self.max_size = 0
        self.is_old = False

    def first_newline(self, start: int, end: int) -> int:
        r"""Return where the first "\n" in [start, end) is, or -1."""
        found = self._data.find(b"\n", self._base + start, self._base + end)
        return found - self._base if found >= 0 else -1

    def last_newline(self, start: int, end: int) -> int:
        r"""Return where the last "\n" in [start, end) is, or -1."""
        found = self._data.rfind(b"\n", self._base + start, self._base + end)
        return found - self._base if found >= 0 else -1

    def count_newlines(self, start: int, end: int) -> int:
        r"""Return how many "\n" are in [start, end)."""
        return self._data[self._base + start : self._base + end].count(b"\n")

    def next_cut(self) -> int:
        """Return how far the rest of the chunk goes into the current file.

        `end` means all of it; less means: rotate after it, then ask again. It may be `start`:
        rotate before anything is written.
        """
        start, end = self.start, self.end
        if self.is_old and self.offset > 0:
            newline = self.first_newline(start, end)
            if self.line_start == self.offset:
                return start
            if newline >= 0:
                return newline + 1
        room = self.max_size - self.offset
        if self.max_size == 0 or end - start <= room:
            return end
        if room > 0:
            newline = self.last_newline(start, start + room)
            if newline >= 0:
                return newline + 1
        if self.line_start == self.offset > 0:
            return start
        # A line that began in this file, or fills it from its first byte on: it may run over.
        limit = min(end, max(start, start + room + OVERRUN_BYTES))
        newline = self.first_newline(start, limit)
        return newline + 1 if newline >= 0 else limit

    def advance(self, cut: int) -> None:
        """The bytes [start, cut) are in the file."""
        newline = self.last_newline(self.start, cut)
        if newline >= 0:
            self.line_start = self.offset + newline + 1 - self.start
        self.offset += cut - self.start
        self.start = cut

    def next_file(self) -> None:
        """The current file has been renamed; what follows goes into an empty one."""
        self.offset = 0
        self.line_start = 0
        self.is_old = False
