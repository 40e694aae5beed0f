"""Who has a folder: a lock on the folder itself, and one on the file `lock` in it.

The lock on the file is the older one, and says who has it and under which token (carry.py of the
supervisor). Whoever deletes the file can have a new one. The lock on the folder itself is that of
its inode: nothing that happens to names takes it away.

But whoever may read a folder can lock it, for ever; the file can be opened by its owner only. So it
is asked who has the lock (`/proc/locks`). A process of a user who may not write into the folder is
no daemon of it, and one that has ended is none either: a stranger, whose lock does not count. Then
the folder is held by the lock on the file alone. That it is the *real* user counts: a stranger can
let a program of root inherit the lock, but not become root.

Where nobody is seen who has the lock (a process of another namespace), somebody has it.
"""

from __future__ import annotations

import fcntl
import os
import stat

from supervisord_lite.base import procfs

#: The holder may let go, or end, while we ask who it is.
_TRIES = 3
_TEXT_BYTES = 8192


class HeldError(Exception):
    """Another daemon has it.

    Attributes:
        pid: Its main process, for people.
    """

    def __init__(self, pid: str) -> None:
        """Name the holder; empty: it is not known."""
        self.pid = pid or "unknown"
        super().__init__(f"belongs to another daemon, pid {self.pid}")


def open_folder(path: str) -> int:
    """Open a folder so that it can be held; one that may not be read can only be looked at.

    Raises:
        OSError: It is not there, or is no folder.
    """
    flags = os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDONLY | flags)
    except PermissionError:
        return os.open(path, os.O_PATH | flags)


def hold_folder(folder: int) -> int:
    """Hold the lock of a folder for as long as the descriptor is open.

    Returns:
        The pid of a stranger who has the lock, so that we have it not; 0: nobody has.

    Raises:
        HeldError: Another daemon has it.
    """
    found: list[int] = []
    are_strangers = False
    for _ in range(_TRIES):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _holders(folder)
        except OSError:
            return 0  # this disk has no locks for folders, or we may only look at it
        else:
            return 0
        are_strangers = bool(found) and all(_is_stranger(pid, folder) for pid in found)
        # What one had who has ended another process may have now, or nobody.
        if are_strangers and not any(procfs.has_ended(pid) for pid in found):
            return found[0]
    if are_strangers:
        return found[0]
    raise HeldError(str(found[0]) if found else "")


def open_lock(path: str) -> int:
    """Open the file whose lock stands for a folder, made with mode 0600 where it is not there.

    Raises:
        OSError: It cannot be had, or is no file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    lock = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise FileExistsError(0, "exists and is not a file")
    return lock


def hold_lock(lock: int) -> None:
    """Hold the lock of that file for as long as it is open.

    Raises:
        HeldError: Another daemon has it, which is the one that is named in it.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise HeldError(read_lock(lock)[0]) from None


def read_lock(lock: int) -> tuple[str, str, str]:
    """Return what stands in the file: who had it last, its token, and where its traces are.

    That is a pid, and a path of keeper/traces.py; each may be empty.
    """
    lines = os.fsdecode(os.pread(lock, _TEXT_BYTES, 0)).split("\n")
    pid, token, traces = (*lines, "", "", "")[:3]
    return pid.strip(), token.strip(), traces


def write_lock(lock: int, pid: int, token: str, traces: str = "") -> None:
    """Say in the file who has it.

    Raises:
        OSError: The disk is full. What holds the folder is the lock, not its text.
    """
    text = os.fsencode(f"{pid}\n{token}\n" + (f"{traces}\n" if traces else ""))
    os.pwrite(lock, text, 0)
    os.ftruncate(lock, len(text))


def has_ended(pid: str) -> bool:
    """Return whether the process that a lock names is dead; false where that is not known."""
    return pid.isdecimal() and procfs.has_ended(int(pid))


def _holders(folder: int) -> list[int]:
    """Return the processes that have taken the lock, as far as they are seen from here."""
    key = _key(folder)
    # 1: FLOCK  ADVISORY  WRITE 812 fe:00:1234 0 EOF; one that waits has an arrow in between.
    return [
        int(fields[4])
        for fields in map(str.split, _lines("/proc/locks"))
        if len(fields) > 5 and (fields[1], fields[5]) == ("FLOCK", key) and fields[4].isdigit()
    ]


def _key(folder: int) -> str:
    """Return how the kernel names this folder among its locks.

    Not always by what stat(2) says (btrfs, overlayfs). So another kind of lock, which is in
    nobody's way, is put on it for a moment, and the kernel tells of that one.
    """
    try:
        fcntl.lockf(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        found = os.fstat(folder)
        return f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        for fields in map(str.split, _lines(f"/proc/self/fdinfo/{folder}")):
            if len(fields) > 6 and fields[0] == "lock:" and fields[2] == "POSIX":
                return fields[6]
        return ""
    finally:
        fcntl.lockf(folder, fcntl.LOCK_UN)


def _is_stranger(pid: int, folder: int) -> bool:
    """Return whether this process can be no daemon of the folder."""
    found = os.fstat(folder)
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    lines = _lines(f"/proc/{pid}/status")
    real = [
        fields[1] for fields in map(str.split, lines) if len(fields) > 1 and fields[0] == "Uid:"
    ]
    if not real:
        return not os.path.exists(f"/proc/{pid}")  # noqa: PTH110  # no pathlib in the keeper
    return int(real[0]) not in (0, os.geteuid(), found.st_uid)


def _lines(path: str) -> list[str]:
    """Return the lines of a small file of /proc; none where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().splitlines()
    except OSError:
        return []
