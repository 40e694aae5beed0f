"""The control socket: how it comes to stand under its name.

Born with the mode that it shall have, and published by a rename: nobody finds it half made. What
stands there already goes only if it is a socket that nobody answers on any more.
"""

from __future__ import annotations

import os
import socket
import stat
import struct

from supervisord_lite.base import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from supervisord_lite.keeper.calls import Calls

_BACKLOG = 512
#: pid, uid, gid: unix(7).
_CREDENTIALS = struct.Struct("iII")


class AnsweredError(Exception):
    """A live daemon answers there.

    Attributes:
        pid: Who listens; 0: it cannot be told.
    """

    def __init__(self, pid: int) -> None:
        """Name who listens."""
        self.pid = pid
        super().__init__("belongs to a live daemon" + (f", pid {pid}" if pid else ""))


def listen(
    calls: Calls, path: str, mode: int = 0o600, owner: tuple[int, int] | None = None
) -> tuple[socket.socket, int]:
    """Open the control socket at *path*.

    Args:
        calls: The seam.
        path: In a folder that is there; may be as long as the kernel allows.
        mode: Of the socket.
        owner: uid and gid that it shall have, if we may give it away.

    Returns:
        The socket, listening, and a descriptor of its inode, by which it is known again.

    Raises:
        AnsweredError: Somebody answers there.
        OSError: It cannot be made.
    """
    holder = who_answers(path)
    if holder is not None:
        raise AnsweredError(holder)
    parent, name = os.path.split(path)
    folder = calls.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.path.exists(path) and _kind(name, folder) != stat.S_IFSOCK:
            raise FileExistsError(0, "exists and is not a socket")
        return _publish(calls, folder, name, mode, owner)
    finally:
        calls.close(folder)


def _publish(
    calls: Calls, folder: int, name: str, mode: int, owner: tuple[int, int] | None
) -> tuple[socket.socket, int]:
    temporary = f".{os.getpid()}.new"
    if _kind(temporary, folder):
        calls.unlink(temporary, dir_fd=folder)
    own: socket.socket = calls.new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inode, has_name = -1, False
    umask = calls.umask(0)
    try:
        calls.fchmod(own.fileno(), mode)  # before it has a name
        # Below /proc/self/fd the temporary name fits, however near the path is to its limit.
        calls.bind(own, f"/proc/self/fd/{folder}/{temporary}")
        has_name = True
        inode = calls.open(temporary, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        _give(calls, inode, owner)
        calls.listen(own, _BACKLOG)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        own.close()
        if inode >= 0:
            calls.close(inode)
        if has_name:
            _unlink(calls, temporary, folder)
        raise
    finally:
        calls.umask(umask)
    return own, inode


def _unlink(calls: Calls, name: str, folder: int) -> None:
    try:
        calls.unlink(name, dir_fd=folder)
    except OSError:
        return  # what is told is why it came to this


def _give(calls: Calls, inode: int, owner: tuple[int, int] | None) -> None:
    found = os.fstat(inode)
    if owner in (None, (found.st_uid, found.st_gid)):
        return
    assert owner is not None
    try:
        calls.chown(f"/proc/self/fd/{inode}", *owner)
    except PermissionError:
        return  # it serves those who may reach it as it is


def _kind(name: str, folder: int) -> int:
    """Return what stands there, as of stat(2); 0: nothing."""
    try:
        return stat.S_IFMT(os.lstat(name, dir_fd=folder).st_mode)
    except FileNotFoundError:
        return 0


def who_answers(path: str) -> int | None:
    """Return who listens there, 0 where that cannot be told; None: nobody does."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            probe.connect(path)
            said = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (ConnectionRefusedError, FileNotFoundError):
        return None  # left by a daemon that was killed
    except OSError:
        return 0  # its queue is full, or it is not for us: it is not ours to replace
    # Of who has called listen(), which was the main process: others may outlive it for a moment.
    pid = int(_CREDENTIALS.unpack(said)[0])
    # 0: in a namespace that we do not see.
    return None if pid > 0 and procfs.has_ended(pid) else pid
