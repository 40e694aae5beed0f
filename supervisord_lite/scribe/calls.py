"""The one seam for system calls that can fail.

Everything in this package that touches a disk or a worker's pipe goes through a `Calls` object.
Production uses the calls themselves; a test gives a subclass that fails the Nth, or dies in it.
What opens, makes, renames or removes goes the way of base/way.py: others may write where logs are.
"""

from __future__ import annotations

import os
import socket

from supervisord_lite.base import way
from supervisord_lite.base.pipes import readable_bytes


class Calls:
    """The system calls, under their own names."""

    # Of files and folders.
    lstat = staticmethod(os.lstat)
    fstat = staticmethod(os.fstat)
    open = staticmethod(way.open_file)
    close = staticmethod(os.close)
    pwrite = staticmethod(os.pwrite)
    ftruncate = staticmethod(os.ftruncate)
    rename = staticmethod(way.rename)
    unlink = staticmethod(way.unlink)
    mkdir = staticmethod(way.mkdir)
    listdir = staticmethod(way.listdir)
    fsync = staticmethod(os.fsync)
    # Of pipes, and of the memory that outlives a scribe.
    readable_bytes = staticmethod(readable_bytes)
    readv = staticmethod(os.readv)
    splice = staticmethod(os.splice)
    pread = staticmethod(os.pread)
    sendmsg = staticmethod(socket.socket.sendmsg)
    shrink = staticmethod(os.ftruncate)
