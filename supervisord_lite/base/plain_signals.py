"""Signal masks and handlers by plain numbers.

The functions of `signal` turn every signal of a mask that they return into an enum: 125 us for a
block and its undoing. The keeper does that around each fork, and so does the child that a restart
waits for; what these functions are made of takes a fifteenth.
"""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

try:
    import _signal  # type: ignore[import-not-found]
except ImportError:  # an interpreter that is built otherwise
    _signal = signal


def change_mask(how: int, numbers: Iterable[int]) -> set[int]:
    """Do what signal.pthread_sigmask does; return the numbers that were blocked before."""
    before: set[int] = _signal.pthread_sigmask(how, numbers)
    return before


def restore_defaults(numbers: Iterable[int]) -> None:
    """Give each of *numbers* its default action."""
    for number in numbers:
        _signal.signal(number, _signal.SIG_DFL)
