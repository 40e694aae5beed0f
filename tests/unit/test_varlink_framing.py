"""Varlink framing: bytes in any pieces become whole objects, or a clear refusal."""

import json

import pytest

from supervisord_lite.wire import varlink
from supervisord_lite.wire.errors import WireError


def test_messages_come_out_whole_however_the_bytes_are_cut() -> None:
    """A client may send its request byte by byte, or ten requests at once."""
    data = varlink.request("a.B", {"x": "é\0"}) + varlink.reply({}, continues=True)
    reader = varlink.Reader()

    found = [message for i in range(len(data)) for message in reader.feed(data[i : i + 1])]

    assert found == varlink.Reader().feed(data)
    assert found == [
        {"method": "a.B", "parameters": {"x": "é\0"}},
        {"parameters": {}, "continues": True},
    ]
    assert not reader.pending


def test_a_begun_message_is_pending() -> None:
    """The server can tell an idle client from one that stopped in the middle."""
    reader = varlink.Reader()

    assert reader.feed(b'{"method"') == []
    assert reader.pending


@pytest.mark.parametrize(
    "junk",
    [
        b"\0",
        b"nonsense\0",
        b"[]\0",
        b"1\0",
        b"null\0",
        b'{"a":1}{"b":2}\0',
        b"[" * 60000 + b"\0",
        b'{"a":' * 10000 + b"\0",
        b"\xff\xfe\0",
        '{"a": 1}'.encode("utf-16-le").replace(b"\0", b" ") + b"\xff\0",
        b"\xef\xbb\xbf{}\0",
        b'{"a":NaN}\0',
        b'{"a":-Infinity}\0',
        b'{"a":' + b"9" * 5000 + b"}\0",
    ],
)
def test_what_is_no_json_object_is_refused(junk: bytes) -> None:
    """Whatever arrives, it is a message or a WireError, never another exception."""
    with pytest.raises(WireError):
        varlink.Reader().feed(junk)


def test_a_request_of_64_kib_is_the_longest() -> None:
    """A client cannot make the daemon keep more than that of an unfinished request."""
    frame = len(json.dumps({"x": ""}, separators=(",", ":")))
    fits = json.dumps({"x": "y" * (varlink.MAX_REQUEST_BYTES - frame)}, separators=(",", ":"))

    assert len(varlink.Reader().feed(fits.encode() + b"\0")) == 1
    with pytest.raises(WireError, match="more than 65536 bytes"):
        varlink.Reader().feed(fits.encode() + b" \0")
    with pytest.raises(WireError, match="more than 65536 bytes"):
        varlink.Reader().feed(b" " * (varlink.MAX_REQUEST_BYTES + 1))


def test_a_slow_sender_does_not_make_the_search_slower() -> None:
    """A byte at a time costs what one piece costs: nothing is searched twice."""
    reader = varlink.Reader(max_message_bytes=1 << 20)
    for _ in range(20000):
        reader.feed(b" ")

    assert reader.feed(b"{}\0") == [{}]


def test_a_raw_reply_equals_an_encoded_one() -> None:
    """Answers that are joined from ready-made parts look like all others."""
    parameters = {"workers": [{"name": "web"}]}
    fragment = varlink.encode_parameters(parameters)

    for continues in (False, True):
        raw = varlink.reply_raw(fragment, continues=continues)
        assert varlink.Reader().feed(raw) == varlink.Reader().feed(
            varlink.reply(parameters, continues=continues)
        )


def test_what_json_does_not_know_is_not_sent() -> None:
    """An answer with NaN or bytes in it is a fault here, not a riddle at the client."""
    for wrong in (float("nan"), b"x", object()):
        with pytest.raises(WireError):
            varlink.reply({"x": wrong})
