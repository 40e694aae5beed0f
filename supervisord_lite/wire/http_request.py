"""The head of an HTTP/1 request to the daemon: bytes in, what is asked for out. Sans-I/O.

Only what a balancer, a probe or a scraper sends is understood: GET and HEAD, no body, one request
for each connection. Source: RFC 9112.
"""

from supervisord_lite.base.record import record

#: Of a request line and all header fields.
MAX_HEAD_BYTES = 8 * 1024

_METHODS = ("GET", "HEAD")


@record
class HttpRequest:
    """What is asked for.

    Attributes:
        method: "GET" or "HEAD".
        path: Decoded, without what stands behind ``?``.
        query: What stands there, the last value of each name.
    """

    method: str
    path: str
    query: dict[str, str]


class BadRequestError(Exception):
    """These bytes are no request that is served here.

    Attributes:
        status: The status to answer with, 400 to 505.
    """

    def __init__(self, status: int, reason: str) -> None:
        """Take the status and a reason for people."""
        super().__init__(reason)
        self.status = status


def read_request(data: bytes) -> HttpRequest | None:
    """Return the request that *data* begins with; None: its head is not complete yet.

    Raises:
        BadRequestError: It is none that is served here.
    """
    # A bare line feed ends a line too (RFC 9112, 2.2).
    text = data.replace(b"\r\n", b"\n").lstrip(b"\n")
    head, end, _ = text.partition(b"\n\n")
    if not end:
        if len(data) > MAX_HEAD_BYTES:
            raise BadRequestError(431, "the head of the request is too long")
        return None
    if len(head) > MAX_HEAD_BYTES:
        raise BadRequestError(431, "the head of the request is too long")
    words = head.partition(b"\n")[0].split(b" ")
    if len(words) != 3 or not words[0].isalpha() or not words[1]:
        raise BadRequestError(400, "this is not a request line")
    method, target, version = (word.decode("latin-1") for word in words)
    if not version.startswith("HTTP/1."):
        raise BadRequestError(505, "HTTP/1 is spoken here")
    if method not in _METHODS:
        raise BadRequestError(405, "only GET and HEAD are answered")
    return HttpRequest(method, *_target(target))


def _target(target: str) -> tuple[str, dict[str, str]]:
    if "://" in target.partition("?")[0]:  # absolute form: a proxy asks
        rest = target.partition("://")[2]
        host = rest.partition("?")[0].partition("/")[0]
        target = rest[len(host) :]
        target = target if target.startswith("/") else f"/{target}"
    path, _, query = target.partition("#")[0].partition("?")
    if not path.startswith("/"):
        raise BadRequestError(400, "the target is not a path")
    found = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name:
            found[_decoded(name)] = _decoded(value.replace("+", " "))
    return _decoded(path), found


def _decoded(text: str) -> str:
    """Return *text* with ``%41`` as "A"; what is no such pair of digits stays."""
    if "%" not in text:
        return text
    first, *rest = text.encode("latin-1").split(b"%")
    parts = [first]
    for part in rest:
        try:
            parts += [bytes([int(part[:2].decode("ascii"), 16)]), part[2:]]
        except (ValueError, UnicodeDecodeError):
            parts += [b"%", part]
    return b"".join(parts).decode("utf-8", "replace")


_REASONS = {
    200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
}  # fmt: skip


def answer(status: int, content_type: str, body: bytes, *, has_body: bool = True) -> bytes:
    """Return a whole answer; the connection is closed behind it.

    Args:
        status: One that `read_request` names, or 200, 404, 500, 503.
        content_type: Of *body*.
        body: What the answer is about.
        has_body: False for HEAD: then only its length is told.
    """
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status == 405:
        lines.append(f"Allow: {', '.join(_METHODS)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    return head + body if has_body else head
