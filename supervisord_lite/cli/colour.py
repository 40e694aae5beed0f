"""Colour, on a terminal only: how a worker is, at a glance.

Nothing is said by colour alone. `NO_COLOR` in the environment (https://no-color.org) and a terminal
that is "dumb" get none.
"""

import os
import sys

_RED, _YELLOW, _GREEN, _DIM = 31, 33, 32, 2
_OF_STATE = {
    "running": _GREEN,
    "tripped": _RED,
    "backoff": _YELLOW,
    "probing": _YELLOW,
    "starting": _YELLOW,
    "stopping": _YELLOW,
    "stopped": _DIM,
    "exited": _DIM,
    "waiting": _DIM,
}


def is_wanted() -> bool:
    """Return whether what is printed goes to a terminal whose owner wants colour."""
    environ = os.environ
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def of_state(text: str, state: str, *, is_good: bool = True) -> str:
    """Return *text* in the colour of a state; red where it is *not* as it should be."""
    code = _OF_STATE.get(state)
    if not is_good and code in (_GREEN, _DIM):
        code = _YELLOW if state == "running" else _RED
    return text if code is None else f"\x1b[{code}m{text}\x1b[0m"


def warning(text: str) -> str:
    """Return a line that somebody should read."""
    return f"\x1b[{_RED}m{text}\x1b[0m"
