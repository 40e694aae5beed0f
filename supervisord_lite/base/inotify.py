"""What inotify(7) tells of names: Python has no call for it."""

from __future__ import annotations

import ctypes
import os
import struct

#: What befalls a file itself: it has one name less (or other rights), or another name.
FILE = 0x4 | 0x400 | 0x800  # IN_ATTRIB, IN_DELETE_SELF, IN_MOVE_SELF
#: The same of a folder, without what befalls the files in it.
FOLDER = 0x400 | 0x800
#: What stands under the path itself, also a link.
NO_LINK = 0x0200_0000  # IN_DONT_FOLLOW
_IGNORED = 0x8000  # IN_IGNORED: a watch has ended

_EVENT = struct.Struct("iIII")  # watch, mask, cookie, size of the name behind it
_MOST_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


def create() -> int:
    """Return a descriptor that is readable when something has befallen what is watched.

    Raises:
        OSError: EMFILE: this user has too many of them, or this process too many descriptors.
    """
    return _result(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def watch(descriptor: int, path: str, mask: int) -> int:
    """Watch what *path* leads to now; return the number of the watch, the same for the same thing.

    Raises:
        OSError: ENOSPC: this user has too many watches; EACCES: it may not be read.
    """
    return _result(_libc.inotify_add_watch(descriptor, os.fsencode(path), mask))


def forget(descriptor: int, number: int) -> None:
    """End a watch; that of something that is gone has ended already."""
    _libc.inotify_rm_watch(descriptor, number)


def has_news(descriptor: int) -> bool:
    """Take all that has been told until now; return whether anything was told of what is watched.

    Raises:
        OSError: It cannot be read.
    """
    found = False
    while True:
        try:
            data = os.read(descriptor, _MOST_BYTES)
        except BlockingIOError:
            return found
        at = 0
        while at < len(data):
            _, mask, _, size = _EVENT.unpack_from(data, at)
            at += _EVENT.size + size
            found = found or not mask & _IGNORED


def _result(number: int) -> int:
    if number < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return number
