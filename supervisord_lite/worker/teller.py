"""Status lines, as many as a worker likes: the latest is told, at most ten times in a second.

Each one that is told wakes three processes. One that comes too early waits, in case that another
one follows, and a thread that is started for it tells it when its time has come.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisord_lite.worker.voice import Voice

_EVERY_S = 0.1


class Teller:
    """Tells the latest status."""

    def __init__(self, voice: Voice) -> None:
        """Tell it with *voice*."""
        self._voice = voice
        self._lock = threading.Lock()
        self._told: str | None = None
        self._latest: str | None = None
        self._told_at_s = float("-inf")
        self._has_thread = False

    def tell(self, text: str) -> None:
        """Take the latest status; never waits."""
        with self._lock:
            self._latest = text
            if self._latest == self._told or self._has_thread:
                return
            if self._try(time.monotonic()):
                return
            self._has_thread = True
        thread = threading.Thread(target=self._tell_later, name="status", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the process ends
            self._has_thread = False

    def flush(self) -> None:
        """Tell what still waits, now."""
        with self._lock:
            if self._latest is not None and self._latest != self._told:
                self._send(self._latest, time.monotonic())

    def _try(self, now_s: float) -> bool:
        """Tell the latest if it is time; return whether there is nothing left to tell."""
        if self._latest is None or self._latest == self._told:
            return True
        return now_s >= self._told_at_s + _EVERY_S and self._send(self._latest, now_s)

    def _send(self, text: str, now_s: float) -> bool:
        self._told_at_s = now_s
        if self._voice.status(text):
            self._told = text
            return True
        return False

    def _tell_later(self) -> None:
        while True:
            time.sleep(max(0.0, self._told_at_s + _EVERY_S - time.monotonic()))
            with self._lock:
                if self._try(time.monotonic()):
                    self._has_thread = False
                    return
