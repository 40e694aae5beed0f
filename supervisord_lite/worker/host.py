"""The process that a target runs in: where the stop comes from, and how it can end at once.

`supervisord_lite.testing` has another one, for workers that share a process with their test.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from supervisord_lite.worker.ending import CRASHED, Ending
from supervisord_lite.worker.termination import keep_from_children, on_sigterm

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from supervisord_lite.worker.context import Context
    from supervisord_lite.worker.voice import Voice


class Host:
    """A process of its own for one target, which runs on the main thread."""

    def __init__(self, context: Context, voice: Voice) -> None:
        """From now on an uncaught exception in any thread ends the process."""
        self._context = context
        self._ending = Ending(context, voice, self.end)
        before, threading.excepthook = threading.excepthook, self._thread_crashed

        def forget() -> None:
            threading.excepthook = before  # a thread of a child that dies is no news of this worker

        os.register_at_fork(after_in_child=forget)

    def on_stop(
        self, act: Callable[[], object], *, interrupt: Callable[[], object] | None = None
    ) -> None:
        """Call *act* in a thread when it must stop; *interrupt* before that, on the main thread."""
        on_sigterm(act, interrupt=interrupt)

    def on_stop_in(self, loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
        """Call *act* in *loop* when it must stop."""
        loop.add_signal_handler(signal.SIGTERM, act)
        keep_from_children(wakes=True)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that live, those that imported modules have started among them.

        Not those that `threading` has not begun and only met, as the one that carries out a stop:
        nobody can wait for their end.
        """
        met = threading._DummyThread  # noqa: SLF001
        return [each for each in threading.enumerate() if not isinstance(each, met)]

    def tell(self, error: BaseException, *, imported: bool = True) -> int:
        """Say once what has ended the target, or its import; return the exit code."""
        return self._ending.tell(error, imported=imported)

    def insist(self, error: BaseException) -> None:
        """See that the process ends soon: *error* has ended its target. Never waits."""
        self._ending.insist(error)

    def end(self, code: int) -> None:
        """End the process from whatever thread, while others may never end."""
        try:
            for flush in (self._context.flush, *_flushes()):
                # Nobody reads it any more, the target has closed it, or it is one of its own.
                with contextlib.suppress(Exception):
                    flush()
        finally:
            os._exit(code)

    def _thread_crashed(self, crash: threading.ExceptHookArgs) -> None:
        """End the process: the work of that thread is done by nobody now."""
        if crash.exc_type is SystemExit or crash.exc_value is None:
            return
        name = "?" if crash.thread is None else crash.thread.name
        try:
            sys.stderr.write(f"Exception in thread {name}; the process ends:\n")
            self.tell(crash.exc_value)
        finally:  # whatever stderr, or the words of the exception, have become
            self.end(CRASHED)


def _flushes() -> list[Callable[[], object]]:
    return [each.flush for each in (sys.stdout, sys.stderr) if each is not None]
