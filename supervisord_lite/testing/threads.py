"""Threads that belong to the worker that has started them, while a test runs any.

A thread begins with no context variables, so one that a worker starts would find itself in no
worker. While at least one worker runs in a test, each thread takes over the variables of the thread
that starts it; a crash of one that belongs to a worker is that worker's crash.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import weakref
from types import FrameType
from typing import Any

from supervisord_lite.testing.host import ThreadHost

#: Of the worker that runs here.
own: contextvars.ContextVar[ThreadHost] = contextvars.ContextVar("supervisord_lite_host")
_owners: weakref.WeakKeyDictionary[threading.Thread, ThreadHost] = weakref.WeakKeyDictionary()
_lock = threading.Lock()
_following: list[tuple[Any, Any]] = []
_count = 0


def follow() -> None:
    """From now on threads are followed, until `leave` has been called as often."""
    global _count  # of the process
    with _lock:
        _count += 1
        if _count > 1:
            return
        start, hook = threading.Thread.start, threading.excepthook
        _following[:] = [(start, hook)]

        def start_with_variables(self: threading.Thread) -> None:
            host = own.get(None)
            if host is not None:
                host.take(self)
                _owners[self] = host
                here, run = contextvars.copy_context(), self.run
                self.run = lambda: here.run(run)  # type: ignore[method-assign]
            start(self)

        def crashed(crash: threading.ExceptHookArgs, /) -> None:
            # Its variables are gone by now.
            host = None if crash.thread is None else _owners.get(crash.thread)
            if host is None or crash.exc_value is None:
                hook(crash)
            elif crash.exc_type is not SystemExit:
                host.crashed(crash.exc_value)

        threading.Thread.start = start_with_variables  # type: ignore[method-assign]
        threading.excepthook = crashed


def leave() -> None:
    """One worker less: the last one puts everything back."""
    global _count
    with _lock:
        _count -= 1
        if _count == 0:
            start, hook = _following.pop()
            threading.Thread.start = start  # type: ignore[method-assign]
            threading.excepthook = hook


def frame_of(thread: threading.Thread) -> FrameType | None:
    """Return what a thread is just doing; None: it has ended."""
    return sys._current_frames().get(thread.ident or -1)  # noqa: SLF001  # there is no other way
