"""The one seam for system calls that can fail.

Everything in this package that asks the kernel for something that it may refuse goes through a
`Calls` object. Production uses the calls themselves; a test gives a subclass that fails the Nth.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket

from supervisord_lite.base import calls, clone, inotify
from supervisord_lite.base.pipes import readable_bytes


class _Own:
    """Those that nobody else has, and some that all have."""

    pipe2 = staticmethod(os.pipe2)
    fork = staticmethod(os.fork)
    fork_into = staticmethod(clone.fork_into)
    execve = staticmethod(os.execve)
    set_inheritable = staticmethod(os.set_inheritable)
    posix_spawn = staticmethod(os.posix_spawn)
    kill = staticmethod(os.kill)
    pidfd_open = staticmethod(os.pidfd_open)
    pidfd_send_signal = staticmethod(signal.pidfd_send_signal)
    waitid = staticmethod(os.waitid)
    chdir = staticmethod(os.chdir)
    umask = staticmethod(os.umask)
    open = staticmethod(os.open)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
    pwrite = staticmethod(os.pwrite)
    close = staticmethod(os.close)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    unlink = staticmethod(os.unlink)
    chmod = staticmethod(os.chmod)
    chown = staticmethod(os.chown)
    listdir = staticmethod(os.listdir)
    memfd_create = staticmethod(os.memfd_create)
    getxattr = staticmethod(os.getxattr)
    fcntl = staticmethod(fcntl.fcntl)
    readable_bytes = staticmethod(readable_bytes)
    socketpair = staticmethod(socket.socketpair)
    setpriority = staticmethod(os.setpriority)
    prlimit = staticmethod(resource.prlimit)
    inotify_create = staticmethod(inotify.create)
    inotify_watch = staticmethod(inotify.watch)
    # Of sockets; each takes the socket first.
    bind = staticmethod(socket.socket.bind)
    listen = staticmethod(socket.socket.listen)
    setsockopt = staticmethod(socket.socket.setsockopt)
    fchmod = staticmethod(os.fchmod)


class Calls(calls.Calls, _Own):
    """The system calls, under their own names; a descriptor is closed as the base does it."""


#: What is done before there is a keeper, or without one.
REAL = Calls()


def read_text(calls: Calls, path: str) -> str:
    """Return the whole of a small file of /proc or /sys.

    Raises:
        OSError: It is not there, or may not be read.
    """
    descriptor = calls.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := calls.read(descriptor, 65536):
            pieces.append(piece)
    finally:
        calls.close(descriptor)
    return b"".join(pieces).decode("utf-8", "surrogateescape")


def write_text(calls: Calls, path: str, text: str) -> None:
    """Write to a control file of /proc or /sys in one call.

    Raises:
        OSError: The kernel refused.
    """
    descriptor = calls.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        calls.write(descriptor, text.encode())
    finally:
        calls.close(descriptor)
