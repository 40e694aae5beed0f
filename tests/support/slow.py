"""Files for which one has to wait: on a disk that hangs, or because they are just written."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unanswering(path: Path) -> Iterator[Callable[[], bool]]:
    """Let whoever opens the regular file *path* wait until the end, 45 s at most.

    By a lease (fcntl(2)): the kernel holds back who opens it until we give it up. Nobody may have
    it open. What is yielded tells whether somebody waits.
    """
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # so the kernel asks us to
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        # While somebody waits it is the lease that we are asked to come down to.
        yield lambda: fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_WRLCK
    finally:
        os.close(file)
        signal.signal(signal.SIGIO, before)


def set_back(path: Path) -> None:
    """Let *path* be a file of long ago: a reload does not wait until it rests."""
    os.utime(path, (1_000_000_000, 1_000_000_000))
