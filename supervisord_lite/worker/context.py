"""Who this worker is, and whether it must stop: one object for the whole process."""

from __future__ import annotations

import os
import threading


class Context:
    """What a worker may know. Threads share it.

    Attributes:
        name: As people read it: "web", or "web-2" in a pool.
        pool: The worker's name without the number.
        instance: From 1.
    """

    def __init__(self, name: str, pool: str, instance: int) -> None:
        """Describe one worker; a test makes its own."""
        self.name = name
        self.pool = pool
        self.instance = instance
        self.is_watched = False
        self._stopping = threading.Event()

    @property
    def stopping(self) -> threading.Event:
        """Set once this worker must stop. Whoever has asked for it is never interrupted."""
        self.is_watched = True
        return self._stopping

    @property
    def must_stop(self) -> bool:
        """Return whether it is set, without asking for it."""
        return self._stopping.is_set()

    def sleep(self, seconds: float) -> bool:
        """Wait; return True when the time is over, False, and at once, when it must stop."""
        return not self.stopping.wait(seconds)

    def stop(self) -> None:
        """Say that this worker must stop. Not for signal handlers: it takes a lock."""
        self._stopping.set()


def _from_environment() -> Context:
    name = os.environ.get("SUPERVISORD_LITE_NAME", "worker")
    pool = os.environ.get("SUPERVISORD_LITE_POOL", name)
    number = os.environ.get("SUPERVISORD_LITE_INSTANCE", "1")
    return Context(name, pool, int(number) if number.isdecimal() else 1)


#: Of this process.
context = _from_environment()
