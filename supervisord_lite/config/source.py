"""One text file that was read, and the places in it."""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from pathlib import Path

from supervisord_lite.config.errors import Problem

#: A configuration is written by people; more than this is some other file.
MAX_FILE_BYTES = 16 * 1024 * 1024
NO_SUCH_FILE = "no such file"


class Source:
    r"""A text and its places.

    Attributes:
        file: As typed.
        text: With "\n" line ends, as tomllib sees it.
        folder: Absolute; relative paths in the text are relative to it.
        short: The same file as seen from the folder of the first one, for mentioning it.
        data: What was read, byte by byte.
    """

    __slots__ = ("_starts", "data", "file", "folder", "short", "text")

    def __init__(self, file: str, text: str) -> None:
        """Take *text* as the content of *file*."""
        self.file = file
        self.short = file.rpartition("/")[2]
        self.data = b""
        self.folder = str(Path(os.path.abspath(file)).parent)  # noqa: PTH100  # keeps symlinks
        self.text = text.replace("\r\n", "\n")
        self._starts: list[int] | None = None

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
        start = span[0] - column + 1
        end = self.text.find("\n", start)
        source = self.text[start:] if end < 0 else self.text[start:end]
        # A value over several lines is marked on its first one.
        length = max(1, min(span[1] - span[0], len(source) - column + 1))
        return Problem(self.file, line, column, message, hint, source, length)


def read_source(file: str, content: str | None = None) -> Source | Problem:
    """Return the content of *file*, or why it cannot be had (missing, too large, not UTF-8).

    Args:
        file: As typed.
        content: Another file, whose content is taken as if it stood in *file*.
    """
    try:
        with Path(content or file).open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        missing = isinstance(error, OSError) and error.errno == errno.ENOENT
        return Problem(file, 0, 0, NO_SUCH_FILE if missing else f"cannot be read: {why}")
    if len(data) > MAX_FILE_BYTES:
        return Problem(file, 0, 0, f"is larger than {MAX_FILE_BYTES >> 20}M: no configuration")
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
