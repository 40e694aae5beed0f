"""Small reads, exactly once."""

from __future__ import annotations

from supervisord_lite.scribe.memory import BUFFER_BYTES, SCRIBE_MEMORY_BYTES, Area, Memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from supervisord_lite.scribe.calls import Calls


class Tail:
    """Small reads: moved behind the end of the memory, whose size says whether it has happened.

    A read into a prefilled buffer can be told from no read only by bytes that differ; few bytes
    may happen to be the same. A splice into the memfd is killed before or after, never halfway,
    and grows the file when it has happened. Both threads use the one tail, under the lock.

    Attributes:
        works: Until the kernel refuses (a sandbox without splice).
    """

    def __init__(self, memory: Memory, calls: Calls) -> None:
        """Use the tail of *memory*; what a predecessor left there is still wanted."""
        self._memory = memory
        self._calls = calls
        self.works = True

    def move(self, source: int, count: int) -> int:
        """Move *count* bytes out of the pipe *source*.

        Returns:
            How many came: 0 for none, -1 when small reads do not work here.
        """
        try:
            moved: int = self._calls.splice(
                source, self._memory.descriptor, count, offset_dst=SCRIBE_MEMORY_BYTES
            )
        except BlockingIOError:
            return 0
        except OSError:
            self.works = False
            return -1
        return moved

    def fetch(self, area: Area) -> int:
        """Copy what is there into the buffer; return its size, 0 for nothing."""
        count = min(self._memory.tail_bytes(), BUFFER_BYTES)
        if count > 0:
            area.view[area.base : area.base + count] = self._calls.pread(
                self._memory.descriptor, count, SCRIBE_MEMORY_BYTES
            )
        return count

    def clear(self) -> None:
        """Forget what is there."""
        self._calls.shrink(self._memory.descriptor, SCRIBE_MEMORY_BYTES)
