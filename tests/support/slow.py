"""A file that does not answer, as on a disk that hangs: who opens it waits."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unanswering(path: Path) -> Iterator[None]:
    """Let whoever opens the regular file *path* wait until the end, 45 s at most.

    By a lease (fcntl(2)): the kernel holds back who opens it until we give it up. Nobody may have
    it open.
    """
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # so the kernel asks us to
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield
    finally:
        os.close(file)
        signal.signal(signal.SIGIO, before)
