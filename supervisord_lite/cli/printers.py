"""How log bytes leave the command: as they are, escaped for a terminal, prefixed, or as JSON."""

import codecs
import json
from typing import BinaryIO, Protocol

from supervisord_lite.cli.text import printable


class Printer(Protocol):
    """Writes one log's bytes."""

    def write(self, data: bytes) -> None:
        """Print the next bytes."""

    def end(self) -> None:
        """Print what is left of a last line without an end."""


class Raw:
    """Bytes as they are."""

    def __init__(self, out: BinaryIO) -> None:
        """Take where they go."""
        self._out = out

    def write(self, data: bytes) -> None:
        """Print the next bytes."""
        self._out.write(data)

    def end(self) -> None:
        """There is nothing left."""


class Terminal:
    """One log on a terminal: nothing in it is obeyed; half lines are shown at once."""

    def __init__(self, out: BinaryIO) -> None:
        """Take where the text goes."""
        self._out = out
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")

    def write(self, data: bytes) -> None:
        """Print the next bytes."""
        self._out.write(_escaped(self._decoder.decode(data)))

    def end(self) -> None:
        """Print a character that was cut off."""
        self._out.write(_escaped(self._decoder.decode(b"", final=True)))


class _Lines:
    """What makes whole lines of pieces."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Print the lines that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """Print the last line, ended."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""

    def _line(self, line: bytes) -> None:
        raise NotImplementedError


class Lines(_Lines):
    """Whole lines with a prefix; *escape* for a terminal."""

    def __init__(self, out: BinaryIO, prefix: str, *, escape: bool) -> None:
        """Take where lines go, what stands before each, and whether control characters show."""
        super().__init__()
        self._out = out
        self._prefix = prefix.encode()
        self._escape = escape

    def _line(self, line: bytes) -> None:
        if self._escape:
            line = _escaped(line.decode("utf-8", "backslashreplace"))
        self._out.write(self._prefix + line + b"\n")


class JsonLines(_Lines):
    """One JSON object a line: name, stream, line."""

    def __init__(self, out: BinaryIO, name: str, stream: str) -> None:
        """Take where objects go, whose log it is, and which stream."""
        super().__init__()
        self._out = out
        self._name = name
        self._stream = stream

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        message = {"name": self._name, "stream": self._stream, "line": text}
        self._out.write(json.dumps(message).encode() + b"\n")


def _escaped(text: str) -> bytes:
    """Return *text* for a terminal; line ends and tabs stay what they are."""
    lines = text.replace("\r\n", "\n").split("\n")
    shown = ("\t".join(printable(cell) for cell in line.split("\t")) for line in lines)
    return "\n".join(shown).encode("utf-8", "backslashreplace")
