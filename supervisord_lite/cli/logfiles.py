"""Reading a rotated log from outside: its last lines, and what comes next, without losing a line.

A full file PATH is renamed to PATH.N, N counting up, and a new PATH begins; so the order of reading
is PATH.1, PATH.2 … PATH. A file is known by its inode while it is open here, whatever its name has
become, and an open inode is never given to another file. A compressed one, PATH.N.gz, says which
inode the plain one had; where both are there, they are the same.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli.logspan import Content, Part, Place, Wanted
from supervisord_lite.control.errors import NotPermittedError
from supervisord_lite.scribe.gzipped import HEADER_BYTES, SUFFIX, origin_in

_BLOCK_BYTES = 64 * 1024
# Whoever may write the folder could put anything at the path: nothing that blocks or belongs to
# somebody else is opened.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Segment:
    """A rotated file: its number, the path of the plain one, and its inode."""

    number: int
    path: str
    identity: Identity


class LogFile:
    """One log with its rotated predecessors; `tail` once, then `poll` as often as wanted."""

    def __init__(self, path: str) -> None:
        """Take the path of the current file; it need not exist yet."""
        self._path = path
        self._fd: int | None = None
        self._position = 0
        self._line_start = 0
        #: Rotated files up to this number are older than the one that is open.
        self._older = 0

    def close(self) -> None:
        """Close what is open."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def tail(self, line_count: int) -> Iterator[bytes]:
        """Yield the last lines, oldest first, and stand behind them.

        Args:
            line_count: Of all files together; a last line without an end counts.

        Raises:
            SupervisordLiteError: A file may not be read, or is no regular file.
        """
        self._fd = _open(self._path)
        older = self._older_segments(None if self._fd is None else _identity(self._fd))
        self._older = older[-1].number if older else 0
        missing = line_count
        start = 0
        if self._fd is not None:
            self._position = os.fstat(self._fd).st_size
            start, found = _last_lines(self._fd, self._position, missing)
            missing -= found
        yield from _older_lines(older, missing)
        if self._fd is not None:
            for piece in _read(self._fd, start, self._position):
                self._note_line_start(piece, start)
                start += len(piece)
                yield piece

    def tail_of(self, wanted: Wanted, line_count: int | None) -> Iterator[bytes]:
        """Yield what somebody wants to see of it, oldest first, and stand behind the whole log.

        Args:
            wanted: Which part.
            line_count: The last lines of that; None: all.

        Raises:
            SupervisordLiteError: As `tail`, or there is no such part.
        """
        self._fd = _open(self._path)
        older = self._older_segments(None if self._fd is None else _identity(self._fd))
        self._older = older[-1].number if older else 0
        contents = [found for segment in older if (found := _open_segment(segment)) is not None]
        try:
            current = [] if self._fd is None else [Content(os.dup(self._fd))]
            contents += current
            parts = [content.part() for content in contents]
            yield from _spans_of(parts, wanted.spans(self._path, parts), line_count)
            if self._fd is not None:
                self._position = parts[-1].size
                self._line_start, _ = _last_lines(self._fd, self._position, 1)
        finally:
            for content in contents:
                content.close()

    def poll(self) -> Iterator[bytes]:
        """Yield what has been written since, through any number of rotations.

        Raises:
            SupervisordLiteError: As `tail`.
        """
        if self._fd is None:
            self._fd = _open(self._path)
            if self._fd is None:
                return
            yield from self._read_between(self._older)
        yield from self._read_new()
        while self._is_replaced():
            # Renamed after the last look: what was written before that is read first.
            yield from self._read_new()
            opened = _open(self._path)
            if opened is None:
                return
            old, self._fd = self._fd, opened
            self._position = self._line_start = 0
            try:
                yield from self._read_between(self._number_of(_identity(old)))
            finally:
                os.close(old)
            yield from self._read_new()

    def _read_between(self, after: int) -> Iterator[bytes]:
        """Yield whole files that came and went between two looks; numbers above *after*."""
        assert self._fd is not None
        for segment in self._older_segments(_identity(self._fd)):
            if segment.number > after:
                content = _open_segment(segment)
                if content is not None:
                    try:
                        yield from _read(content.fd, 0, None)
                    finally:
                        content.close()
            self._older = max(self._older, segment.number)

    def _older_segments(self, current: Identity | None) -> list[_Segment]:
        """Return the rotated files that are older than *current*, oldest first."""
        segments = _segments(self._path)
        if current is None or _identity_at(self._path) == current:
            return segments  # also of a compressed one that had the same inode before
        for index in range(len(segments) - 1, -1, -1):
            if segments[index].identity == current:  # rotated since it was opened
                return segments[:index]
        return segments

    def _number_of(self, identity: Identity) -> int:
        """Return the number under which a file was rotated.

        When it has been removed, every number counts that was not there when it was opened.
        """
        for segment in reversed(_segments(self._path)):
            if segment.identity == identity:
                return segment.number
        return self._older

    def _is_replaced(self) -> bool:
        """Return whether another file stands at the path."""
        assert self._fd is not None
        found = _identity_at(self._path)
        return found is not None and found != _identity(self._fd)

    def _read_new(self) -> Iterator[bytes]:
        """Yield what is behind the position in the open file."""
        assert self._fd is not None
        size = os.fstat(self._fd).st_size
        if size < self._position:
            # Either half a line was taken back because the disk is full, or the file was emptied.
            self._position = size if size >= self._line_start else 0
        for piece in _read(self._fd, self._position, None):
            self._note_line_start(piece, self._position)
            self._position += len(piece)
            yield piece

    def _note_line_start(self, piece: bytes, offset: int) -> None:
        """Remember where the last line begins, *piece* standing at *offset*."""
        end = piece.rfind(b"\n")
        if end != -1:
            self._line_start = offset + end + 1


def _open(path: str) -> int | None:
    """Return a descriptor of a regular file; None when there is nothing at *path*."""
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        text = f"{path}: permission denied"
        raise NotPermittedError(text) from error
    except OSError as error:
        text = f"{path}: {'a symbolic link' if error.errno == errno.ELOOP else error.strerror}"
        raise SupervisordLiteError(text) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        text = f"{path}: not a regular file"
        raise SupervisordLiteError(text)
    return fd


def _identity(fd: int) -> Identity:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _identity_at(path: str) -> Identity | None:
    """Return the inode at *path*; None between two names, or while it is gone."""
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_segment(segment: _Segment) -> Content | None:
    """Return the content of a rotated file; None when it has been removed meanwhile."""
    for path in (segment.path, segment.path + SUFFIX):
        fd = _open(path)
        if fd is not None:
            return Content(fd, is_packed=path != segment.path)
    return None


def _segments(path: str) -> list[_Segment]:
    """Return the rotated files of *path*, oldest first, each number once."""
    folder, name = os.path.split(path)
    segments: dict[int, _Segment] = {}
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                plain = entry.path.removesuffix(SUFFIX)
                suffix = entry.name.removesuffix(SUFFIX).removeprefix(f"{name}.")
                if suffix == entry.name or not (suffix.isascii() and suffix.isdecimal()):
                    continue
                number, is_plain = int(suffix), plain == entry.path
                identity = _plain_identity(entry.path) if not is_plain else _identity_at(plain)
                if identity is not None and (is_plain or number not in segments):
                    segments[number] = _Segment(number, plain, identity)
    except OSError:
        return []  # no folder yet, or not ours to look into
    return [segments[number] for number in sorted(segments)]


def _plain_identity(path: str) -> Identity | None:
    """Return the inode of which a compressed file was made; None: it is none of ours."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        origin = origin_in(os.pread(fd, HEADER_BYTES, 0))
        return None if origin is None else origin[0]
    finally:
        os.close(fd)


def _read(fd: int, start: int, end: int | None) -> Iterator[bytes]:
    """Yield the bytes from *start* to *end* (None: to the end of the file)."""
    while end is None or start < end:
        wanted = _BLOCK_BYTES if end is None else min(_BLOCK_BYTES, end - start)
        piece = os.pread(fd, wanted, start)
        if not piece:
            return
        start += len(piece)
        yield piece


def _spans_of(
    parts: list[Part], spans: list[tuple[Place, Place]], line_count: int | None
) -> Iterator[bytes]:
    """Yield what stands in *spans*, which are in order, or the last lines of all that."""
    if line_count is None or len(spans) == 1:
        for span in spans:
            yield from _span_of(parts, *span, line_count)
        return
    found: list[bytes] = []
    for span in reversed(spans):
        if line_count <= 0:
            break
        piece = b"".join(_span_of(parts, *span, line_count))
        line_count -= len(piece.splitlines())
        found.append(piece)
    yield from reversed(found)


def _span_of(
    parts: list[Part], first: Place, last: Place, line_count: int | None
) -> Iterator[bytes]:
    """Yield what stands between two places, or the last lines of that."""
    pieces = []
    for number in range(last[0], first[0] - 1, -1):
        if number >= len(parts):
            continue
        start = first[1] if number == first[0] else 0
        content = parts[number].content
        descriptor = content.fd  # from here on it is known how large a compressed one is
        end = min(last[1], content.size) if number == last[0] else content.size
        if line_count is not None:
            start, found = _last_lines(descriptor, end, line_count, start)
            line_count -= found
        pieces.append((descriptor, start, end))
    for fd, start, end in reversed(pieces):
        yield from _read(fd, start, end)


def _last_lines(fd: int, size: int, line_count: int, begin: int = 0) -> tuple[int, int]:
    """Return where the last lines begin, and how many there are.

    Args:
        fd: To read from.
        size: Where they end, in bytes.
        line_count: The most that are wanted.
        begin: Where the first of all begins.
    """
    if line_count <= 0 or size <= begin:
        return size, 0
    found = 0
    end = size
    ignore = size - 1  # the newline that ends the last line begins no other
    while end > begin:
        start = max(begin, end - _BLOCK_BYTES)
        block = os.pread(fd, end - start, start)
        at = block.rfind(b"\n")
        while at != -1:
            if start + at != ignore:
                found += 1
                if found == line_count:
                    return start + at + 1, found
            at = block.rfind(b"\n", 0, at)
        end = start
    return begin, found + 1


def _older_lines(older: list[_Segment], line_count: int) -> Iterator[bytes]:
    """Yield the last lines of rotated files, oldest first."""
    chosen: list[tuple[Content, int]] = []
    try:
        for segment in reversed(older):
            if line_count <= 0:
                break
            content = _open_segment(segment)
            if content is not None:
                chosen.append((content, 0))
                start, found = _last_lines(content.fd, content.size, line_count)
                chosen[-1] = content, start
                line_count -= found
        for content, start in reversed(chosen):
            yield from _read(content.fd, start, None)
    finally:
        for content, _ in chosen:
            content.close()
