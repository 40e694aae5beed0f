"""How a Python worker stamps its birth, as child.c does."""

import os
import signal
import time


def stamp(births: str, name: str) -> None:
    """Append one line to the file *births*."""
    file = os.open(births, os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{name} {os.getpid()} {time.monotonic_ns()}\n".encode())
    os.close(file)


def sleep() -> None:
    """Sleep until a signal ends this process."""
    while True:
        signal.pause()
