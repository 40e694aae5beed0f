"""SIGTERM, taken to a thread where locks may be taken.

A signal handler runs in the middle of whatever the main thread does. `Event.set` needs a lock that
the main thread may hold right there, inside `Event.wait`: it would wait for itself. So the handler
starts a thread, which does the rest. Until then there is none: it would cost each worker of a pool
memory that they can share, and a process with threads should not be forked.

A forked child (of `multiprocessing`, say) has that handler too, and asyncio's: a `terminate()` of
the child would run the parent's stop in it, and the child would live on. So in children SIGTERM is
what it is in any program, unless the target has a handler of its own.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Stops are carried out one after the other, as if one thread did it.
_turn = _thread.allocate_lock()


def on_sigterm(act: Callable[[], object], *, interrupt: Callable[[], object] | None = None) -> None:
    """Call *act* in a thread of its own at each SIGTERM from now on. Call on the main thread.

    Args:
        act: May take locks and may last.
        interrupt: Called in the handler itself, before that; may raise in the main thread, and must
            not take locks.
    """

    def handle(_number: int, _frame: object) -> None:
        if interrupt is not None:
            interrupt()
        try:
            # Not of `threading`, whose locks the main thread may hold.
            _thread.start_new_thread(_do, (act,))
        except RuntimeError:
            act()  # no more threads: that it waits for itself is a risk, that it goes on is certain

    signal.signal(signal.SIGTERM, handle)
    keep_from_children()


def _do(act: Callable[[], object]) -> None:
    try:
        with _turn:
            act()
    except BaseException as error:  # noqa: BLE001  # as of any thread
        about = (type(error), error, error.__traceback__, threading.current_thread())
        threading.excepthook(threading.ExceptHookArgs(about))


def keep_from_children(*, wakes: bool = False) -> None:
    """Let the handler of SIGTERM that is in force now not be one of forked children.

    Args:
        wakes: It is woken by a descriptor (asyncio); children must not write to that.
    """
    ours = signal.getsignal(signal.SIGTERM)

    of_thread = threading.local()  # each may be forking

    def hold() -> None:
        # One that comes before the child has forgotten would be taken by the handler.
        of_thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def go_on() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, of_thread.mask)

    def forget() -> None:
        try:
            if signal.getsignal(signal.SIGTERM) is ours:
                if wakes:
                    signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        finally:
            go_on()

    os.register_at_fork(before=hold, after_in_parent=go_on, after_in_child=forget)
