"""The seam for system calls that can fail: what keeper and supervisor have in common.

Production uses the calls themselves. Tests let the Nth of a kind fail: in the keeper by giving it
another object (keeper/calls.py), in a supervisor by replacing functions of `CALLS`, which is the
one object of a process that has one supervisor.
"""

from __future__ import annotations

import errno
import os
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Calls:
    """The system calls, under their own names where these are free.

    A file descriptor is closed by `close`, which calls `close_once`; sockets close themselves.
    """

    # Of sockets; each takes the socket first.
    socketpair = staticmethod(socket.socketpair)
    new_socket = staticmethod(socket.socket)
    accept = staticmethod(socket.socket.accept)
    connect_ex = staticmethod(socket.socket.connect_ex)
    getsockopt: Callable[..., Any] = staticmethod(socket.socket.getsockopt)  # int or bytes
    recv = staticmethod(socket.socket.recv)
    send = staticmethod(socket.socket.send)
    sendall = staticmethod(socket.socket.sendall)
    sendmsg = staticmethod(socket.socket.sendmsg)
    recvmsg = staticmethod(socket.socket.recvmsg)
    shutdown = staticmethod(socket.socket.shutdown)
    # Of an epoll, which each takes first; to change what is watched needs no memory.
    epoll_add = staticmethod(select.epoll.register)
    epoll_wait = staticmethod(select.epoll.poll)
    # Of children and files.
    posix_spawn = staticmethod(os.posix_spawn)
    waitpid = staticmethod(os.waitpid)
    memfd_create = staticmethod(os.memfd_create)
    open = staticmethod(os.open)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
    pread = staticmethod(os.pread)
    close_once = staticmethod(os.close)

    def close(self, descriptor: int) -> None:
        """Close a descriptor that is open.

        Whatever the kernel says, it is closed then, and must not be closed again.

        Source: close(2), "Dealing with error returns from close()".
        """
        try:
            self.close_once(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise  # a mistake of ours


#: Of this process, where it is no keeper.
CALLS = Calls()
