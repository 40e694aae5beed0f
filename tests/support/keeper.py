"""The keeper taken apart: its pieces with real processes, a fake /proc, and calls that fail.

The test process plays the supervisor and the scribe; for the time of a test it is a subreaper, as
the keeper is.
"""

import errno
import faulthandler
import inspect
import os
import select
import signal
import socket
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supervisord_lite.base import prctl
from supervisord_lite.keeper import reap
from supervisord_lite.keeper.boot import Boot, keep_from_workers
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.journal import open_pipe
from supervisord_lite.keeper.runs import Runs
from supervisord_lite.keeper.table import Run, Table
from tests.support.wait import wait_until

Fact = dict[str, Any]
#: What can be refused: the calls themselves, not what is made of them.
KINDS = tuple(
    dict.fromkeys(
        name
        for of in Calls.__mro__
        for name, what in vars(of).items()
        if isinstance(what, staticmethod)
        and not name.startswith("_")
        and isinstance(inspect.getattr_static(Calls, name), staticmethod)
    )
)


def replace_calls(calls: Calls, **functions: Callable[..., Any]) -> None:
    """Let a seam use other functions."""
    for kind, function in functions.items():
        assert kind in KINDS, kind
        setattr(calls, kind, function)


class CountingCalls(Calls):
    """The real calls, counted, noting every signal sent; the Nth of a kind can be made to fail.

    Attributes:
        counts: Kind -> number of calls so far.
        signals: (pid, number) of each signal sent, by whatever way; None: to a whole cgroup.
        written: What was written, as a whole.
        fail: (kind, which, errno), or None.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.signals: list[tuple[int | None, int]] = []
        self.written: list[bytes] = []
        self.fail: tuple[str, int, int] | None = None
        self._pidfds: dict[int, int] = {}
        for kind in KINDS:
            setattr(
                self, kind, self._counted(kind, getattr(self, f"do_{kind}", getattr(self, kind)))
            )

    def _counted(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.counts[kind] += 1
            if self.fail is not None and self.fail[:2] == (kind, self.counts[kind]):
                if kind == "close_once":
                    call(*args, **kwargs)  # refused or not, it is closed
                raise OSError(self.fail[2], os.strerror(self.fail[2]))
            return call(*args, **kwargs)

        return counted

    def do_kill(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        os.kill(pid, number)

    def do_pidfd_open(self, pid: int) -> int:
        descriptor = os.pidfd_open(pid)
        self._pidfds[descriptor] = pid
        return descriptor

    def do_pidfd_send_signal(self, descriptor: int, number: int) -> None:
        self.signals.append((self._pidfds[descriptor], number))
        signal.pidfd_send_signal(descriptor, number)

    def do_fork(self) -> int:
        with warnings.catch_warnings():
            # The keeper has one thread; the test process may have some that a library began.
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()


class NoCgroupCalls(CountingCalls):
    """Nobody may make cgroups here."""

    def do_write(self, descriptor: int, data: bytes) -> int:
        self.written.append(bytes(data))
        return os.write(descriptor, data)

    def do_open(self, path: str, flags: int) -> int:
        if path == "/proc/self/cgroup":
            raise FileNotFoundError(errno.ENOENT, path)
        return os.open(path, flags)


class PlainBoot(Boot):
    """What `run` would have prepared, without taking over the test's own descriptors."""

    def __init__(self, calls: Calls, *, environment: dict[str, str] | None = None) -> None:
        self.calls = calls
        self.environment = {"PATH": os.defpath} if environment is None else environment
        self.saves = {"settings": "{}"}
        self.name = f"test-{os.getpid()}"
        self.log_style, self.log_level = "text", "debug"
        self.remove: list[str] = []
        self.events = ""
        self.inherited: dict[str, int] = {}
        self.has_terminal = False
        self.owner: int | None = None
        self.state: dict[str, Any] | None = None
        self.locks: list[int] = []
        self.places: list[dict[str, Any]] = []
        # As in a real boot: low numbers are kept free for what is handed on.
        self._reserved = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)]
        while self._reserved[-1] < 10:
            self._reserved.append(os.dup(self._reserved[-1]))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind("")
        self._socket.listen()
        self.listener = self._socket.fileno()
        self.http = -1
        keep_from_workers(calls)
        self.scribe_memory = os.memfd_create("scribe")
        self.traces = os.memfd_create("traces")
        self.nofile_soft = 512
        self.journal_reader, self.journal_writer = open_pipe()
        os.set_blocking(self.journal_reader, False)

    def close(self) -> None:
        for descriptor in (self.scribe_memory, self.traces, *self._reserved):
            os.close(descriptor)
        self._socket.close()


def request(name: str, *argv: str, run: int = 1, **more: Any) -> dict[str, Any]:
    """Return a request to spawn *argv* as pool *name*; *more* replaces what a plain one has."""
    return {
        "do": "spawn", "pool": name, "index": 1, "run": run, "name": name,
        "marker": os.urandom(16).hex(), "argv": list(argv), "directory": "/", "environment": [],
        "umask": 0o022, "nice": 0, "identity": None, "rlimits": [], "cgroup": {},
        "stdout": {"to": "null"}, "stderr": {"to": "null"}, **more,
    }  # fmt: skip


def marked(ask: dict[str, Any]) -> dict[str, Any]:
    """Return a request whose process carries the marker, as the supervisor writes it."""
    ask["environment"] = [*ask["environment"], ("INVOCATION_ID", ask["marker"])]
    return ask


class Household:
    """`Runs` with real processes: requests in, facts out. The test turns the crank."""

    def __init__(self, calls: Calls | None = None, **boot: Any) -> None:
        self.calls = calls or CountingCalls()
        self.boot = PlainBoot(self.calls, **boot)
        self.table = Table({})
        self.known: set[int] = set()
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self.told: list[dict[str, Any]] = []
        self.runs = Runs(
            self.calls, self.boot, self.table, self.known, self._watch, self._unwatch,
            self.told.append,
        )  # fmt: skip

    def _watch(self, descriptor: int, mask: int, callback: Callable[[int], None]) -> None:
        if descriptor in self._callbacks:
            self._poll.modify(descriptor, mask)
        else:
            self._poll.register(descriptor, mask)
        self._callbacks[descriptor] = callback

    def _unwatch(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._callbacks[descriptor]

    def ask(self, *requests: dict[str, Any]) -> None:
        self.runs.carry_out(deque(self.runs.prepare(requests)), time.monotonic())

    def kill(self, name: str, run: int = 1) -> None:
        self.ask({"do": "kill", "pool": name, "index": 1, "run": run})

    def signal(
        self, name: str, number: int, *, scope: str = "leader", stop: bool = False, run: int = 1
    ) -> None:
        about = {"do": "signal", "pool": name, "index": 1, "run": run}
        self.ask({**about, "signal": number, "scope": scope, "stop": stop})

    def turn(self) -> None:
        now_s = time.monotonic()
        while (dead := reap.ended(self.calls)) is not None:
            if dead.pid not in self.known:
                self.runs.servers.listen()
            reap.reap(self.calls, dead.pid)
            self.known.discard(dead.pid)
            self.runs.reaped(dead, now_s)
        self.runs.turn(now_s)
        for descriptor, mask in self._poll.poll(0):
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                callback(mask)

    def facts(self, name: str, kind: str | None = None) -> list[Fact]:
        return [
            fact
            for fact in self.table.facts
            if fact.get("pool") == name and kind in (None, fact["fact"])
        ]

    def fact(self, name: str, kind: str) -> Fact:
        """Turn until *name* has a fact of *kind*; return it."""

        def look() -> Fact | None:
            self.turn()
            return next(iter(self.facts(name, kind)), None)

        return wait_until(
            look, what=f"{kind} of {name}", every_s=0.002, timeout_s=30, on_timeout=self._evidence
        )

    def _evidence(self) -> str:
        lines = [str(fact) for fact in self.table.facts]
        for pid in self.table.by_pid:
            for file in ("stat", "wchan", "syscall", "stack"):
                try:
                    lines.append(f"{pid} {file}: {Path(f'/proc/{pid}/{file}').read_text()}")
                except OSError as error:
                    lines.append(f"{pid} {file}: {error}")
        return "\n".join(lines)

    def until(self, predicate: Callable[[], bool], what: str) -> None:
        """Turn until *predicate* holds."""

        def look() -> bool:
            self.turn()
            return predicate()

        wait_until(look, what=what, every_s=0.002, timeout_s=30)

    def empty(self, name: str, run: int = 1) -> None:
        """Turn until nothing of a run is alive, as far as the keeper says."""
        self.until(lambda: self.table.runs[name, 1, run].emptied, f"{name} is empty")

    def run_of(self, name: str, run: int = 1) -> Run:
        return self.table.runs[name, 1, run]

    def close(self) -> None:
        self.runs.kill_all(time.monotonic())
        self.until(lambda: self.runs.are_gone, "all runs are gone")
        close_runs(self.runs)
        self._poll.close()
        os.close(self.boot.journal_writer)
        self.boot.close()


@contextmanager
def a_household(calls: Calls | None = None, **boot: Any) -> Iterator[Household]:
    """Be a subreaper and keep a household; at the end nothing of it is left."""
    with as_subreaper():
        house = Household(calls, **boot)
        try:
            yield house
        finally:
            if isinstance(house.calls, CountingCalls):
                house.calls.fail = None
            house.close()


@contextmanager
def as_subreaper() -> Iterator[None]:
    """Be the parent of all orphans below for a while, and as the keeper is: with one thread."""
    # pytest's watchdog is a thread: libc in a child born by clone would wait for it for ever.
    faulthandler.cancel_dump_traceback_later()
    folder = os.getcwd()
    prctl.become_subreaper()
    os.chdir("/")
    try:
        yield
    finally:
        prctl._prctl(36, 0)
        os.chdir(folder)


def close_runs(runs: Runs) -> None:
    """Close what `Runs` holds. Its own `close` would kill all that the test process has started."""
    for number in list(runs.streams._open):
        runs.streams.done(number)
    if runs.cgroups is not None:
        runs.cgroups.close()
    for descriptor in (runs._launcher.null, *runs._launcher._low):
        os.close(descriptor)


def open_descriptors() -> dict[int, str]:
    """Return this process's open descriptors and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
    return found


def below(pid: int) -> set[int]:
    """Return the living descendants of *pid*."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                parents[int(name)] = int(fields[1])
    found = {pid}
    grown = True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found - {pid}
