"""What child.c does, with the same words on the command line, where there is no C compiler."""

import os
import signal
import sys
import time

_LINES_A_WRITE = 640
_PORTIONS_A_SECOND = 100


def child(births: str, name: str, mode: str = "", *numbers: str) -> None:
    """Stamp the birth, do what *mode* says, then sleep until a signal ends it."""
    writes = mode in {"flood", "pace"}
    if writes:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    _stamp(births, name)
    if mode == "exit":
        sys.exit(1)
    if mode == "daemonize":
        _daemonize(births, name)
    if writes:
        signal.sigwait([signal.SIGUSR1])
        _stamp(births, f"{name}.go")
        _write_lines(*map(int, numbers))
    while True:
        signal.pause()


def _stamp(births: str, name: str) -> None:
    file = os.open(births, os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{name} {os.getpid()} {time.monotonic_ns()}\n".encode())
    os.close(file)


def _write_lines(count: int, per_s: int = 0) -> None:
    portion = per_s // _PORTIONS_A_SECOND or _LINES_A_WRITE
    due_s = time.monotonic()
    tail = "x" * 86
    for first in range(0, count, portion):
        numbers = range(first, min(count, first + portion))
        data = "".join(f"{number:012d} {tail}\n" for number in numbers).encode()
        while data:
            data = data[os.write(1, data) :]
        if per_s:
            due_s += 1 / _PORTIONS_A_SECOND
            time.sleep(max(0.0, due_s - time.monotonic()))


def _daemonize(births: str, name: str) -> None:
    middle = os.fork()
    if middle:
        os.waitpid(middle, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    _stamp(births, f"{name}.grand")
    while True:
        signal.pause()


if __name__ == "__main__":
    child(*sys.argv[1:])
