"""Answers of servers against bytes that nobody thought of."""

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_lite.wire.http_probe import Answer

PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"HTTP/1.1 200 OK", b"HTTP/1.0 503", b"HTTP/1.1 100 Continue", b"\r\n", b"\n", b"\r\n\r\n",
        b"Content-Length: 3", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"abc", b"5",
        b"0", b"ffffffffffffffff", b";", b":",
    ]),
)  # fmt: skip


@given(st.lists(PIECES, max_size=20), st.integers(1, 50))
@settings(max_examples=500, deadline=None)
def test_any_bytes_have_a_verdict_that_does_not_depend_on_how_they_are_cut(
    pieces: list[bytes], step: int
) -> None:
    """With the end of the connection every answer is over; a good one begins like HTTP."""
    data = b"".join(pieces)
    verdicts = set()
    for size in (1, step, len(data) + 1):
        answer = Answer()
        for at in range(0, len(data), size):
            answer.feed(data[at : at + size])
        answer.end()
        assert answer.is_over
        assert answer.problem.isprintable()
        verdicts.add(answer.problem == "")
    assert len(verdicts) == 1
    assert data.startswith(b"HTTP/1.") or verdicts == {False}
