"""What a run that was itself killed by SIGKILL has left: the next one clears it away.

Every process of a run carries the variable MARKER, whose value begins with the pid of the program
that measures; its folder has that pid in its name.
"""

import os
import shutil
from pathlib import Path

from tests.support import leftovers

MARKER = "SDL_BENCH_RUN"
FOLDER_PREFIX = "sdl-bench-"


def sweep(parent: Path) -> list[str]:
    """End and remove what is of dead runs below *parent*; return a line for each of these."""
    lines = []
    for path in parent.glob(f"{FOLDER_PREFIX}*-*"):
        pid = path.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if not pid.isdigit() or _is_alive(pid):
            continue
        while left := _of_run(pid):
            leftovers.kill(left)
        shutil.rmtree(path, ignore_errors=True)
        lines.append(f"cleared away what a run that was killed had left: {path}")
    return lines


def _is_alive(pid: str) -> bool:
    return Path("/proc", pid).exists()


def _of_run(pid: str) -> set[int]:
    wanted = f"{MARKER}={pid}-".encode()
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            environment = Path("/proc", entry, "environ").read_bytes()
        except OSError:
            continue
        is_ours = any(variable.startswith(wanted) for variable in environment.split(b"\0"))
        if is_ours and leftovers.is_alive(int(entry)):
            found.add(int(entry))
    return found
