"""One text file that was read, and the places in it."""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from supervisord_lite.base import way
from supervisord_lite.config.errors import Problem

#: A configuration is written by people; more than this is some other file.
MAX_FILE_BYTES = 16 * 1024 * 1024
NO_SUCH_FILE = "no such file"
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Version(NamedTuple):
    """What a file was when it had been read, or a folder when it had been looked into.

    Attributes:
        inode: Its number; another file of the same name has another one.
        size_bytes: Its length.
        changed_ns: When its content was changed last, on the clock of its disk, Unix time.
    """

    inode: int
    size_bytes: int
    changed_ns: int


#: Of a file that is not there; it may be on its way.
MISSING = Version(0, 0, 1 << 63)


def note_folder(seen: dict[str, Version], folder: str) -> None:
    """Note the version of a folder in which files were looked for, as one has looked.

    A file that was found missing may be out of the way for a moment only; then its folder has just
    changed. Of a folder that is missing itself, that is the one in which it would be.

    Args:
        seen: Takes it, under a name that ends in "/".
        folder: As typed; empty: where one stands.
    """
    folder = folder.rstrip("/") or ("/" if folder else ".")
    while True:
        try:
            status = os.stat(folder)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            above = os.path.dirname(folder) or "."  # noqa: PTH120
            if above == folder:
                return
            folder = above
        except (OSError, ValueError):
            return  # nobody can tell
        else:
            version = Version(status.st_ino, status.st_size, status.st_mtime_ns)
            seen[folder if folder == "/" else f"{folder}/"] = version
            return


class _IrregularError(Exception):
    """There is something, and it is no regular file."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Source:
    r"""A text and its places.

    Attributes:
        file: As typed.
        text: With "\n" line ends, as tomllib sees it.
        folder: Absolute; relative paths in the text are relative to it.
        short: The same file as seen from the folder of the first one, for mentioning it.
        data: What was read, byte by byte.
    """

    __slots__ = ("_last_line", "_starts", "data", "file", "folder", "short", "text")

    def __init__(self, file: str, text: str) -> None:
        """Take *text* as the content of *file*."""
        self.file = file
        self.short = file.rpartition("/")[2]
        self.data = b""
        self.folder = str(Path(os.path.abspath(file)).parent)  # noqa: PTH100  # keeps symlinks
        self.text = text.replace("\r\n", "\n")
        self._starts: list[int] | None = None
        self._last_line = (0, "")

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column, both from 1, of a character's offset."""
        starts = self._line_starts()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a character at line and column, both from 1."""
        return self._line_starts()[line - 1] + column - 1

    def _line_starts(self) -> list[int]:
        if self._starts is None:
            starts = [0]
            position = self.text.find("\n")
            while position >= 0:
                starts.append(position + 1)
                position = self.text.find("\n", position + 1)
            self._starts = starts
        return self._starts

    def problem(self, span: tuple[int, int], message: str, hint: str = "") -> Problem:
        """Return a problem about the characters from span[0] up to span[1]."""
        line, column = self.place(span[0])
        source = self._line(line, span[0] - column + 1)
        # A value over several lines is marked on its first one.
        length = max(1, min(span[1] - span[0], len(source) - column + 1))
        return Problem(self.file, line, column, message, hint, source, length)

    def _line(self, number: int, start: int) -> str:
        """Return the line; one that is long and has thousands of problems is kept once."""
        if self._last_line[0] != number:
            end = self.text.find("\n", start)
            self._last_line = number, self.text[start:] if end < 0 else self.text[start:end]
        return self._last_line[1]


def read_source(
    file: str,
    content: str | None = None,
    *,
    seen: dict[str, Version] | None = None,
    is_handed_on: bool = False,
) -> Source | Problem:
    """Return the content of *file*, or why it cannot be had (missing, a FIFO, not UTF-8 …).

    Args:
        file: As typed.
        content: Another file, whose content is taken as if it stood in *file*. Where it cannot be
            had, that is told of it.
        seen: Takes the version of what was read, by the name of the file.
        is_handed_on: Somebody gets what is in it who may not read all that we may, and perhaps may
            put a link to that in its place; then *file* is absolute.
    """
    place = content or file
    try:
        data, version = _content(place, is_handed_on=is_handed_on)
    except _IrregularError as error:
        hint = "" if error.kind == "a directory" else "it is read again at each reload"
        return Problem(place, 0, 0, f"is {error.kind}, not a file", hint)
    except way.LedAstrayError as error:
        message = f"may be another file than is meant: {error.strerror}"
        return Problem(place, 0, 0, message, "name the file itself, where its owner alone writes")
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        missing = isinstance(error, OSError) and error.errno == errno.ENOENT
        return Problem(place, 0, 0, NO_SUCH_FILE if missing else f"cannot be read: {why}")
    if seen is not None:
        seen[file] = version
    if len(data) > MAX_FILE_BYTES:
        return Problem(place, 0, 0, f"is larger than {MAX_FILE_BYTES >> 20}M: no configuration")
    try:
        source = Source(file, data.decode())
        source.data = data
    except UnicodeDecodeError as error:
        # Line and column in what is good so far.
        good = Source(file, data[: error.start].decode() + "\ufffd")
        offset = len(good.text) - 1
        hint = "save the file as UTF-8"
        return good.problem(
            (offset, offset + 1), f"byte 0x{data[error.start]:02x} is not UTF-8 text", hint
        )
    return source


def _content(path: str, *, is_handed_on: bool) -> tuple[bytes, Version]:
    """Return what is in a regular file, one byte more than the most at most, and which it is.

    Nothing else is opened: a FIFO would let us wait for ever, and a device may act.

    Raises:
        _IrregularError: It is something else.
        LedAstrayError: It is handed on, and others may have led us there.
        OSError, ValueError: It cannot be read.
    """
    # The place first, which opens nothing, and then what was seen there: nobody can put another
    # thing in between. Not O_NONBLOCK: to that, a file with a lease on it says "try again".
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(place)
        if not stat.S_ISREG(status.st_mode):
            raise _IrregularError(_KINDS.get(stat.S_IFMT(status.st_mode), "something else"))
        if is_handed_on:
            way.judge_file(place, path)
        with Path(f"/proc/self/fd/{place}").open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
            status = os.fstat(stream.fileno())
            return data, Version(status.st_ino, status.st_size, status.st_mtime_ns)
    finally:
        os.close(place)
