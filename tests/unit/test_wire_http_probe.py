"""One request, and which answers to it are good."""

import pytest

from supervisord_lite.wire.http_probe import Answer, request

GOOD = {
    "with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "longer than it says": b"HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello world",
    "without a body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "without a reason": b"HTTP/1.0 200\r\nContent-Length: 0\r\n\r\n",
    "that sends elsewhere": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    "in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
    ),
    "after an announcement": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    ),
    "with bare newlines": b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
}
BAD = {
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n": "HTTP 503",
    b"HTTP/1.1 404 Not Found\r\n\r\n": "HTTP 404",
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n": 'not HTTP: "SSH-2.0-OpenSSH_9.2p1 De…"',
    b"HTTP/1.1 OK\r\n\r\n": 'not HTTP: "HTTP/1.1 OK"',
    b"HTTP/1.1 20 OK\r\n\r\n": "not HTTP",
    b"HTTP/1.1 2000 OK\r\n\r\n": "not HTTP",
    b"HTTP/2 200\r\n\r\n": "not HTTP",
    b"\0\xff\x80": 'not HTTP: "???"',
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n": 'Content-Length: "many"',
    b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n": "larger than 1M",
    b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_100_000: "larger than 1M",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000: "head of its answer is larger than 64K",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": "garbled",
}  # fmt: skip


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_an_answer_is_good_when_it_is_whole(data: bytes, step: int) -> None:
    """However it is cut; and it is over without waiting for the end of the connection."""
    answer = Answer()
    for at in range(0, len(data), step):
        answer.feed(data[at : at + step])
    assert (answer.is_over, answer.problem) == (True, "")


@pytest.mark.parametrize(("data", "problem"), BAD.items(), ids=range(len(BAD)))
def test_anything_else_is_bad_in_words(data: bytes, problem: str) -> None:
    """As soon as it is known; nothing more of it is read."""
    answer = Answer()
    for at in range(0, len(data), 4096):
        answer.feed(data[at : at + 4096])
    assert answer.is_over
    assert problem in answer.problem


def test_the_end_of_the_connection_ends_a_body_without_a_length() -> None:
    """And no other: an answer that is cut is bad."""
    whole = Answer()
    whole.feed(b"HTTP/1.0 200 OK\r\n\r\nhello")
    assert not whole.is_over
    whole.end()
    assert (whole.is_over, whole.problem) == (True, "")
    for begun, problem in (
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "in the middle"),
    ):
        cut = Answer()
        cut.feed(begun)
        cut.end()
        assert cut.is_over
        assert problem in cut.problem


def test_the_request_asks_to_close() -> None:
    """So that nobody keeps the connection."""
    lines = request("/healthz?deep=1", "localhost:8000").decode().split("\r\n")
    assert lines[0] == "GET /healthz?deep=1 HTTP/1.1"
    assert "Host: localhost:8000" in lines
    assert "Connection: close" in lines
    assert "User-Agent: supervisord-lite" in lines
    assert lines[-2:] == ["", ""]
