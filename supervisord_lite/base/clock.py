"""Time and chance are arguments: the protocols, and the real ones."""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """Where now comes from."""

    def now_s(self) -> float:
        """Return seconds on a clock that never jumps (CLOCK_MONOTONIC)."""

    def wall_s(self) -> float:
        """Return seconds since the epoch, for display only."""


class Rng(Protocol):
    """Where chance comes from."""

    def random(self) -> float:
        """Return a draw from [0, 1)."""


class SystemClock:
    """The machine's clocks."""

    def now_s(self) -> float:
        """Return CLOCK_MONOTONIC in seconds: one scale for all processes of one boot."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Return the wall clock in seconds since the epoch."""
        return time.time()  # noqa: TID251  # this is the injected clock


class SystemRng:
    """Chance from the operating system; `random` would cost a resident process a megabyte."""

    def random(self) -> float:
        """Return a draw from [0, 1)."""
        return (int.from_bytes(os.urandom(7), "big") >> 3) / (1 << 53)
