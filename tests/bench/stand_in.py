"""What child.c and floor.c do, for a machine without a C compiler: slower, so said in the output.

The words on the command line are the same, behind "child" or "floor". A Python child starts some
twenty times slower than the C one, for every contender alike.
"""

import os
import signal
import sys
import time

_LINES_A_WRITE = 640
_CHUNK_BYTES = 65536


def child(births: str, name: str, *flood: str) -> None:
    """Stamp the birth, flood when asked to, then sleep until a signal ends it."""
    if flood:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    _stamp(births, name)
    if flood:
        signal.sigwait([signal.SIGUSR1])
        _stamp(births, f"{name}.flood")
        _flood(int(flood[1]))
    while True:
        signal.pause()


def _stamp(births: str, name: str) -> None:
    file = os.open(births, os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{name} {os.getpid()} {time.monotonic_ns()}\n".encode())
    os.close(file)


def _flood(count: int) -> None:
    tail = "x" * 86
    for first in range(0, count, _LINES_A_WRITE):
        numbers = range(first, min(count, first + _LINES_A_WRITE))
        data = "".join(f"{number:012d} {tail}\n" for number in numbers).encode()
        while data:
            data = data[os.write(1, data) :]


def keep(count: int, command: list[str]) -> None:
    """Start *command* with a name, *count* times; start each that ends again at once."""
    names = {_start([*command, f"b{index:04d}"]): f"b{index:04d}" for index in range(count)}
    while True:
        pid, _ = os.waitpid(-1, 0)
        name = names.pop(pid)
        names[_start([*command, name])] = name


def copy(path: str, command: list[str]) -> None:
    """Start *command* and copy its stdout to a file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    reader, writer = os.pipe()
    _start(command, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    os.close(writer)
    while data := os.read(reader, _CHUNK_BYTES):
        os.write(file, data)


def _start(command: list[str], file_actions: list[tuple[int, int, int]] | None = None) -> int:
    return os.posix_spawn(command[0], command, os.environ, file_actions=file_actions or [])


if __name__ == "__main__":
    role, *words = sys.argv[1:]
    if role == "child":
        child(*words)
    elif words[0] == "keep":
        keep(int(words[1]), words[2:])
    else:
        copy(words[1], words[2:])
