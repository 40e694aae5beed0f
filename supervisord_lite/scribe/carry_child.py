"""The child that writes or removes carry.json: see supervisor/carry.py.

Unlike a note's, it dies with whoever started it: a successor writes what is in force by then, and
what is older must not come after that. So descriptor 0 also says whose child this is.
"""

from __future__ import annotations

import json
import os
import signal

from supervisord_lite.base.prctl import die_with_parent, set_name
from supervisord_lite.scribe.note_child import remove, say, write_whole


def main(arguments: list[str]) -> int:
    """Write or remove the file; say on 1 what came of it; return the exit code.

    Args:
        arguments: The path, and how many seconds this may take.
    """
    path, limit_s = arguments[0], float(arguments[1])
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    die_with_parent()
    set_name("sdl-carry")
    with open(0, "rb") as file:
        told = json.load(file)
    if os.getppid() != told["parent"]:
        return 1  # it died before we could ask to die with it
    try:
        if told["content"] is None:
            remove(path)
        else:
            write_whole(path, told["content"])
    except OSError as error:
        say(f"failed {error.strerror}\n")
        return 1
    say("written\n")
    return 0
