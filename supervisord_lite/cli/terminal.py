"""How wide the terminal is, for commands that start often: shutil would take 2 ms of each."""

import os
import sys

_COLUMNS = 80


def columns() -> int:
    """Return COLUMNS of the environment, else what the terminal says, else 80."""
    try:
        said = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        said = 0
    if said <= 0 and sys.__stdout__ is not None:
        try:
            said = os.get_terminal_size(sys.__stdout__.fileno()).columns
        except (OSError, ValueError):  # no terminal; closed
            said = 0
    return said if said > 0 else _COLUMNS
