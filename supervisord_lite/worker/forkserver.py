"""A warm interpreter: it imports once, then every worker is a fork of it.

Theory of operation
===================

The keeper starts one of these for each group of Python workers that may share memory, as their
user, in their directory and environment. It imports what `preload` names, freezes what the garbage
collector knows (so that a collection in a worker does not copy every page), says that it is ready,
and then forks on request. What a worker does between its fork and its target copies each page that
it touches, so as little as may be is left to do there: what is known of a target that `preload` has
imported is found out here, once (`fit.py`). It never runs a target itself, and it is never root for
a worker that is not. Where it takes the place of another one, a child of it first imports the
targets that nobody has preloaded: a release that cannot be imported stops nobody.

A worker is forked twice, the first time into its cgroup where that may be entered: what is between
is born there, and so is the worker (`base/clone.py` says what a move would cost). That first fork
is none of the C library's, so it is only done where there is no other thread, and what is between
does nothing but to fork as it should be done, and to end::

    keeper ── fork request, descriptors ──▶ forkserver ──fork──▶ between ──fork──▶ worker
                                                                 ends at once       │
    keeper ◀── becomes its parent (the keeper is a subreaper) ◀─────────────────────┤
    keeper ◀── hello; the kernel adds the pid that says it ◀────────────────────────┤
    keeper ── go ──▶ the gate ──────────────────────────────────────────────────────▶ target

The worker sets itself up (descriptors, directory, environment, marks by which it is recognised),
waits until its parent has changed, and says hello. No line of a target runs before "go". The end of
the gate's file is `_exit`: whatever happens to the keeper's request, no process is left that
nobody has entered in a table.

What happens when something is killed here
------------------------------------------

* *The forkserver, idle or importing*: the keeper reaps it. Workers live on: they are the keeper's
  children. The next start builds it again.
* *The forkserver, with a request open*: the keeper takes every hello that was said, closes the
  gates of all others, and tells these as failed starts.
* *The process between*: the worker becomes the keeper's child a little earlier.
* *The worker at its gate*: it has said hello, then it is an exit like any other; or it has not,
  then the keeper sees the end of the gate's file.
* *The keeper*: the channel ends, and so do the forkserver and everybody at a gate.

Messages are JSON in SEQPACKET packets::

    keeper      {"fork": …, "files": [3, 1, 2], "cgroup": true, …}
                with descriptors: the gate, then the files, then the folder of the cgroup
    forkserver  {"ready": {"rss_bytes", "warnings", "takes_cgroup"}}   once
                {"failed": {"reason", "lines"}}        instead; then it ends
    worker      {"hello": {"is_marked", "left"}}       at the gate; left: limits that it may not set
                {"failed": {"stage", "reason", "missing", "hopeless"}}   instead; then it ends

Runs on every Python from 3.9 on, and imports nothing but the standard library: it may be another
interpreter than the daemon's.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import importlib
import json
import os
import socket
import stat
import sys
import threading
import traceback
import warnings

try:
    from supervisord_lite.base.clone import fork_into
except (ImportError, OSError, AttributeError):  # an interpreter may have been built without ctypes
    fork_into = None  # type: ignore[assignment]

from supervisord_lite.worker import birth
from supervisord_lite.worker.fit import Fit
from supervisord_lite.worker.story import traceback_of
from supervisord_lite.worker.target import TargetError, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Request = dict[str, Any]

#: Where the keeper puts our end of the channel.
CHANNEL = 3
_MOST_BYTES = 256 * 1024
_MOST_DESCRIPTORS = 253
#: Requests that are read before the first of them is carried out.
_MOST_AT_ONCE = 16
#: And of their descriptors: what is beyond the limit of this process would be cut off.
_MOST_HELD = 256
#: Of a traceback, told to whoever waits for this; the whole is on stderr.
_MOST_LINES = 40
#: What a child says that has imported a target; an import that ends it says nothing.
_IMPORTED = b"imported"


def main(modules: list[str], targets: list[str], run: Callable[[Request, Fit | None], int]) -> int:
    """Import *modules*, then fork a worker for each request until the keeper goes.

    Args:
        modules: Names, in the order of the configuration.
        targets: Tried before anything is said: "package.module:Target".
        run: Called in a worker's process with its launch record, and what is known of its target;
            returns its exit code.

    Returns:
        In a worker its exit code; in the forkserver 1, when it could not get ready.
    """
    number = fcntl.fcntl(CHANNEL, fcntl.F_DUPFD_CLOEXEC, birth.HIGH)
    os.close(CHANNEL)
    channel = socket.socket(fileno=number)
    try:
        said = _warm_up(modules)
        for target in targets:
            _try(target)
    except _TrialError as error:
        _say(channel, {"failed": error.told})
        return 1
    except BaseException as error:  # noqa: BLE001  # also SystemExit: no import may end us unseen
        _say(channel, {"failed": _why(error)})
        return 1
    _fall_silent()
    _say(channel, {"ready": said})
    served = _serve(channel)
    if served is None:
        os._exit(0)  # what modules have registered for an end is the workers' business
    request, fit = served
    record = request["python"]
    sys.argv[:] = [record["target"]]
    return run(record, fit)


def _fall_silent() -> None:
    """Let go of the log: in a file, the lines of workers wait until those of imports are whole."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (1, 2):
        os.dup2(null, number, inheritable=True)
    os.close(null)


class _PreloadError(Exception):
    """A preloaded module did something that no fork survives."""


class _TrialError(Exception):
    """A target cannot be imported.

    Attributes:
        told: As `_why` has it.
    """

    def __init__(self, told: dict[str, object]) -> None:
        super().__init__()
        self.told = told


def _try(target: str) -> None:
    """Import a target in a child that ends then: what an import does stays in there.

    Raises:
        _TrialError: It cannot be imported.
    """
    reader, writer = os.pipe()
    pid = _fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.close(reader)
            birth.die_with_parent()
            try:
                find(target, path=[], script=None)
            except TargetError as error:
                os.write(writer, json.dumps(_told(str(error))).encode())
            except BaseException as error:  # noqa: BLE001  # whatever an import can end with
                os.write(writer, json.dumps(_why(error)).encode())
            else:
                os.write(writer, _IMPORTED)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123  # no pathlib in here
        told = file.read()
    os.waitpid(pid, 0)
    if told != _IMPORTED:
        silent = _told(f"{target}: its import ended the process")
        raise _TrialError(json.loads(told) if told else silent)


def _warm_up(modules: list[str]) -> dict[str, object]:
    for name in modules:
        importlib.import_module(name)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # else each worker would print it again
    others = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
    if others:
        names = ", ".join(f'"{name}"' for name in others)
        message = f"the preloaded modules left a thread running: {names}; no fork can have it"
        raise _PreloadError(message)
    warned = _inherited_sockets() if modules else []
    rss_bytes = _rss_bytes()
    birth.set_dumpable(0)
    gc.collect()
    gc.freeze()
    return {"rss_bytes": rss_bytes, "warnings": warned, "takes_cgroup": True}


def _why(error: BaseException) -> dict[str, object]:
    if isinstance(error, _PreloadError):
        sys.stderr.write(f"supervisord-lite: {error}\n")
        return _told(str(error))
    lines = traceback_of(error).splitlines()
    with contextlib.suppress(Exception):
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
    last = traceback.format_exception_only(type(error), error)[-1].strip()
    return {"reason": last[:1000], "lines": [line[:500] for line in lines[-_MOST_LINES:]]}


def _told(reason: str) -> dict[str, object]:
    return {"reason": reason, "lines": []}


def _inherited_sockets() -> list[str]:
    """Return what is to be said of listening sockets that modules have opened: workers share it."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # no pathlib in here
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue  # a copy of the log, left open here, would hold up what workers say there
            own = socket.socket(fileno=os.dup(int(name)))
            try:
                if own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    where = own.getsockname()
                    found.append(f"a preloaded module listens on {where}; all workers share that")
            finally:
                own.close()
    return found


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # no pathlib in here
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _say(own: socket.socket, message: dict[str, object]) -> bool:
    """Send one packet; return whether somebody may have it."""
    try:
        own.send(json.dumps(message).encode())
    except OSError:
        return False
    return True


# -- forking ---------------------------------------------------------------------------------------


def _serve(channel: socket.socket) -> tuple[Request, Fit | None] | None:
    """Fork on request; return the request in a worker that may run, None when the keeper is gone.

    With it comes what is known of its target.

    Returning, and not calling, lets a worker begin with a stack that has nothing of this on it.
    """
    between: list[int] = []
    fits: dict[object, Fit | None] = {}
    while True:
        received = _receive(channel, between)
        if received is None:
            return None
        known = [_fit_of(request["python"], fits) for request, _ in received]
        # All that comes with a request is ours to close, whatever happens.
        left = [descriptors for _, descriptors in received]
        for (request, descriptors), fit in zip(received, known):  # noqa: B905  # Python 3.9
            left.pop(0)
            if _fork_one(channel, request, descriptors, left, between):
                return request, fit


def _fork_one(
    channel: socket.socket,
    request: Request,
    descriptors: list[int],
    others: list[list[int]],
    between: list[int],
) -> bool:
    """Fork for one request; return True in the worker, when it may run.

    Args:
        channel: To the keeper.
        request: What is wanted.
        descriptors: That came with it.
        others: Those of requests that have not had their turn: a worker must not have them.
        between: Takes the pid that is to be waited for.
    """
    gate: socket.socket | None = None
    try:
        if descriptors:
            gate = _high(descriptors[0])
        count = 1 + len(request["files"])
        has_cgroup = request.get("cgroup") is True
        if gate is None or len(descriptors) != count + has_cgroup:
            return False  # descriptors were lost on the way: the keeper sees the end of its gate
        pid = _fork_into(descriptors[-1]) if has_cgroup else _fork()
        if pid == 0:
            for each in others:
                _close_all(each)
            _close_all(descriptors[count:])
            files = descriptors[1:count]
            del descriptors[1:]  # not closed twice: the numbers are used again
            _between(channel, gate, request, files)
            return True
        between.append(pid)
    except OSError as error:
        if gate is not None:
            _say(gate, {"failed": birth.failure("fork", error, "fork")})
    finally:
        if gate is not None:
            gate.close()
        _close_all(descriptors[1:])
    return False


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _fit_of(record: Request, known: dict[object, Fit | None]) -> Fit | None:
    """Return what is known of a target that has been imported; None: its worker finds it out."""
    config = record.get("config") or {}
    key = (record["target"], *sorted(config))
    if key not in known:
        known[key] = None
        module, _, name = record["target"].partition(":")
        if module in sys.modules and record.get("script") is None:
            # Whatever is wrong with it is the worker's to tell.
            with contextlib.suppress(BaseException):
                target = sys.modules[module]
                for part in name.split("."):
                    target = getattr(target, part)
                known[key] = Fit(target, config)
    return known[key]


def _receive(channel: socket.socket, between: list[int]) -> list[tuple[Request, list[int]]] | None:
    """Return the requests that there are; while there is none, reap what has stood between.

    Several at once: what is written here between two forks is a copy for each worker before.
    """
    received: list[tuple[Request, list[int]]] = []
    space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
    flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
    held = 0
    while len(received) < _MOST_AT_ONCE and held < _MOST_HELD:
        try:
            data, ancillary, _, _ = channel.recvmsg(_MOST_BYTES, space, flags)
        except BlockingIOError:
            if received:
                break
            for pid in between:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
            between.clear()
            flags = socket.MSG_CMSG_CLOEXEC
            continue
        except OSError:
            return None
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        descriptors = array.array("i")
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(rights[: len(rights) - len(rights) % 4])
        if not data:
            return None
        held += len(descriptors)
        received.append((json.loads(data), list(descriptors)))
    return received


def _high(descriptor: int) -> socket.socket:
    """Return a gate above the numbers at which a worker is given something."""
    try:
        return socket.socket(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, birth.HIGH))
    finally:
        os.close(descriptor)


def _fork() -> int:
    with warnings.catch_warnings():
        # Threads of libraries (of linear algebra, say) that know what to do about a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _fork_into(cgroup: int) -> int:
    """Fork into a cgroup; where that is refused, here: the keeper moves what is born elsewhere."""
    if fork_into is not None:
        with contextlib.suppress(OSError):  # not our right, threads, an old kernel, a filter
            return fork_into(cgroup)
    return _fork()


def _between(
    channel: socket.socket, gate: socket.socket, request: Request, descriptors: list[int]
) -> None:
    """Fork once more and end; in the worker set up, and return when it may run."""
    set_up = birth.SetUp(request)
    try:
        me = os.getpid()
        if _fork() > 0:
            os._exit(0)
        channel.close()
        gate = _out_of_the_way(gate, request["files"])
        set_up.run(descriptors)
        # The last thing before hello: the keeper only takes its own children in.
        while os.getppid() == me:
            os.sched_yield()
        hello = {
            "is_marked": birth.mark(request["marker"], request["title"]),
            "left": birth.limit(request),  # the last of all: a limit might be in the way
        }
        if not _say(gate, {"hello": hello}) or gate.recv(16) != b"go":
            os._exit(0)
    except BaseException as error:  # noqa: BLE001  # whatever it is, the keeper must hear of it
        _say(gate, {"failed": birth.failure(set_up.stage, error, request["directory"])})
        os._exit(127)
    gate.close()


def _out_of_the_way(gate: socket.socket, files: list[int]) -> socket.socket:
    """Return *gate* at a number that is none of *files*."""
    number = fcntl.fcntl(gate.fileno(), fcntl.F_DUPFD_CLOEXEC, max(birth.HIGH, *files) + 1)
    gate.close()
    return socket.socket(fileno=number)
