"""/proc/PID/stat, taken apart: where which field stands after the name, which may hold anything.

Source: proc_pid_stat(5), whose fields count from 1 with the name as the second.
"""

from __future__ import annotations

import os

STATE = 0
PARENT = 1
SESSION = 3
USER_TICKS = 11
SYSTEM_TICKS = 12
THREADS = 17
STARTED_TICKS = 19
RSS_PAGES = 21
#: Where the environment begins in memory; "0" in the middle of exec, or of exit.
ENVIRONMENT_START = 47

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def has_ended(pid: int) -> bool:
    """Return whether a process is dead, waited for or not; false where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # no pathlib in the keeper
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return fields[STATE] in (b"Z", b"X")


def cpu_s(fields: list[str] | list[bytes]) -> float:
    """Return the seconds of CPU time that the process has used."""
    return (int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])) / _TICKS_PER_S
