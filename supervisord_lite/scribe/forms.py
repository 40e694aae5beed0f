"""How lines stand in a log: as they came, with a stamp before each, or as one JSON object each.

Pure. What is to be written is made from what was read before the write is announced, and lies in
the shared buffer then: a successor repeats the same bytes, with the same stamps.

A line of a log is written as it comes, in as many chunks as it takes: its beginning is stamped, and
its end is closed by the newline, by the end of the stream, or by the next stream's first words. A
line that would be longer than `LINE_BYTES` goes on in a line of its own ("partial": true in JSON),
so that a file is never cut inside one.
"""

from __future__ import annotations

import json

RAW, STAMPED, JSON = range(3)
#: As the configuration names them.
FORMS = {"raw": RAW, "stamped": STAMPED, "json": JSON}
#: Longest line of a log, but for its last chunk, in bytes; what systemd's journal takes.
LINE_BYTES = 48 * 1024
#: Where in the buffer lies what was read; what is to be written lies before it.
RAW_AT = 62 * 1024
#: Most bytes that are read at once: each may be a newline, and makes a line of 62 bytes then.
RAW_BYTES = 960


class Chunk:
    """One chunk on its way into a log.

    Attributes:
        out: What is to be written.
        held: The beginning of a character whose rest has not come; it belongs before what comes.
    """

    __slots__ = ("_begin", "_form", "_line_bytes", "held", "out")

    def __init__(self, form: int, stream: str, at: str) -> None:
        """Take the form, "stdout" or "stderr", and the time, RFC 3339."""
        self._form = form
        words = f'{{"at":"{at}","stream":"{stream}","line":"' if form == JSON else f"{at} {stream} "
        self._begin = words.encode("ascii")
        self._line_bytes = 0
        self.out = bytearray()
        self.held = b""

    def add(self, raw: bytes, *, is_begun: bool, line_bytes: int) -> None:
        """Add what was read.

        Args:
            raw: At most `RAW_BYTES`, and what was held before.
            is_begun: It goes on with the line that the file ends with.
            line_bytes: How long that is already.
        """
        self._line_bytes = line_bytes
        *lines, rest = raw.split(b"\n")
        for line in lines:
            self._put(line, is_begun=is_begun)
            self.out += closing(self._form)
            is_begun = False
        if rest:
            size = _unfinished_bytes(rest) if self._form == JSON else 0
            self.held = rest[len(rest) - size :]
            self._put(rest[: len(rest) - size], is_begun=is_begun)

    def _put(self, line: bytes, *, is_begun: bool) -> None:
        text = _text(self._form, line)
        if is_begun and self._line_bytes + len(text) > LINE_BYTES:
            self.out += b'","partial":true}\n' if self._form == JSON else b"\n"
            is_begun = False
        if not is_begun:
            self.out += self._begin
            self._line_bytes = len(self._begin)
        self.out += text
        self._line_bytes += len(text)


def closing(form: int, held: bytes = b"") -> bytes:
    """Return what ends a line, with the beginning of a character that never got its rest."""
    return _text(form, held) + (b'"}\n' if form == JSON else b"\n")


def _text(form: int, line: bytes) -> bytes:
    if form != JSON:
        return line
    # What is no UTF-8 is shown as \xff; the backslash itself is escaped once more by JSON.
    return json.dumps(line.decode("utf-8", "backslashreplace"), ensure_ascii=False)[1:-1].encode()


def _unfinished_bytes(line: bytes) -> int:
    """Return how many bytes at the end of *line* may become a character with those that follow."""
    for count in range(1, min(3, len(line)) + 1):
        byte = line[-count]
        if byte & 0xC0 == 0x80:
            continue
        size = 2 if 0xC2 <= byte < 0xE0 else 3 if 0xE0 <= byte < 0xF0 else 4
        return count if 0xC2 <= byte <= 0xF4 and count < size else 0
    return 0
