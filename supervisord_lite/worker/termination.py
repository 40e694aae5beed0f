"""SIGTERM, taken to a thread where locks may be taken.

A signal handler runs in the middle of whatever the main thread does. `Event.set` needs a lock that
the main thread may hold right there, inside `Event.wait`: it would wait for itself. So the handler
only writes to a pipe, and a thread does the rest.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def on_sigterm(act: Callable[[], object], *, interrupt: Callable[[], object] | None = None) -> None:
    """Call *act* in a thread of its own at each SIGTERM from now on. Call on the main thread.

    Args:
        act: May take locks and may last.
        interrupt: Called in the handler itself, before that; may raise in the main thread, and must
            not take locks.
    """
    reader, writer = os.pipe()

    def handle(_number: int, _frame: object) -> None:
        if interrupt is not None:
            interrupt()
        os.write(writer, b"\0")

    def listen() -> None:
        while os.read(reader, 1):
            act()

    threading.Thread(target=listen, name="sigterm", daemon=True).start()
    signal.signal(signal.SIGTERM, handle)
