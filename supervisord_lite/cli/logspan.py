"""Which part of a log is one run's, or was written since some time: from the marks beside it.

The files of a log are one sequence of places, (number of the file, offset). Marks of files that are
gone stand at the beginning of what is left; those of a run that had no file yet, where the next
mark does. An inode may be used again: from the newest mark backward places only go down, and a mark
that does not is one of a file that is gone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.scribe.marks import MAX_BYTES, Mark, marks_path, parse

Place = tuple[int, int]
_START: Place = (0, 0)
#: Marks are rounded to milliseconds, and a file's time is up to a tick of the kernel behind.
_COARSE_S = 0.02


class NoSuchPartError(SupervisordLiteError):
    """A log has no run like that, or nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a log, as it was found.

    Attributes:
        fd: Open for reading.
        identity: Device and inode.
        size: In bytes.
        changed_at_s: When it was written to last, in seconds since the epoch.
    """

    fd: int
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

    def span(self, path: str, parts: Sequence[Part]) -> tuple[Place, Place]:
        """Return the first place, and the one behind the last.

        Args:
            path: Of the log.
            parts: Its files, the oldest first.

        Raises:
            NoSuchPartError: There is no such run.
        """
        marks = _marks_of(path)
        places = _placed(marks, parts)
        start, end = _START, _end(parts)
        if self.run is not None:
            start, end = _run_span(self.run, path, marks, places, end)
        if self.since_s is not None:
            start = max(start, _since(self.since_s, marks, places, parts, end))
        return min(start, end), end


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
    numbers = {part.identity: number for number, part in enumerate(parts)}
    bound = end = _end(parts)
    found: list[Place | None] = []
    for mark in reversed(marks):
        number = None if mark.file is None else numbers.get(mark.file)
        place = None if number is None else (number, mark.offset)
        if place is not None and (place > bound or mark.offset > parts[place[0]].size):
            place = None
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


def _run_span(
    wanted: int, path: str, marks: Sequence[Mark], places: Sequence[Place], end: Place
) -> tuple[Place, Place]:
    begins: dict[str, Place] = {}
    for mark, place in zip(marks, places, strict=True):
        begins.setdefault(mark.run, place)
    runs = list(begins)
    index = _index_of(wanted, runs)
    if index is None:
        text = f"{path}: nothing is known of {_said(wanted)}"
        hint = "no run is known" if not runs else f"--run 0 to {1 - len(runs)} are known"
        raise NoSuchPartError(text, hint=hint)
    following = begins[runs[index + 1]] if index + 1 < len(runs) else end
    return begins[runs[index]], following


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


def part_of(fd: int) -> Part:
    """Return what an open file is."""
    found = os.fstat(fd)
    return Part(fd, (found.st_dev, found.st_ino), found.st_size, found.st_mtime)


def has_marks(path: str) -> bool:
    """Return whether anything is known of runs and times."""
    return Path(marks_path(path)).exists()
