"""The ledger: what each log file has lost, and the state of its last line; it outlives scribes."""

from __future__ import annotations

import mmap
import struct

_ENTRIES = 4096
_ENTRY_BYTES = 64
#: Size of the whole ledger, in bytes.
LEDGER_BYTES = _ENTRIES * _ENTRY_BYTES

_IMAGE = struct.Struct("<7Q")
#: The image of a file that has lost nothing.
NO_IMAGE = (0,) * 7
_MIDLINE, _SKIP, _TRIM, _COUNTED, _TROUBLE = 1, 2, 4, 8, 16
_FORM_SHIFT = 5
_ECHO_TROUBLE, _ECHOES = 128, 256
#: In the last field: how much of it is `held`; the rest is `echoed`.
_HELD_BITS = 32
_HELD = (1 << _HELD_BITS) - 1


class Entry:
    """The ledger's line about one log file.

    Attributes:
        dropped_bytes, dropped_lines: Lost since the keeper started; they only grow.
        stream: Whose state `midline` and `skip` are.
        midline: The last byte that was read of that stream did not end a line.
        skip: The rest of that line is to be dropped, because its beginning was.
        identity: Of the file that `line_start` speaks about; 0 for none.
        line_start: Where in the file its unfinished last line begins, in bytes.
        trim: The file must be cut back to `line_start` before anything is added.
        counted: What a trim will cut off has been counted as dropped already.
        trouble: The keeper was told that the file cannot be written.
        form: In which the file's unfinished last line is written; see `forms`.
        echoed: Where in the file begins what has not been sent on to the journal, in bytes.
        echo_trouble: The keeper was told that the journal does not take it.
        echoes: It is sent on; a successor knows before it is told.
        held: The beginning of a character in that line whose rest has not been read, at most 3
            bytes.
    """

    __slots__ = (
        "counted", "dropped_bytes", "dropped_lines", "echo_trouble", "echoed", "echoes", "form",
        "held", "identity", "index", "line_start", "midline", "skip", "stream", "trim", "trouble",
    )  # fmt: skip

    def __init__(self, index: int) -> None:
        """Begin with nothing lost; *index* is the place in the ledger, -1 for none."""
        self.index = index
        self.restore(NO_IMAGE)

    def image(self) -> tuple[int, ...]:
        """Return all fields as they are stored."""
        flags = (
            (_MIDLINE if self.midline else 0)
            | (_SKIP if self.skip else 0)
            | (_TRIM if self.trim else 0)
            | (_COUNTED if self.counted else 0)
            | (_TROUBLE if self.trouble else 0)
            | self.form << _FORM_SHIFT
            | (_ECHO_TROUBLE if self.echo_trouble else 0)
            | (_ECHOES if self.echoes else 0)
        )
        return (
            self.dropped_bytes,
            self.dropped_lines,
            self.stream,
            self.line_start,
            self.identity,
            flags,
            self.last_field(),
        )

    def last_field(self) -> int:
        """Return the last of the fields of `image`."""
        return int.from_bytes(b"\1" + self.held, "big") | self.echoed << _HELD_BITS

    def restore(self, image: tuple[int, ...]) -> None:
        """Set all fields from what was stored."""
        self.dropped_bytes, self.dropped_lines, self.stream = image[:3]
        self.line_start, self.identity, flags, held = image[3:7]
        # A leading one keeps its zeroes; nothing at all is an entry that was never stored.
        self.held = (held & _HELD).to_bytes(4, "big").lstrip(b"\0")[1:]
        self.echoed = held >> _HELD_BITS
        self.echo_trouble = bool(flags & _ECHO_TROUBLE)
        self.echoes = bool(flags & _ECHOES)
        self.form = flags >> _FORM_SHIFT & 3
        self.midline = bool(flags & _MIDLINE)
        self.skip = bool(flags & _SKIP)
        self.trim = bool(flags & _TRIM)
        self.counted = bool(flags & _COUNTED)
        self.trouble = bool(flags & _TROUBLE)


class Ledger:
    """One entry for each log file that this keeper's scribes have seen, never removed.

    When all places are taken, further files are counted in this process only.
    """

    def __init__(self, memory: mmap.mmap, base: int) -> None:
        """Find the places that are taken."""
        self._memory = memory
        self._words = memoryview(memory).cast("Q")
        self._base = base
        self._places: dict[int, int] = {}
        for index in range(_ENTRIES):
            (key,) = struct.unpack_from("<Q", memory, base + index * _ENTRY_BYTES)
            if key == 0:
                break
            self._places[key] = index

    def entry(self, path: bytes) -> Entry:
        """Return the entry of the file at *path*, a new one at the first time."""
        # The path as one number, modulo a prime of 61 bits: nothing to import, and two paths
        # of one configuration meet with a chance of about 1 in 10^12.
        key = int.from_bytes(path, "big") % ((1 << 61) - 1) + 1
        index = self._places.get(key, -1)
        if index < 0:
            if len(self._places) == _ENTRIES:
                return Entry(-1)
            index = self._places[key] = len(self._places)
            struct.pack_into("<Q", self._memory, self._base + index * _ENTRY_BYTES, key)
        entry = Entry(index)
        entry.restore(
            _IMAGE.unpack_from(self._memory, self._base + index * _ENTRY_BYTES + 8),
        )
        return entry

    def note(self, entry: Entry) -> None:
        """Write `echoed` of one entry to its place, in one step."""
        if entry.index >= 0:
            place = self._base + entry.index * _ENTRY_BYTES + _ENTRY_BYTES - 8
            self._words[place // 8] = entry.last_field()

    def store(self, index: int, image: tuple[int, ...]) -> None:
        """Write the image of one entry to its place."""
        if index >= 0:
            _IMAGE.pack_into(self._memory, self._base + index * _ENTRY_BYTES + 8, *image)
