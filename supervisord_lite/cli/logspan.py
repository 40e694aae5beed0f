"""Which part of a log is one run's, or was written since some time: from the marks beside it.

The files of a log are one sequence of places, (number of the file, offset). Marks of files that are
gone stand at the beginning of what is left; those of a run that had no file yet, where the next
mark does. An inode may be used again: from the newest mark backward places only go down, and a mark
that does not is one of a file that is gone.
"""

import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.scribe.gzipped import HEADER_BYTES, origin_in
from supervisord_lite.scribe.marks import MAX_BYTES, NO_RUN, Mark, marks_path, parse

Place = tuple[int, int]
_START: Place = (0, 0)
#: Marks are rounded to milliseconds, and a file's time is up to a tick of the kernel behind.
_COARSE_S = 0.02
_PIECE_BYTES = 1 << 20
#: Deflate makes a byte of so many at most.
_MOST_RATIO = 1032


class NoSuchPartError(SupervisordLiteError):
    """A log has no run like that, or nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a log, as it was found.

    Attributes:
        content: Open for reading.
        identity: Device and inode; of a compressed file those of the plain one.
        size: In bytes.
        changed_at_s: When it was written to last, in seconds since the epoch.
    """

    content: "Content"
    identity: tuple[int, int]
    size: int
    changed_at_s: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a log somebody wants to see.

    Attributes:
        run: 0 is the latest, -1 the one before it; above 0 the number that `status` tells. None:
            whichever.
        since_s: Not what was written before, in seconds since the epoch. None: from the beginning.
    """

    run: int | None = None
    since_s: float | None = None

    def spans(self, path: str, parts: Sequence[Part]) -> list[tuple[Place, Place]]:
        """Return from where to where it stands, in order; several where two runs took turns.

        Args:
            path: Of the log.
            parts: Its files, the oldest first.

        Raises:
            NoSuchPartError: There is no such run.
        """
        marks = _marks_of(path)
        places = _placed(marks, parts)
        end = _end(parts)
        spans = [(_START, end)]
        if self.run is not None:
            spans = _run_spans(self.run, path, marks, places, end)
        if self.since_s is not None:
            first = _since(self.since_s, marks, places, parts, end)
            spans = [(max(start, first), end) for start, end in spans]
        return [(min(start, end), end) for start, end in spans]


def _end(parts: Sequence[Part]) -> Place:
    return (len(parts) - 1, parts[-1].size) if parts else _START


def _marks_of(path: str) -> list[Mark]:
    try:
        fd = os.open(marks_path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with os.fdopen(fd, "rb") as file:
        return parse(file.read(2 * MAX_BYTES))


def _placed(marks: Sequence[Mark], parts: Sequence[Part]) -> list[Place]:
    """Return where each mark stands; they never go down."""
    numbers: dict[tuple[int, int], list[int]] = {}
    for number, part in enumerate(parts):
        numbers.setdefault(part.identity, []).append(number)
    bound = end = _end(parts)
    found: list[Place | None] = []
    for mark in reversed(marks):
        # A compressed file keeps the inode that it had, which another one may have by now.
        known = () if mark.file is None else numbers.get(mark.file, ())
        places = [(n, mark.offset) for n in known if mark.offset <= parts[n].size]
        place = max((each for each in places if each <= bound), default=None)
        bound = bound if place is None else place
        found.append(place)
    found.reverse()
    return _filled(found, marks, end)


def _filled(found: list[Place | None], marks: Sequence[Mark], end: Place) -> list[Place]:
    """Return places for all: what could not be placed stands where what is left of it begins."""
    oldest = next((n for n, place in enumerate(found) if place is not None), len(found))
    places: list[Place] = []
    following = end
    for number in range(len(found) - 1, -1, -1):
        place = found[number]
        if place is not None:
            following = place
        elif number < oldest and marks[number].file is not None:
            following = _START  # its file is gone, and what follows it may be its own
        places.append(following)
    places.reverse()
    return places


def _run_spans(
    wanted: int, path: str, marks: Sequence[Mark], places: Sequence[Place], end: Place
) -> list[tuple[Place, Place]]:
    begins: dict[str, Place] = {}
    for mark, place in zip(marks, places, strict=True):
        begins.setdefault(mark.run, place)
    runs = [run for run in begins if not run.startswith(NO_RUN)]
    index = _index_of(wanted, runs)
    if index is None:
        text = f"{path}: nothing is known of {_said(wanted)}"
        hint = "no run is known" if not runs else f"--run 0 to {1 - len(runs)} are known"
        raise NoSuchPartError(text, hint=hint)
    spans: list[tuple[Place, Place]] = []
    for mark, start, until in zip(marks, places, [*places[1:], end], strict=True):
        if mark.run != runs[index]:
            continue
        if spans and spans[-1][1] == start:
            spans[-1] = spans[-1][0], until
        else:
            spans.append((start, until))
    return spans


def _index_of(wanted: int, runs: Sequence[str]) -> int | None:
    if wanted <= 0:
        index = len(runs) - 1 + wanted
        return index if index >= 0 else None
    # Numbers begin anew with each daemon: the latest of that number is meant.
    of_number = [place for place, run in enumerate(runs) if run.partition(".")[0] == str(wanted)]
    return of_number[-1] if of_number else None


def _said(wanted: int) -> str:
    return f"run {wanted}" if wanted > 0 else f"--run {wanted}"


def _since(
    since_s: float,
    marks: Sequence[Mark],
    places: Sequence[Place],
    parts: Sequence[Part],
    end: Place,
) -> Place:
    """Return where what was written since then begins, or a little before."""
    start = _START
    for mark, place in zip(marks, places, strict=True):
        # What precedes this mark was all read by then.
        if (mark.at_s if mark.last_s is None else mark.last_s) + _COARSE_S >= since_s:
            return start
        start = place
    changed_at_s = max((part.changed_at_s for part in parts), default=0.0)
    if changed_at_s + _COARSE_S < since_s:
        return end
    return start


class Content:
    """The plain bytes of one file of a log, open for reading.

    Attributes:
        identity, size, changed_at_s: As in `Part`. Before it is unpacked the size is what the
            header says, and nobody may have more than that unpacked.
    """

    def __init__(self, fd: int, *, is_packed: bool = False) -> None:
        """Take over a descriptor; *is_packed*: of a file that the scribe has compressed."""
        found = os.fstat(fd)
        self._fd = fd
        self._unpacked: BinaryIO | None = None
        self.identity = found.st_dev, found.st_ino
        self.size = found.st_size
        self.changed_at_s = found.st_mtime
        self._is_packed = is_packed
        if not is_packed:
            return
        origin = origin_in(os.pread(fd, HEADER_BYTES, 0))
        if origin is not None:
            self.identity, size = origin
            self.size = min(size, self.size * _MOST_RATIO)

    @property
    def fd(self) -> int:
        """Return a descriptor of the plain bytes.

        Raises:
            SupervisordLiteError: What is compressed cannot be unpacked.
        """
        if not self._is_packed:
            return self._fd
        if self._unpacked is None:
            self._unpacked = self._unpack()
        return self._unpacked.fileno()

    def _unpack(self) -> BinaryIO:
        unpacked: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the rest
        size, why = 0, ""
        try:
            for piece in self._unpacked_pieces():
                size += len(piece)
                if size > self.size:
                    why = "it holds more than it says"
                    break
                unpacked.write(piece)
            unpacked.flush()
        except (OSError, zlib.error) as error:
            why = str(error)
        if why:
            unpacked.close()
            text = f"a compressed file of the log cannot be unpacked: {why}"
            raise SupervisordLiteError(text)
        self.size = size
        return unpacked

    def _unpacked_pieces(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        place = 0
        while not unpacker.eof and (packed := os.pread(self._fd, _PIECE_BYTES, place)):
            place += len(packed)
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, _PIECE_BYTES)
                packed = unpacker.unconsumed_tail
        yield unpacker.flush()

    def part(self) -> Part:
        """Return it as a part of its log."""
        return Part(self, self.identity, self.size, self.changed_at_s)

    def close(self) -> None:
        """Close what is open."""
        os.close(self._fd)
        if self._unpacked is not None:
            self._unpacked.close()


def has_marks(path: str) -> bool:
    """Return whether anything is known of runs and times."""
    return Path(marks_path(path)).exists()
