"""How many units of work this process has done, told as `X_RUNS=`, for `recycle.runs`.

The daemon wants a count to a hundredth, so no more is told: of a million turns about a thousand.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisord_lite.worker.voice import Voice


class Tally:
    """Counts, and tells.

    Attributes:
        done: So many.
    """

    def __init__(self, voice: Voice) -> None:
        """Tell it with *voice*."""
        self.done = 0
        self._voice = voice
        self._lock = threading.Lock()
        self._told = 0

    def add(self, runs: int = 1) -> None:
        """So many more are done; never waits."""
        with self._lock:
            self.done += runs
            # One that cannot be told now is told with the next.
            if self.done > self._told + self._told // 100 and self._voice.say(
                f"X_RUNS={self.done}"
            ):
                self._told = self.done
