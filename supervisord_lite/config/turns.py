"""One after the other: commands that change files of one folder wait for each other.

A lock is a courtesy among us. Editors know nothing of it, some disks have none, and whoever may
read a folder can hold its lock for ever; so a turn comes after a while in any case, and whoever
writes makes sure for itself that the file is the one that was read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Ten that wait for each other, on a slow machine with a large file.
_MOST_WAIT_S = 20.0
_PAUSE_S = 0.02


@contextlib.contextmanager
def turn(
    path: str, *, most_wait_s: float = _MOST_WAIT_S, wait: Callable[[float], None] = time.sleep
) -> Iterator[bool]:
    """Enter when nobody else has a turn at the folder of *path*, or has one for too long.

    Args:
        path: Of the file, also by the name of a link to it.
        most_wait_s: How long others are waited for.
        wait: Lets seconds pass.

    Yields:
        Whether others keep out now.
    """
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield False  # what can be said of it is said of the file
        return
    try:
        yield _locked(lock, time.monotonic() + most_wait_s, wait)
    finally:
        os.close(lock)


def _locked(lock: int, give_up_at_s: float, wait: Callable[[float], None]) -> bool:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_at_s:
                return False
            wait(_PAUSE_S)
        except OSError:
            return False  # there are no locks on this disk
        else:
            return True
