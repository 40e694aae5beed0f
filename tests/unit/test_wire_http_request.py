"""Requests over HTTP: what is understood, what is refused, and that nothing else happens."""

import pytest

from supervisord_lite.wire.http_request import (
    MAX_HEAD_BYTES,
    BadRequestError,
    HttpRequest,
    answer,
    read_request,
)


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        ("GET /readyz HTTP/1.1", "/readyz", {}),
        ("GET /readyz?worker=web-1 HTTP/1.0", "/readyz", {"worker": "web-1"}),
        ("GET /readyz?worker=media-%2A&x HTTP/1.1", "/readyz", {"worker": "media-*", "x": ""}),
        ("GET /%72eadyz?a=1&a=2+3#end HTTP/1.1", "/readyz", {"a": "2 3"}),
        ("GET http://box:9178/livez HTTP/1.1", "/livez", {}),
        ("GET http://box:9178?worker=a HTTP/1.1", "/", {"worker": "a"}),
        ("GET /a%zz%C3%28 HTTP/1.1", "/a%zz\ufffd(", {}),
    ],
)
def test_what_is_asked_for(line: str, path: str, query: dict[str, str]) -> None:
    """Paths and queries are decoded; what is no pair of digits behind % stays."""
    data = f"{line}\r\nHost: shop\r\nUser-Agent: x\r\n\r\n".encode()
    assert read_request(data) == HttpRequest("GET", path, query)


def test_a_head_may_come_in_pieces_and_with_bare_line_feeds() -> None:
    """Nothing is decided before its end is there."""
    data = b"\r\nHEAD /livez HTTP/1.1\nHost: shop\n\n"
    assert all(read_request(data[:end]) is None for end in range(len(data)))
    assert read_request(data) == HttpRequest("HEAD", "/livez", {})


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /livez HTTP/1.1\r\n\r\n", 405),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/2\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01 /x HTTP/1.1\n\n", 400),
        (b"GET  HTTP/1.1\n\n", 400),
        (b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * MAX_HEAD_BYTES, 431),
    ],
)
def test_what_is_not_served(data: bytes, status: int) -> None:
    """Each mistake has a status of its own."""
    with pytest.raises(BadRequestError) as caught:
        read_request(data)
    assert caught.value.status == status


def test_an_answer_to_head_has_a_length_and_no_body() -> None:
    """As RFC 9110 has it."""
    assert answer(200, "text/plain", b"ok\n").endswith(b"Content-Length: 3\r\n"
        b"Cache-Control: no-store\r\nConnection: close\r\n\r\nok\n")  # fmt: skip
    assert answer(405, "text/plain", b"no\n", has_body=False).endswith(b"Allow: GET, HEAD\r\n\r\n")
