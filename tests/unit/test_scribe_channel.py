"""Messages between the daemon's own processes."""

from __future__ import annotations

import pytest

from supervisord_lite.wire import channel
from supervisord_lite.wire.errors import WireError


def test_a_message_comes_back_as_it_was() -> None:
    """Numbers, lists and text, also text that came from a path of any bytes."""
    message = {"do": "attach", "streams": [{"stream": 1, "path": "/log/\udcff\u00e9\U0001f600"}]}
    data = channel.encode(message)
    assert data.isascii()
    assert channel.decode(data) == message


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"{", b"[]", b"null", b"1", b'"x"', b"[" * 60_000, b"{}" + b" " * (192 * 1024)],
)
def test_junk_is_an_error_and_nothing_else(data: bytes) -> None:
    """Whatever arrives, the answer is a message or a WireError."""
    with pytest.raises(WireError):
        channel.decode(data)


@pytest.mark.parametrize("value", [object(), float("nan"), "x" * (192 * 1024), b"bytes"])
def test_what_is_not_a_message_cannot_be_sent(value: object) -> None:
    """A message that the other end would refuse is refused here."""
    with pytest.raises(WireError):
        channel.encode({"value": value})


def test_the_longest_message_fits_exactly() -> None:
    """64 KiB is the most, and is allowed."""
    message = {"x": "y" * (channel.MAX_MESSAGE_BYTES - 8)}
    data = channel.encode(message)
    assert len(data) == channel.MAX_MESSAGE_BYTES
    assert channel.decode(data) == message
