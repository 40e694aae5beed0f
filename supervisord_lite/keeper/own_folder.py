"""The folder of one run (runtime_dir/w/ID), and the sockets in it.

Only the worker's user may enter it. What stands in it is reached through a descriptor of the folder
itself: whoever owns it may put links into it, and none of them is followed.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from supervisord_lite.keeper.calls import Calls

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make(calls: Calls, folder: str) -> None:
    """Make the folder, and the one that it stands in, where they are missing.

    Raises:
        OSError: It cannot be made.
    """
    for path, mode in ((os.path.dirname(folder), 0o711), (folder, 0o700)):
        try:
            calls.mkdir(path, mode)
        except FileExistsError:
            continue
        calls.chmod(path, mode)  # whatever our umask is


def bind(calls: Calls, own: socket.socket, folder: str, name: str) -> tuple[int, int]:
    """Give a socket a name in the folder, in place of one that a dead daemon has left.

    Its mode is that of the socket itself.

    Returns:
        Device and inode, which are its own for as long as it is open.

    Raises:
        OSError: It cannot have that name.
    """
    umask = calls.umask(0)
    try:
        inside = calls.open(folder, _FOLDER)
        try:
            _unlink(calls, inside, name)
            calls.bind(own, f"/proc/self/fd/{inside}/{name}")
            found = os.stat(name, dir_fd=inside, follow_symlinks=False)
            return found.st_dev, found.st_ino
        finally:
            calls.close(inside)
    finally:
        calls.umask(umask)


def remove(calls: Calls, folder: str, names: Iterable[str]) -> None:
    """Take these names away, and the folder if nothing else is in it."""
    try:
        inside = calls.open(folder, _FOLDER)
        try:
            for name in names:
                _unlink(calls, inside, name)
        finally:
            calls.close(inside)
        calls.rmdir(folder)
    except OSError:
        return  # somebody keeps something there, or has taken the folder away


def _unlink(calls: Calls, folder: int, name: str) -> None:
    try:
        calls.unlink(name, dir_fd=folder)
    except OSError:
        return
