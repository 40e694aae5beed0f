"""What a fork does to become the process of its worker, before a line of its target runs.

Descriptors, directory, environment, limits, and the marks by which the daemon recognises it. All of
it runs in each worker, on memory that it shares with the others until it writes there; see
forkserver.py. Like that it runs on every Python from 3.9 on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import sys
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Request = dict[str, Any]

#: Where a program finds its first descriptor beyond stdin, stdout and stderr.
FIRST = 3
#: Out of the way of what programs expect at low numbers.
HIGH = 10
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


class SetUp:
    """What makes a fork this worker; `stage` is what it is at."""

    def __init__(self, request: Request) -> None:
        """Take what the keeper has asked for."""
        self._request = request
        self.stage = "fork"

    def run(self, descriptors: list[int]) -> None:
        """Be it, with *descriptors* where the request wants them.

        Raises:
            OSError: Something of it cannot be had, at `stage`.
        """
        request = self._request
        self.stage = "session"
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        self.stage = "log"
        _put(dict(zip(request["files"], descriptors)))  # noqa: B905  # Python 3.9
        self.stage = "umask"
        os.umask(request["umask"])
        self.stage = "directory"
        os.chdir(request["directory"])
        self.stage = "exec"
        _set_environment(request)
        set_dumpable(1)
        # Python's own generator does that by itself after a fork.
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            numpy_random.seed()


def _put(files: dict[int, int]) -> None:
    """Put each descriptor where it is wanted, by way of high numbers: none overwrites another."""
    top = max(HIGH, *files) + 1
    high = {to: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, top) for to, fd in files.items()}
    for fd in files.values():
        os.close(fd)
    for to, fd in high.items():
        os.dup2(fd, to, inheritable=True)
        os.close(fd)


def _set_environment(request: Request) -> None:
    for name, value in request["environment"]:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    # Source: sd_listen_fds(3). Only here the pid is known.
    names = {each["fd"]: each["name"] for each in request["sockets"]}
    count = 0
    while FIRST + count in names:
        count += 1
    if count:
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.environ["LISTEN_FDS"] = str(count)
        os.environ["LISTEN_FDNAMES"] = ":".join(names[3 + number] for number in range(count))


def limit(request: Request) -> dict[str, object]:
    """Set niceness and limits as far as we may; return what is left for somebody with the right."""
    left: dict[str, Any] = {"nice": 0, "rlimits": []}
    if request["nice"]:
        try:
            os.nice(request["nice"])
        except OSError:
            left["nice"] = request["nice"]
    for number, value in request["rlimits"]:
        wanted = resource.RLIM_INFINITY if value is None else value
        try:
            resource.setrlimit(number, (wanted, wanted))
        except (OSError, ValueError, OverflowError):
            left["rlimits"].append([number, value])
    return left


def mark(marker: str, title: str) -> bool:
    """Write marker and title where others read them; return whether the marker is there.

    /proc/PID/environ and /proc/PID/cmdline show the memory that exec has filled, for all forks of
    one exec the same. Children of this worker that change nothing are recognised by it.
    """
    try:
        _write("/proc/self/comm", title.partition(" ")[0].encode()[:15])
        fields = _read("/proc/self/stat").rpartition(b")")[2].split()
        arguments, arguments_end, environment, environment_end = map(int, fields[45:49])
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
    except (OSError, ValueError, IndexError):
        return False
    try:
        # The last byte stays NUL: else ps would read on.
        size = arguments_end - arguments - 1
        words = f"{sys.executable} {title}".encode(errors="replace")[:size]
        os.pwrite(memory, words.ljust(size, b"\0"), arguments)
        block = b"\0" + os.pread(memory, environment_end - environment, environment)
        at = block.find(b"\0INVOCATION_ID=")
        value = block[at + 15 : at + 15 + len(marker) + 1]
        if at < 0 or len(value) != len(marker) + 1 or value[-1:] != b"\0":
            return False
        os.pwrite(memory, marker.encode(), environment + at + 14)
    except OSError:
        return False
    finally:
        os.close(memory)
    return True


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def set_dumpable(value: int) -> None:
    """Keep others of the same user from our memory, or (1) be like any program again."""
    _prctl(_PR_SET_DUMPABLE, value)


def _found_prctl() -> Callable[[int, int, int, int, int], int] | None:
    try:
        import ctypes  # an interpreter may have been built without

        found: Callable[[int, int, int, int, int], int] = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None
    return found


#: Looked up once: that makes a class each time.
_C_PRCTL = _found_prctl()


def _prctl(option: int, value: int) -> None:
    if _C_PRCTL is not None:
        _C_PRCTL(option, value, 0, 0, 0)


def die_with_parent() -> None:
    """Be killed when the process that forked this one ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def failure(stage: str, error: BaseException, subject: str) -> dict[str, object]:
    """Return what the keeper is told of what went wrong at a stage, with *subject*."""
    if not isinstance(error, OSError):
        reason = "".join(traceback.format_exception_only(type(error), error)).strip()
        return {"stage": stage, "reason": reason[:1000], "missing": False, "hopeless": False}
    missing = stage == "directory" and error.errno in (errno.ENOENT, errno.ENOTDIR)
    reason = f"{os.strerror(error.errno or 0)}: {subject if stage == 'directory' else stage}"
    return {"stage": stage, "reason": reason, "missing": missing, "hopeless": False}
