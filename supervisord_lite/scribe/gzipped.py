"""Full files of a log, compressed: ``PATH.N.gz``, as gzip reads them, and what they were before.

The marks beside a log know its files by device and inode; those of the plain file stand in an extra
field of the header, so that they still say where a run begins. Its time of last change is the gz's.

Source: RFC 1952.
"""

from __future__ import annotations

import struct

#: Behind the name of a plain file.
SUFFIX = ".gz"
_HEAD = struct.Struct("<4sIBB")
_MAGIC = b"\x1f\x8b\x08\x04"
_EXTRA = struct.Struct("<H2sHQQQ")
_TAIL = struct.Struct("<II")
_FIELD = b"SL"
#: What stands before the deflated bytes.
HEADER_BYTES = _HEAD.size + _EXTRA.size
_UNIX = 3


def header(device: int, inode: int, size: int, changed_s: int) -> bytes:
    """Return what stands before the deflated bytes.

    Args:
        device: Of the plain file.
        inode: The same.
        size: The same, in bytes.
        changed_s: When it was changed last, in whole seconds since the epoch.
    """
    extra = _EXTRA.pack(_EXTRA.size - 2, _FIELD, _EXTRA.size - 6, device, inode, size)
    return _HEAD.pack(_MAGIC, changed_s & 0xFFFFFFFF, 0, _UNIX) + extra


def tail(checksum: int, size: int) -> bytes:
    """Return what stands behind them: CRC-32 of the plain bytes, and how many they are."""
    return _TAIL.pack(checksum, size & 0xFFFFFFFF)


def origin_in(head: bytes) -> tuple[tuple[int, int], int] | None:
    """Return what a compressed file was made of: (device, inode) and size, in bytes.

    Args:
        head: At least its first `HEADER_BYTES`.

    Returns:
        None for one that is none of ours.
    """
    if len(head) < HEADER_BYTES or not head.startswith(_MAGIC):
        return None
    extra_bytes, field, field_bytes, device, inode, size = _EXTRA.unpack_from(head, _HEAD.size)
    if (extra_bytes, field, field_bytes) != (_EXTRA.size - 2, _FIELD, _EXTRA.size - 6):
        return None
    return (device, inode), size
