"""Entries for systemd's journal, in its native protocol: one datagram each. Pure.

A field is NAME=VALUE and a newline; a value with a newline in it, or with bytes that are no text,
is NAME, a newline, its length as 64 bits little endian, the value, and a newline. All values of a
worker's output are written the second way, so that every byte arrives as it is.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/, sd-daemon(3) for the prefix of a line.
"""

from __future__ import annotations

import struct

#: Where journald listens.
SOCKET = "/run/systemd/journal/socket"
#: Of a line that says nothing else: LOG_INFO of syslog(3).
INFO = 6
#: The longest name that the journal takes.
_MOST_NAME_BYTES = 64
_LENGTH = struct.Struct("<Q")
_NAME = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def field(name: str, value: bytes) -> bytes:
    """Return one field.

    Args:
        name: Capital letters, digits and _, at most 64; the first a letter.
        value: Any bytes.
    """
    key = name.encode("ascii")
    assert 0 < len(key) <= _MOST_NAME_BYTES
    assert _NAME.issuperset(key)
    assert key[:1].isalpha()
    return b"%s\n%s%s\n" % (key, _LENGTH.pack(len(value)), value)


def fields(pairs: dict[str, str]) -> bytes:
    """Return the fields that all entries of one stream have."""
    return b"".join(
        field(name, value.encode("utf-8", "surrogateescape")) for name, value in pairs.items()
    )


def entry(
    common: bytes, line: bytes, *, has_prefix: bool = True, is_partial: bool = False
) -> bytes:
    """Return one entry.

    Args:
        common: What `fields` returned.
        line: Of the output, without its newline.
        has_prefix: "<3>" at its beginning is its priority, and is taken off.
        is_partial: The line goes on in the next entry.
    """
    priority = INFO
    if (
        has_prefix
        and len(line) >= 3
        and line[0:1] == b"<"
        and line[2:3] == b">"
        and line[1:2] in b"01234567"
    ):
        priority, line = line[1] - 48, line[3:]
    more = b"PARTIAL=1\n" if is_partial else b""
    return b"%sPRIORITY=%d\n%s%s" % (common, priority, more, field("MESSAGE", line))
