"""Messages between the daemon's own processes: one JSON object, one packet.

The socket is AF_UNIX SOCK_SEQPACKET, so the kernel keeps messages apart and there is no framing to
get wrong. Both ends are bounded, so that a peer can size its buffers once and a lying one is told
apart from a long one.

One message may be larger, because it must arrive as a whole or not at all: a changed configuration
with everything that follows from it. It lies in a memory file whose descriptor comes with the
packet `IN_MEMORY`; or, where the keeper says that it understands that, in lines: several messages,
which arrive all or none and are taken in their order, so that nobody chokes on a large one
(`IN_LINES`).
"""

from __future__ import annotations

import json

from supervisord_lite.wire.errors import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What keeper and supervisor say to each other, the handover included, and what the keeper itself
#: is. Code with another number needs a keeper of its own (keeper/upgrade.py); so this is raised
#: only where an absent or an unknown field would be misunderstood. "trial", "replace", "ping" and
#: "pong" are the same in all of them.
PROTOCOL = 1

#: Exit status of a supervisor that makes room for another one. It is no verdict.
MADE_ROOM = 64

#: Most bytes of one message. The kernel takes 212,960 by default; a command line with its
#: environment must fit into one.
MAX_MESSAGE_BYTES = 192 * 1024

#: Most descriptors that travel with one message. The kernel takes 253.
MAX_DESCRIPTORS = 64

#: The packet that brings a message in a memory file.
IN_MEMORY = b'{"in":"memory"}'

#: The packet that brings several messages, each of them a line of a memory file. None of them is
#: longer than `MAX_MESSAGE_BYTES`, unless one save of its own is.
IN_LINES = b'{"in":"lines"}'

_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _refuse_constant(name: str) -> object:
    """Refuse NaN, which is neither later nor earlier than any time: no JSON has it."""
    raise ValueError(name)


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def encode(message: dict[str, Any]) -> bytes:
    """Return *message* as the bytes of one packet (ASCII JSON, no spaces).

    Text that is not valid Unicode, such as a path that came from the operating system with
    surrogate escapes, survives: it is written as escapes and read back as it was.

    Raises:
        WireError: It is not plain JSON, or longer than `MAX_MESSAGE_BYTES`.
    """
    data = encode_whole(message)
    if len(data) > MAX_MESSAGE_BYTES:
        text = f"a message of {len(data)} bytes; {MAX_MESSAGE_BYTES} is the most"
        raise WireError(text)
    return data


def encode_whole(message: dict[str, Any]) -> bytes:
    """Return *message* as bytes, however many: for a packet or for a memory file.

    Raises:
        WireError: It is not plain JSON.
    """
    try:
        return _encoder.encode(message).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        text = f"not a message: {error}"
        raise WireError(text) from error


def decode(data: bytes) -> dict[str, Any]:
    """Return the message in the packet *data*.

    Raises:
        WireError: Not UTF-8, not JSON, not an object, or longer than `MAX_MESSAGE_BYTES`.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        text = f"a packet of {len(data)} bytes; {MAX_MESSAGE_BYTES} is the most"
        raise WireError(text)
    return decode_whole(data)


def decode_whole(data: bytes) -> dict[str, Any]:
    """Return the message in *data*, which came in a packet or a memory file.

    Raises:
        WireError: Not UTF-8, not JSON, or not an object.
    """
    try:
        message = _decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        text = f"not a message: {error}"
        raise WireError(text) from error
    if not isinstance(message, dict):
        text = f"not an object: {type(message).__name__}"
        raise WireError(text)
    return message
