"""Requests over HTTP: whatever bytes come, the outcome is one of three."""

from hypothesis import example, given
from hypothesis import strategies as st

from supervisord_lite.wire.http_request import BadRequestError, answer, read_request

_PARTS = st.sampled_from(
    [b"GET ", b"HEAD ", b"/", b"?", b"&", b"=", b"%", b"%4", b"%41", b"#", b"://", b" HTTP/1.1",
     b"\r", b"\n", b"\r\n\r\n", b"\x00", b"\xff", b" "]
)  # fmt: skip
_HEADS = st.tuples(st.lists(_PARTS), st.lists(_PARTS)).map(
    lambda parts: b"".join([b"GET /", *parts[0], b" HTTP/1.1\r\n", *parts[1], b"\r\n\r\n"])
)


@given(st.one_of(_HEADS, st.lists(_PARTS).map(b"".join), st.binary()))
@example(b"GET http://? HTTP/1.1\n\n")
@example(b"\n\n\n")
def test_any_bytes_are_a_request_or_none_or_not_all_yet(data: bytes) -> None:
    """No other exception, a path is a path, and every refusal can be answered."""
    try:
        request = read_request(data)
    except BadRequestError as error:
        status = error.status
    else:
        assert request is None or request.path.startswith("/")
        status = 200
    assert answer(status, "text/plain", data).endswith(b"\r\n\r\n" + data)
