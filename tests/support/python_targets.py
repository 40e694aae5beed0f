"""Targets for tests of workers that the daemon starts by `python =`."""

# ruff: noqa: T201  # what they print is looked for in their logs

import asyncio
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field

from supervisord_lite.worker import Context, Worker, context

MODULE = "tests.support.python_targets"


def wait() -> None:
    """Run until it must stop."""
    context.stopping.wait()


def say(*, words: str) -> None:
    """Say something on stdout, and run until it must stop."""
    print(words)
    context.stopping.wait()


def tell_all(context: Context, **config: object) -> None:
    """Say what it was given and where it is."""
    print(f"config {config!r}")
    print(f"path {sys.path[0]}")
    print(f"argv {sys.argv!r}")
    print(f"version {sys.version_info[0]}.{sys.version_info[1]} {sys.prefix}")
    print(f"pythonpath {os.environ.get('PYTHONPATH')!r}")
    print(f"notify {os.environ.get('NOTIFY_SOCKET')!r}")
    print(f"who {context.name} {context.pool} {context.instance}")
    for module in ("tomli_w", "pytest"):
        try:
            __import__(module)
        except ImportError:
            print(f"no {module}")
        else:
            print(f"has {module}")
    context.stopping.wait()


@dataclass
class Orders(Worker):
    """A dataclass: its fields are its configuration."""

    source: str
    batch: int = 20
    rates: list[float] = field(default_factory=list)

    def run(self) -> None:
        print(f"{self.name} {self.source} {self.batch} {self.rates}")
        for _ in context.loop(every_s=0.01):
            context.progress(31, self.batch)


async def awaits(*, then: str = "wait") -> None:
    """Do its work in an event loop."""
    if then == "raise":
        raise LookupError("nothing to await")  # noqa: TRY003
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up")


class Threads:
    """Starts a thread, which ends as it is told."""

    def __init__(self, *, then: str) -> None:
        self.then = then
        self.must_stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self.loop, name="digger").start()

    def stop(self) -> None:
        self.must_stop.set()

    def loop(self) -> None:
        if self.then == "raise":
            raise OSError("the mine is closed")  # noqa: TRY003
        if self.then == "wait":
            self.must_stop.wait()


def end(*, code: object = 0, how: str = "exit") -> None:
    """End in one of the ways that there are."""
    if how == "exit":
        sys.exit(code)  # type: ignore[arg-type]
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "at once":
        os._exit(int(str(code)))


def crash(*, text: str = "no luck today") -> None:
    """Raise."""
    raise ValueError(text)


def crash_and_leave_a_child(*, text: str) -> None:
    """Raise while something that it has started lives on."""
    subprocess.Popen(["sleep", "1000"])
    raise ValueError(text)


def hangs(*, beats: int) -> None:
    """Give some signs of life, then none."""
    for _ in range(beats):
        context.heartbeat()
        context.sleep(0.05)
    threading.Event().wait()


def says_ready_later(context: Context, *, file: str) -> None:
    """Be ready when a file is there."""
    while not os.path.exists(file):
        context.sleep(0.01)
    context.status("open")
    context.ready()
    context.stopping.wait()


def finishes(*, total: int) -> None:
    """Take its time for the stop, and tell how far it is."""
    context.stopping.wait()
    context.progress(1, total)
    print(f"left {context.stop_left_s() > 5}")
    threading.Event().wait(0.5)


def listens(context: Context) -> None:
    """Answer one word to each who connects."""
    own = context.sockets["http"]
    own.settimeout(0.05)
    while not context.stopping.is_set():
        try:
            connection, _ = own.accept()
        except TimeoutError:
            continue
        with connection:
            connection.sendall(context.name.encode())


def no_such_import() -> None:
    """Exist in a module that can be imported."""
