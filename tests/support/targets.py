"""Python targets for tests of workers and of the manager; each notes what happens in a file."""

import asyncio
import atexit
import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

from supervisord_lite.worker import Context, Worker, context


def note(file: str, word: str) -> None:
    """Add a word to a file, in one write."""
    with Path(file).open("a") as out:
        out.write(f"{word}\n")


def until_stopped(file: str) -> None:
    """Run until it must stop."""
    note(file, f"started {context.name}")
    context.ready()
    context.stopping.wait()
    note(file, f"stopped {context.name}")


def takes_context(context: Context, *, file: str, number: int = 1) -> None:
    """Note who it is and what it was given."""
    note(file, f"{context.name} {context.pool} {context.instance} {number}")


def crash(file: str) -> None:
    """Fail each time."""
    note(file, f"started {context.name}")
    raise ValueError("no luck today")  # noqa: TRY003  # what is looked for


def finish(file: str) -> None:
    """Return at once."""
    note(file, f"done {context.name}")


def leave(code: int) -> None:
    """Leave with an exit code."""
    sys.exit(code)


def never_looks(file: str) -> None:
    """Never ask whether it must stop, but clean up."""
    note(file, "started")
    try:
        threading.Event().wait()
    finally:
        note(file, "cleaned up")


async def coroutine(file: str) -> None:
    """Wait for ever, and clean up."""
    note(file, "started")
    try:
        await asyncio.Event().wait()
    finally:
        note(file, "cleaned up")


def crashing_thread(file: str) -> None:
    """Go on in the main thread while the one that does the work is dead."""
    note(file, "started")
    threading.Thread(target=lambda: 1 / 0, name="digger").start()
    threading.Event().wait()


def looks_all_the_time(file: str) -> None:
    """Ask without a pause whether it must stop."""
    context.sleep(0)  # who has never asked would be interrupted
    note(file, "started")
    while context.sleep(0):
        pass
    note(file, "stopped")


def tells_its_threads(file: str) -> None:
    """Count the threads of the process, as the kernel does."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "Threads" in x)
    note(file, f"started with {line.split()[1]}")
    context.sleep(600)
    note(file, "stopped")


class RaisesInStop:
    """A `stop` that goes wrong."""

    def __init__(self, file: str) -> None:
        self.file = file

    def run(self) -> None:
        note(self.file, "started")
        while True:
            signal.pause()

    def stop(self) -> None:
        raise RuntimeError


class StopsSlowly:
    """A `stop` that waits for the work, a thread that need not be waited for, and then a little."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.over.wait, daemon=True)

    def start(self) -> None:
        self.thread.start()
        note(self.file, "started")

    def stop(self) -> None:
        note(self.file, "stop")
        self.thread.join(0.3)
        note(self.file, "stopped")
        self.over.set()


class BlockingStart:
    """A `start` that returns only when `stop` has been called."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.over = threading.Event()

    def start(self) -> None:
        note(self.file, "started")
        self.over.wait()
        note(self.file, "start is over")

    def stop(self) -> None:
        self.over.set()


class Runs(Worker):
    """A worker with `run`, on the main thread."""

    def __init__(self, file: str, times: int = 1) -> None:
        self.file, self.times = file, times

    def run(self) -> None:
        assert threading.current_thread() is threading.main_thread()
        for _ in range(self.times):
            note(self.file, f"turn {self.name}")


class Sleeps(Worker):
    """A worker that looks at the context between turns."""

    def __init__(self, file: str) -> None:
        self.file = file

    def run(self) -> None:
        note(self.file, "started")
        while context.sleep(1000):
            note(self.file, "awake too early")
        note(self.file, "stopped")


class AsyncRuns:
    """A class of no base, with a coroutine and a stop of its own."""

    def __init__(self, file: str) -> None:
        self.file = file

    async def run(self) -> None:
        self.must_stop = asyncio.Event()
        note(self.file, "started")
        await self.must_stop.wait()
        note(self.file, "stopped")

    def stop(self) -> None:
        self.must_stop.set()


class Starts:
    """The contract: start returns at once, stop signals, and it has a name."""

    name = "starts"

    def __init__(self, file: str, *, how: str = "waits") -> None:
        self.file, self.how = file, how
        self.must_stop = threading.Event()

    def start(self) -> None:
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def stop(self) -> None:
        note(self.file, "stop")
        self.must_stop.set()

    def loop(self) -> None:
        note(self.file, "started")
        if self.how == "crashes":
            raise ValueError("the loop is dead")  # noqa: TRY003
        if self.how == "waits":
            self.must_stop.wait()
        note(self.file, "loop over")


class Neither:
    """A class that is no worker."""


wrapped = [until_stopped]


def _hold(file: str) -> None:
    """Begin a thread that never ends by itself."""
    threading.Thread(target=threading.Event().wait, name="holder").start()
    note(file, "started")


def crash_beside_a_thread(file: str) -> None:
    """Fail while a thread goes on."""
    _hold(file)
    raise ValueError("no luck today")  # noqa: TRY003  # what is looked for


def leave_beside_a_thread(file: str) -> None:
    """Leave while a thread goes on."""
    _hold(file)
    sys.exit(7)


async def crash_beside_an_executor(file: str) -> None:
    """Fail while asyncio's own executor still works."""
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    note(file, "started")
    raise ValueError("no luck today")  # noqa: TRY003  # what is looked for


def crash_with_a_last_wish(file: str) -> None:
    """Fail, and never end what is called at the end."""
    atexit.register(threading.Event().wait)
    note(file, "started")
    raise ValueError("no luck today")  # noqa: TRY003  # what is looked for


def outlived_by_a_thread(file: str) -> None:
    """Return while a thread has work for a while."""

    def work() -> None:
        threading.main_thread().join()
        note(file, "worked")

    threading.Thread(target=work).start()


def crash_in_bad_words(file: str) -> None:
    """Die in a thread, with nothing left to say it on."""
    sys.stderr = None

    def work() -> None:
        note(file, "started")
        raise ValueError("no luck today")  # noqa: TRY003  # what is looked for

    threading.Thread(target=work).start()
    threading.Event().wait()


def generator(file: str) -> Iterator[str]:
    """Look like a function."""
    yield file


class Begins:
    """Begin what nobody awaits."""

    async def start(self) -> None:
        """Do nothing, for nobody awaits it."""

    def stop(self) -> None:
        """Do nothing."""


class Waits:
    """Be stopped by what nobody awaits."""

    def run(self) -> None:
        """Wait."""

    async def stop(self) -> None:
        """Do nothing, for nobody awaits it."""


class Empty(Worker):
    """Have nothing to run."""


class Asks:
    """Ask for what nobody gives."""

    def run(self, orders: int) -> None:
        """Never run."""


class RunsWithContext:
    """Be handed the context by its method."""

    def __init__(self, file: str) -> None:
        """Take the file."""
        self.file = file

    def run(self, context: Context) -> None:
        """Note it."""
        note(self.file, f"run {context.name}")


class AsyncStops:
    """Be stopped by a coroutine."""

    def __init__(self, file: str) -> None:
        """Take the file."""
        self.file = file

    async def run(self) -> None:
        """Wait until that is over."""
        self.over = asyncio.Event()
        note(self.file, "started")
        await self.over.wait()

    async def stop(self) -> None:
        """End the wait, and have something left to do."""
        self.over.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        note(self.file, "stopped")


class Hangs:
    """Never get as far as to run."""

    def __init__(self, file: str) -> None:
        """Wait for what never comes."""
        note(file, "started")
        threading.Event().wait()

    def run(self) -> None:
        """Never run."""


def _fork() -> BaseProcess:
    child = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    child.start()
    return child


def terminates_a_child(file: str) -> None:
    """End a forked child, and look whether this has stopped the worker too."""
    context.stopping.is_set()
    child = _fork()
    child.terminate()
    child.join(10)
    note(file, f"child {child.exitcode}")
    child.kill()
    note(file, f"stopping {context.stopping.wait(0.2)}")


async def terminates_a_child_in_a_loop(file: str) -> None:
    """The same in an event loop, whose handlers of signals are woken by a descriptor."""
    context.stopping.is_set()
    child = _fork()
    child.terminate()
    await asyncio.to_thread(child.join, 10)
    note(file, f"child {child.exitcode}")
    child.kill()
    await asyncio.sleep(0.2)
    note(file, f"stopping {context.stopping.is_set()}")


def outlives_a_thread_of_a_child(file: str) -> None:
    """Fork a child that goes on although a thread of it has died."""

    def live() -> None:
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        note(file, "child lives")

    child = multiprocessing.get_context("fork").Process(target=live)
    child.start()
    child.join()
