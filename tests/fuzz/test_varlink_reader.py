"""Varlink framing against bytes that nobody thought of."""

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_lite.wire import varlink
from supervisord_lite.wire.errors import WireError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return *data* in pieces."""
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(ends)]


@given(st.lists(st.binary(max_size=200), max_size=20))
@settings(max_examples=500)
def test_any_bytes_are_messages_or_a_wire_error(pieces: list[bytes]) -> None:
    """No input makes the reader fail in another way, and every message is an object."""
    reader = varlink.Reader(max_message_bytes=300)
    try:
        messages = [message for piece in pieces for message in reader.feed(piece)]
    except WireError:
        return
    assert all(isinstance(message, dict) for message in messages)
    assert len(messages) == b"".join(pieces).count(b"\0")


@given(st.lists(OBJECTS, max_size=6), st.lists(st.integers(min_value=0), max_size=12))
@settings(max_examples=150)
def test_every_object_survives_any_cutting(
    objects: list[dict[str, object]], places: list[int]
) -> None:
    """What one side encodes the other side reads, wherever the stream is cut."""
    data = b"".join(varlink.encode_parameters(each) + b"\0" for each in objects)
    reader = varlink.Reader()

    found = [message for piece in cut(data, places) for message in reader.feed(piece)]

    assert json.dumps(found) == json.dumps(objects)
    assert not reader.pending


@given(st.binary(max_size=400), st.lists(st.integers(min_value=0), max_size=8))
@settings(max_examples=150)
def test_cutting_changes_neither_messages_nor_refusals(data: bytes, places: list[int]) -> None:
    """A message is refused or taken for what it is, not for how it arrived."""
    outcomes: list[list[dict[str, object]] | None] = []
    for pieces in ([data], cut(data, places)):
        reader = varlink.Reader(max_message_bytes=100)
        try:
            outcomes.append([m for piece in pieces for m in reader.feed(piece)])
        except WireError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]
