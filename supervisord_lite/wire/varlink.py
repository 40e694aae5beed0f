"""Varlink framing: JSON objects, each ended by a NUL byte. Pure; it never reads a socket.

Source: https://varlink.org/Method-Call. Requests carry `method`, `parameters` and the flags `more`,
`oneway` and `upgrade`; replies carry `parameters` and `continues`, or `error` and `parameters`.
Whoever calls decides what a message means; here it is only known to be one JSON object in UTF-8.
"""

from __future__ import annotations

import json

from supervisord_lite.wire.errors import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Most bytes of one request, its NUL not counted.
MAX_REQUEST_BYTES = 64 * 1024

_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _refuse_constant(name: str) -> object:
    """Refuse NaN and the infinities, which Python's parser takes and JSON does not know."""
    raise ValueError(name)


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


class Reader:
    """Collects bytes of a stream and hands out whole messages."""

    __slots__ = ("_buffer", "_max_message_bytes", "_searched")

    def __init__(self, *, max_message_bytes: int = MAX_REQUEST_BYTES) -> None:
        """Take the most bytes that one message may have, its NUL not counted."""
        self._buffer = bytearray()
        self._max_message_bytes = max_message_bytes
        self._searched = 0

    @property
    def pending(self) -> bool:
        """Return whether a message has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[dict[str, object]]:
        """Return the messages that *data* completes, in order; how it is cut does not matter.

        Raises:
            WireError: A message is too long, not UTF-8, not JSON or not an object. The stream is
                lost then: no later call of this reader means anything.
        """
        buffer = self._buffer
        buffer += data
        messages: list[dict[str, object]] = []
        start = 0
        # Bytes that were searched once are not searched again: a slow sender costs no more.
        end = buffer.find(0, self._searched)
        while end != -1:
            self._check_size(end - start)
            messages.append(_decode(bytes(buffer[start:end])))
            start = end + 1
            end = buffer.find(0, start)
        del buffer[:start]
        self._check_size(len(buffer))
        self._searched = len(buffer)
        return messages

    def _check_size(self, size_bytes: int) -> None:
        """Raise WireError for a message, whole or not, that is longer than allowed."""
        if size_bytes > self._max_message_bytes:
            text = f"a message of more than {self._max_message_bytes} bytes"
            raise WireError(text)


def _decode(data: bytes) -> dict[str, object]:
    """Return the object in *data*; WireError for anything else."""
    try:
        message = _decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        text = f"not JSON: {error}"
        raise WireError(text) from error
    if not isinstance(message, dict):
        text = f"not an object: {type(message).__name__}"
        raise WireError(text)
    return message


def encode_parameters(parameters: Mapping[str, object]) -> bytes:
    """Return *parameters* as JSON bytes without a NUL, fit for `reply_raw`.

    Raises:
        WireError: They hold something that JSON does not know.
    """
    try:
        return _encoder.encode(parameters).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        text = f"not a message: {error}"
        raise WireError(text) from error


def with_list(parameters: Mapping[str, object], name: str, items: Iterable[bytes]) -> bytes:
    """Return *parameters* as JSON with one list more, *name*, whose *items* are JSON already.

    Raises:
        WireError: *parameters*, of which there is one at least, hold what JSON does not know.
    """
    assert parameters, "a comma stands behind them"
    head = encode_parameters(parameters)[:-1] + b',"%s":[' % name.encode("ascii")
    return b"%s%s]}" % (head, b",".join(items))


def request(
    method: str, parameters: Mapping[str, object], *, more: bool = False, oneway: bool = False
) -> bytes:
    """Return the bytes of one request: *method* with its interface; `more` asks for a stream."""
    message: dict[str, object] = {"method": method, "parameters": dict(parameters)}
    if more:
        message["more"] = True
    if oneway:
        message["oneway"] = True
    return encode_parameters(message) + b"\0"


def reply(parameters: Mapping[str, object], *, continues: bool = False) -> bytes:
    """Return the bytes of one reply; with *continues* another one follows."""
    return reply_raw(encode_parameters(parameters), continues=continues)


def reply_raw(fragment: bytes, *, continues: bool = False) -> bytes:
    """Return the bytes of one reply whose parameters are already JSON, without a NUL byte."""
    assert b"\0" not in fragment, "a NUL byte ends a message"
    tail = b',"continues":true}\0' if continues else b"}\0"
    return b'{"parameters":' + fragment + tail


def error(name: str, parameters: Mapping[str, object]) -> bytes:
    """Return the bytes of one error reply; *name* with its interface."""
    return encode_parameters({"error": name, "parameters": dict(parameters)}) + b"\0"
