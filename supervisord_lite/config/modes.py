"""Modes of the control socket: closed to all others unless the lists of rights name somebody.

Modes only keep out; whom they let through is judged at accept. The folder is changed only when it
holds nothing but the socket: what else stands in a folder is not ours to show.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisord_lite.config.spec import Configuration

_CLOSED = 0o600, 0o700
_OPEN = 0o666, 0o755
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_somebody_named(configuration: Configuration) -> bool:
    """Return whether anybody is given a right, besides root and the daemon's own user."""
    settings = configuration.settings
    lists = [settings.admin, settings.operate, settings.read]
    return any(lists) or any(spec.operators for spec in configuration.specs)


def set_modes(configuration: Configuration) -> str:
    """Open the control socket and its folder to those who are named, or close them to all.

    Returns:
        Why those who are named cannot come in, for people; empty: they can, or there are none.

    Raises:
        OSError: A mode cannot be read or changed.
    """
    is_open = is_somebody_named(configuration)
    of_socket, of_folder = _OPEN if is_open else _CLOSED
    path = configuration.settings.control_path
    parent, name = os.path.split(path)
    folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(folder)
        if is_open and found.st_mode & _OTHERS_WRITE:
            return f"others may write into {parent}, so {path} stays closed"
        is_ours = found.st_uid == os.geteuid()
        if not is_open:
            _set_socket(folder, name, of_socket)
        if is_ours and os.listdir(folder) == [name]:  # noqa: PTH208
            os.fchmod(folder, of_folder)
        if is_open:
            _set_socket(folder, name, of_socket)
    finally:
        os.close(folder)
    return _what_is_in_the_way(parent) if is_open else ""


def _set_socket(folder: int, name: str, mode: int) -> None:
    # By its inode: nobody can put a link to something else in its place meanwhile.
    inode = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if stat.S_ISSOCK(os.fstat(inode).st_mode):
            os.chmod(f"/proc/self/fd/{inode}", mode)  # noqa: PTH101
    finally:
        os.close(inode)


def _what_is_in_the_way(folder: str) -> str:
    while True:
        if not os.stat(folder).st_mode & stat.S_IXOTH:  # noqa: PTH116
            return f"only some can pass {folder} on the way to the control socket"
        if folder == "/":
            return ""
        folder = os.path.dirname(folder)  # noqa: PTH120
