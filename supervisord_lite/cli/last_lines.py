"""The last lines of a run that is over, read with the rights of whoever asks.

What a process wrote just before its end may still be on its way to the file when its end is told,
so the file is looked at until it rests.
"""

import time
from typing import Any

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli.logfiles import LogFile
from supervisord_lite.cli.logspan import Wanted
from supervisord_lite.cli.telling import telling
from supervisord_lite.control.client import Client

_LINES = 5
#: From so many they are chosen.
_READ_LINES = 40
#: As long as nothing is there, and between two looks.
_MOST_WAIT_S = 1.0
_LOOK_S = 0.05


def last_lines(client: Client, name: str, run: int) -> list[str]:
    """Return the last lines of one run, stderr's where it is apart; empty: there are none to read.

    Args:
        client: Says where the files are.
        name: Of the worker.
        run: Its number.
    """
    try:
        files = client.call("LogFiles", {"names": [name]}).get("files") or []
    except SupervisordLiteError:
        return []
    paths = [path for file in files for path in _paths(file)]
    found: list[str] = []
    until_s = time.monotonic() + _MOST_WAIT_S
    while paths:
        before, found = found, next(filter(None, (_lines_of(path, run) for path in paths)), [])
        if (found and found == before) or time.monotonic() >= until_s:
            break
        time.sleep(_LOOK_S)
    return found


def _paths(file: dict[str, Any]) -> list[str]:
    """Return stderr's file, then stdout's; neither where it is none."""
    named = dict.fromkeys(str(file.get(stream)) for stream in ("stderr", "stdout"))
    return [path for path in named if path.startswith("/")]


def _lines_of(path: str, run: int) -> list[str]:
    log = LogFile(path)
    try:
        data = b"".join(log.tail_of(Wanted(run), _READ_LINES))
    except SupervisordLiteError:
        return []  # not ours to read, or nothing is known of that run
    finally:
        log.close()
    return telling(data.decode("utf-8", "backslashreplace").splitlines(), _LINES)
