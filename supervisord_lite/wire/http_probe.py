"""As much of HTTP/1.1 as a health probe needs: one request, and whether its answer is good.

An answer is good when it has arrived whole (RFC 9112) with a status of 2xx or 3xx. It is bounded: a
head or a body beyond the limits below is a bad answer, as is whatever is not HTTP.
"""

from __future__ import annotations

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 1024 * 1024
_MAX_SHOWN = 24
_TOO_LARGE = "its answer is larger than 1M"
_NO_BODY = (204, 304)


def request(path: str, host: str) -> bytes:
    """Return the request for *path*; *host* is for the Host header, with the port."""
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: supervisord-lite",
        "Accept: */*",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode("ascii")


class Answer:
    """The answer to one request, as it arrives.

    Attributes:
        is_over: Nothing more need be read.
        problem: What is wrong with it, for people; empty while it is over: it is good.
    """

    def __init__(self) -> None:
        """Begin before its first byte."""
        self.is_over = False
        self.problem = ""
        self._head = bytearray()
        self._status = 0
        #: Of the body, still to come; None: until the connection is closed.
        self._left: int | None = None
        self._body_bytes = 0
        self._chunks: _Chunks | None = None

    def feed(self, data: bytes) -> None:
        """Take what has been read."""
        if self.is_over:
            return
        if not self._status:
            data = self._feed_head(data)
            if self.is_over or not self._status:
                return
        self._feed_body(data)

    def end(self) -> None:
        """The connection has been closed at the other end."""
        if self.is_over:
            return
        if not self._head and not self._status:
            self._fail("it closed the connection without an answer")
        elif not self._status or self._chunks is not None or self._left is not None:
            self._fail("it closed the connection in the middle of its answer")
        else:
            self._judge()

    # -- the head ----------------------------------------------------------------------------------

    def _feed_head(self, data: bytes) -> bytes:
        """Return what of *data* belongs to the body."""
        head = self._head
        searched = max(0, len(head) - 3)
        head += data
        if not _may_begin(head):
            self._fail(f"not HTTP: {_shown(bytes(head))}")
            return b""
        fields: list[str] = []
        while not self._status:
            end, length = _end_of_head(head, searched)
            if end < 0 or end > _MAX_HEAD_BYTES:
                if len(head) > _MAX_HEAD_BYTES:
                    self._fail("the head of its answer is larger than 64K")
                return b""
            line, *fields = bytes(head[:end]).decode("latin-1").split("\n")
            del head[: end + length]
            searched = 0
            status = _status_of(line)
            if status is None:
                self._fail(f"not HTTP: {_shown(line.encode('latin-1'))}")
                return b""
            # 1xx only announces the answer.
            self._status = status if status >= 200 else 0
        self._read_fields(fields)
        rest = bytes(head)
        head.clear()
        return rest

    def _read_fields(self, lines: list[str]) -> None:
        if not 200 <= self._status < 400:
            self._judge()  # whatever its body is
            return
        if self._status in _NO_BODY:
            self._left = 0
            return
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                continue
            name, value = name.strip().lower(), value.strip().lower()
            if name == "transfer-encoding" and value.endswith("chunked"):
                self._chunks = _Chunks()
            elif name == "content-length":
                if not (value.isascii() and value.isdigit()):
                    self._fail(f"Content-Length: {_shown(value.encode('latin-1'))}")
                    return
                self._left = int(value[:20])
        if self._chunks is not None:
            self._left = None
        elif self._left is not None and self._left > _MAX_BODY_BYTES:
            self._fail(_TOO_LARGE)

    # -- the body ----------------------------------------------------------------------------------

    def _feed_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._left is not None:
            self._left -= min(len(data), self._left)
            if not self._left:
                self._judge()
        elif self._body_bytes > _MAX_BODY_BYTES:
            self._fail(_TOO_LARGE)
        elif self._chunks is not None:
            self._chunks.feed(data)
            if self._chunks.is_garbled:
                self._fail("its chunks are garbled")
            elif self._chunks.is_over:
                self._judge()

    def _judge(self) -> None:
        self.is_over = True
        self.problem = "" if 200 <= self._status < 400 else f"HTTP {self._status}"

    def _fail(self, problem: str) -> None:
        self.is_over = True
        self.problem = problem


class _Chunks:
    """The chunked transfer coding, of which only the end matters."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_garbled = False
        self._line = bytearray()
        self._left = 0
        self._is_in_trailer = False

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data) and not (self.is_over or self.is_garbled):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at)
            self._line += data[at : len(data) if end < 0 else end]
            if len(self._line) > _MAX_HEAD_BYTES:
                self.is_garbled = True
            at = len(data) if end < 0 else end + 1
            if end >= 0:
                line = bytes(self._line).strip()
                self._line.clear()
                self._take(line)

    def _take(self, line: bytes) -> None:
        if self._is_in_trailer:
            self.is_over = not line
            return
        size = line.partition(b";")[0].strip()
        digits = size.decode("latin-1").lower()
        if not digits or len(digits) > 16 or not set(digits) <= set("0123456789abcdef"):
            self.is_garbled = True
            return
        length = int(digits, 16)
        self._is_in_trailer = length == 0
        self._left = length + 2 if length else 0  # and the end of its line


def _may_begin(head: bytearray) -> bool:
    start = bytes(head[:5])
    return b"HTTP/"[: len(start)] == start


def _end_of_head(head: bytearray, start: int) -> tuple[int, int]:
    """Return where a head ends, and how long the empty line is behind it; -1: not yet."""
    ends = [(head.find(end, start), len(end)) for end in (b"\r\n\r\n", b"\n\n")]
    found = [each for each in ends if each[0] >= 0]
    return min(found, default=(-1, 0))


def _status_of(line: str) -> int | None:
    """Return the status of a status line; None: it is none."""
    version, _, rest = line.strip().partition(" ")
    code = rest.strip()[:3]
    is_known = version in ("HTTP/1.1", "HTTP/1.0")
    is_alone = rest.strip()[3:4] in ("", " ")
    if not (is_known and is_alone and len(code) == 3 and code.isascii() and code.isdigit()):
        return None
    return int(code) if 100 <= int(code) <= 999 else None


def _shown(data: bytes) -> str:
    text = data[: _MAX_SHOWN + 1].decode("latin-1")
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return f'"{text[:_MAX_SHOWN]}{"…" if len(data) > _MAX_SHOWN else ""}"'
