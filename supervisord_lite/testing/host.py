"""What stands in for the process of a worker that shares one with its test."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import threading
from collections.abc import Callable

from supervisord_lite.worker.context import Context
from supervisord_lite.worker.host import Host

_TERMINATED = 128 + 15


class ThreadHost(Host):
    """The threads of one worker, and the way in which it is stopped.

    Attributes:
        error: What ended it; None: it lives, or ended in order.
        ended: Set when it has ended.
    """

    def __init__(self) -> None:
        """Begin without any thread."""
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._act: Callable[[], object] | None = None
        self._interrupt: Callable[[], object] | None = None

    def on_stop(
        self, act: Callable[[], object], *, interrupt: Callable[[], object] | None = None
    ) -> None:
        """Take what a stop does."""
        variables = contextvars.copy_context()
        self._act = lambda: variables.copy().run(act)  # it is called in another thread
        self._interrupt = interrupt

    def on_stop_in(self, loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
        """Take what a stop does in an event loop."""

        def call() -> None:
            with contextlib.suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(act)

        self._act, self._interrupt = call, None

    def stop(self, main: threading.Thread, context: Context) -> None:
        """Do what SIGTERM does to a worker; *main* is the thread that its target runs on."""
        act = self._act or context.stop
        if self._interrupt is not None:
            try:
                self._interrupt()
            except SystemExit:
                # What the handler of a signal raises comes up in the main thread.
                ident = ctypes.c_ulong(main.ident or 0)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
        threading.Thread(target=act, name="stop", daemon=True).start()

    def take(self, thread: threading.Thread) -> None:
        """Take a thread that the worker, or one of its threads, is about to start."""
        self._threads.append(thread)

    def threads(self) -> list[threading.Thread]:
        """Return those that live."""
        return [each for each in self._threads if each.is_alive()]

    def insist(self, error: BaseException) -> None:
        """Do nothing: threads that hold a process hold no test."""

    def end(self, code: int) -> None:
        """End what runs on the worker's main thread."""
        raise SystemExit(code)

    def note(self, error: BaseException, *, was_asked: bool) -> None:
        """Keep what ended the worker, unless it is an end in order."""
        if isinstance(error, SystemExit):
            in_order = (None, 0, _TERMINATED) if was_asked else (None, 0)
            if error.code in in_order:
                return
        if self.error is None:
            self.error = error

    def crashed(self, error: BaseException) -> None:
        """A thread of the worker has died: its process would end now."""
        self.note(error, was_asked=False)
        self.ended.set()
        if self._act is not None:
            threading.Thread(target=self._act, name="stop", daemon=True).start()
