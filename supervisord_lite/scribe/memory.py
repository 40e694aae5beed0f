"""What outlives a scribe: one memfd, made by the keeper, inherited by every next scribe.

Layout, in pages of 4096 bytes::

    0        of the writer: which of two records is valid, and the records
    1, 2     of the writer: the path that belongs to each record
    3 … 18   of the writer: the buffer, 64 KiB
    19 … 37  the same for the watcher (`watch`), untouched until a disk hangs
    38 … 101 the ledger: 64 bytes for each log file
    102      where small reads land; the memory is longer than 102 pages only while one is there

A record is written beside the valid one and becomes valid by one store of one byte, so a process
that is killed between any two instructions leaves either the old record or the new one. The same
byte says whether the record's image of a ledger entry has still to be copied to the ledger.
"""

from __future__ import annotations

import mmap
import os
import struct

from supervisord_lite.scribe.forms import RAW, RAW_AT
from supervisord_lite.scribe.ledger import LEDGER_BYTES, NO_IMAGE, Entry, Ledger
from supervisord_lite.scribe.plan import Chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from supervisord_lite.scribe.files import LogFile

BUFFER_BYTES = 65536
_PAGE = 4096
_AREA_BYTES = 3 * _PAGE + BUFFER_BYTES
_LEDGER = 2 * _AREA_BYTES

#: The size of the memory, in bytes.
SCRIBE_MEMORY_BYTES = _LEDGER + LEDGER_BYTES

#: Reads of fewer bytes than this cannot be told from the prefill with certainty.
NONCE_BYTES = 16

# Phases of a record.
IDLE = 0  #: nothing is under way
READ = 1  #: `end` bytes are being read into the prefilled buffer
READ_SMALL = 2  #: `end` bytes are being moved behind the end of the memory
WRITE = 3  #: the bytes [start, end) of the buffer go to `offset` of the file
ROTATE = 4  #: the file is being renamed to its `segment`; then as WRITE, in a new file
TRIM = 5  #: the file is being cut back to `offset`
ARRIVED = 6  #: a successor has found that the read of `end` bytes had happened

_RECORD = struct.Struct("<BBHi9Q16s7Q")
_SLOTS = (64, 512)
#: Name and version of this layout, in the first page.
_LAYOUT = b"sl-log-2"
_LAYOUT_AT = 8
_HAS_IMAGE = 2

#: MAP_LOCKED, which Python does not name, where it has this value.
_MAP_LOCKED = 0x2000
_LOCKED_MACHINES = ("x86_64", "aarch64", "riscv64", "s390x", "i686", "armv7l")


class Area(Chunk):
    """One thread's buffer and its record of what it is doing with it.

    Attributes:
        view: The buffer.
        phase: What is under way; see the constants above.
        storing: In a READ: what comes is for the file, not to be dropped.
        form, is_stderr: In a READ that is storing: what becomes of it (`forms`).
        stream: Number of the stream that is read.
        identity: Of the file that `offset` speaks about; 0: a new one after a rotation.
        segment: Number that a rotation gives to the file.
        path, max_size, backups: Of the file, so that a successor needs nothing else.
    """

    __slots__ = (
        "_entry", "_ledger", "_memory", "_nonce", "_paths", "_slot", "_start", "backups",
        "form", "identity", "is_stderr", "path", "phase", "segment", "storing", "stream", "view",
    )  # fmt: skip

    def __init__(self, memory: mmap.mmap, start: int, ledger: Ledger, nonce: bytes) -> None:
        """Use the area that begins at *start* of *memory*, and read its valid record."""
        super().__init__(memory, start + 3 * _PAGE)
        self._memory = memory
        self._start = start
        self._ledger = ledger
        self._nonce = nonce
        self._paths = [b"", b""]
        self._slot = 0
        self.phase = IDLE
        self.storing = False
        self.form = RAW
        self.is_stderr = False
        self.identity = 0
        self.segment = 0
        self.view = memoryview(memory)[start + 3 * _PAGE : start + _AREA_BYTES]
        self._load()

    def aim(self, file: LogFile, stream: int) -> None:
        """Say what file and stream the next record is about."""
        self.path = file.path_bytes
        self.max_size = file.max_size
        self.backups = file.backups
        self._entry = file.entry.index
        self.stream = stream
        self.start = 0
        self.form = RAW

    @property
    def base(self) -> int:
        """Where in the buffer lies what is read."""
        return RAW_AT if self.form else 0

    def prefill(self) -> None:
        """Mark the buffer, so that it can be seen later whether a read has happened."""
        self.view[self.base : self.base + NONCE_BYTES] = self._nonce

    def is_filled(self) -> bool:
        """Return whether `end` bytes have come into the prefilled buffer."""
        size = min(self.end, NONCE_BYTES)
        return bytes(self.view[self.base : self.base + size]) != self._nonce[:size]

    def commit(self, phase: int, entry: Entry | None = None) -> None:
        """Make the present fields the valid record, in one step; with *entry*, the ledger too."""
        self.phase = phase
        slot = 1 - self._slot
        image = entry.image() if entry is not None else NO_IMAGE
        index = entry.index if entry is not None else self._entry
        if self._paths[slot] != self.path:
            place = self._start + (1 + slot) * _PAGE
            self._memory[place : place + len(self.path)] = self.path
            self._paths[slot] = self.path
        _RECORD.pack_into(
            self._memory, self._start + _SLOTS[slot],
            phase, self.storing | self.form << 1 | self.is_stderr << 3, len(self.path), index,
            self.stream, self.start, self.end, self.offset, self.line_start, self.identity,
            self.segment, self.max_size, self.backups, self._nonce, *image,
        )  # fmt: skip
        # This one store makes it so.
        self._memory[self._start] = slot | (_HAS_IMAGE if entry is not None else 0)
        self._slot = slot
        if entry is not None:
            self._ledger.store(index, image)
            self._memory[self._start] = slot

    def _load(self) -> None:
        selector = self._memory[self._start]
        self._slot = selector & 1
        record = _RECORD.unpack_from(self._memory, self._start + _SLOTS[self._slot])
        self.phase, storing, path_length, self._entry, self.stream = record[:5]
        self.storing = bool(storing & 1)
        self.form = storing >> 1 & 3
        self.is_stderr = bool(storing & 8)
        self.start, self.end, self.offset, self.line_start, self.identity = record[5:10]
        self.segment, self.max_size, self.backups = record[10:13]
        if self.phase != IDLE:
            self._nonce = record[13]
        place = self._start + (1 + self._slot) * _PAGE
        self.path = bytes(self._memory[place : place + path_length])
        if selector & _HAS_IMAGE:
            self._ledger.store(self._entry, record[14:])
            self._memory[self._start] = self._slot


class Memory:
    """The whole memory.

    Attributes:
        descriptor: The memfd.
        writer, watcher: One area for each thread.
        ledger: One entry for each log file.
    """

    def __init__(self, descriptor: int, nonce: bytes) -> None:
        """Map the memory of *descriptor*; the records of a predecessor are loaded.

        Args:
            descriptor: A memfd; a new one, empty or of zeroes, gets its size here. A tail left by
                a predecessor in the middle of a small read is still there.
            nonce: 16 bytes that no output contains.
        """
        self.descriptor = descriptor
        if os.pread(descriptor, 8, _LAYOUT_AT) not in (_LAYOUT, bytes(8)):
            # New and empty, or of a keeper that went on across an upgrade: what an older layout
            # says cannot be read.
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, SCRIBE_MEMORY_BYTES)
        os.pwrite(descriptor, _LAYOUT, _LAYOUT_AT)
        hot = _map_hot(descriptor)
        cold = mmap.mmap(descriptor, SCRIBE_MEMORY_BYTES - _AREA_BYTES, offset=_AREA_BYTES)
        # The ledger first: loading an area may complete an entry.
        self.ledger = Ledger(cold, _LEDGER - _AREA_BYTES)
        self.writer = Area(hot, 0, self.ledger, nonce)
        self.watcher = Area(cold, 0, self.ledger, nonce)

    def tail_bytes(self) -> int:
        """Return how many bytes of a small read are there."""
        return os.fstat(self.descriptor).st_size - SCRIBE_MEMORY_BYTES


def _map_hot(descriptor: int) -> mmap.mmap:
    """Map the writer's area, present and locked where that is allowed.

    A page that had to be brought in during a read would be a place where the read can be killed
    halfway.
    """
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    if os.uname().machine in _LOCKED_MACHINES:
        try:
            return mmap.mmap(descriptor, _AREA_BYTES, flags=flags | _MAP_LOCKED)
        except OSError:
            pass  # RLIMIT_MEMLOCK: present will do
    return mmap.mmap(descriptor, _AREA_BYTES, flags=flags)
