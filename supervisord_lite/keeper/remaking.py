"""How what stood under a name is made again: by the rules that the start has, as it was before.

Who owned it, and with which mode, is known of the descriptor of what was there: it is open, so it
is there still, without a name. Nothing of another user and nothing that another daemon holds is
taken, and nothing is unlinked but a socket on which nobody answers.
"""

from __future__ import annotations

import errno
import os
import stat

from supervisord_lite.base import folder_lock, way
from supervisord_lite.keeper import control_socket
from supervisord_lite.keeper.boot import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.keeper.calls import Calls

#: Of a folder of which nothing is known: workers of other users may have to pass it.
_PASSABLE = 0o711
_CLOSED = 0o600
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def folder(calls: Calls, path: str, former: int, *, hold: bool) -> int:
    """Return a descriptor of the folder at *path*, made again where there is none.

    Args:
        calls: The seam.
        path: Of the folder.
        former: The one that stood there; -1: it is not known.
        hold: Whether its lock is to be ours.

    Raises:
        HeldError: Another daemon has it.
        OSError: It cannot be made, or is not ours.
    """
    try:
        own = folder_lock.open_folder(path)
    except FileNotFoundError:
        own = _make_folder(calls, path, former)
    try:
        way.trust(own, path)
        _judge(own, is_private=hold)
        if hold:
            folder_lock.hold_folder(own)
    except (OSError, folder_lock.HeldError):
        calls.close(own)
        raise
    return own


def _make_folder(calls: Calls, path: str, former: int) -> int:
    parent, name = os.path.split(path)
    os.makedirs(parent, exist_ok=True)
    above = way.open_folder(parent)
    try:
        calls.mkdir(name, 0o700, dir_fd=above)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        own: int = calls.open(name, flags, dir_fd=above)
    finally:
        calls.close(above)
    try:
        _liken(calls, own, former)
        if former < 0:
            calls.fchmod(own, _PASSABLE)
    except BaseException:
        calls.close(own)
        raise
    return own


def _judge(own: int, *, is_private: bool) -> None:
    """Judge a folder as the start does (cli/folders.py).

    Raises:
        OSError: It is not ours, or others may write into it.
    """
    found = os.fstat(own)
    if found.st_uid not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, "belongs to somebody else")
    if is_private and way.is_open(found):
        raise PermissionError(errno.EPERM, "others may write there")


def lock(calls: Calls, path: str, former: int) -> int:
    """Return a descriptor of the file at *path* that holds its lock, made again if need be.

    What stood in *former*, who has it and the token, stands in this one.

    Raises:
        HeldError: Another daemon has it.
        OSError: It cannot be made, or is no file.
    """
    own = folder_lock.open_lock(path)
    try:
        folder_lock.hold_lock(own)
        _liken(calls, own, former)
    except BaseException:
        calls.close(own)  # else it has the lock, and shuts us out of it
        raise
    _, token, traces = folder_lock.read_lock(former)
    try:
        folder_lock.write_lock(own, os.getpid(), token, traces)
    except OSError:
        return own  # a full disk; the lock is what counts
    return own


def listener(calls: Calls, path: str, former: int) -> tuple[int, int]:
    """Return the control socket at *path*, listening, and a descriptor of its inode.

    Raises:
        AnsweredError: Somebody answers there.
        OSError: It cannot be made.
    """
    mode, owner = _CLOSED, None
    if former >= 0:
        was = os.fstat(former)
        owner = was.st_uid, was.st_gid
        # In a folder into which others may write it was never open, see config/modes.py.
        if not os.stat(os.path.dirname(path)).st_mode & _OTHERS_WRITE:
            mode = stat.S_IMODE(was.st_mode)
    own, inode = control_socket.listen(calls, path, mode, owner)
    return own.detach(), inode


def _liken(calls: Calls, own: int, former: int) -> None:
    """Give *own* owner, group and mode of *former*, as far as we may."""
    if former < 0:
        return
    was, now = os.fstat(former), os.fstat(own)
    if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
        try:
            calls.chown(own, was.st_uid, was.st_gid)
        except PermissionError:
            return  # its mode would be for others
    calls.fchmod(own, stat.S_IMODE(was.st_mode))


def places_of_before(calls: Calls, locks: list[int], remove: list[str]) -> list[dict[str, Any]]:
    """Return the places of a keeper that knew nothing of them.

    Args:
        calls: The seam.
        locks: What it held: of files; or of folders too, where one before it had known of places.
        remove: What it was to remove at the end (cli/run.py): the control socket is the first, and
            nothing else is a socket.
    """
    paths = {number: _path_of(number) for number in locks}
    folders = {path: number for number, path in paths.items() if _is_folder(number)}
    found = []
    for number, path in paths.items():
        if not _is_folder(number):
            parent = os.path.dirname(path)
            if parent not in folders:
                folders[parent] = _there(calls, parent, hold=True)
            found.append(place("folder", parent, folders[parent]))
            found.append(place("lock", path, number))
    for path in remove[:1]:
        parent = os.path.dirname(path)
        if parent not in folders:
            found.append(place("parent", parent, _there(calls, parent, hold=False)))
        found.append(place("socket", path, _own_socket(calls, path)))
    return found


def _path_of(number: int) -> str:
    return os.readlink(f"/proc/self/fd/{number}").removesuffix(" (deleted)")


def _is_folder(number: int) -> bool:
    return stat.S_ISDIR(os.fstat(number).st_mode)


def _there(calls: Calls, path: str, *, hold: bool) -> int:
    if not os.path.isdir(path):
        return -1
    try:
        return folder(calls, path, -1, hold=hold)
    except (OSError, folder_lock.HeldError):
        return -1


def _own_socket(calls: Calls, path: str) -> int:
    if control_socket.who_answers(path) != os.getpid():
        return -1
    try:
        inode: int = calls.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    return inode
