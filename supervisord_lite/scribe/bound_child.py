"""What children of ours have in common that do one thing to a file and die with who started them.

Whoever starts one tells on descriptor 0 whose child it is (``{"parent": PID, …}``), and hears on 1
what came of it: one word, or "failed" and why.
"""

from __future__ import annotations

import json
import os
import signal

from supervisord_lite.base.prctl import die_with_parent, set_name
from supervisord_lite.scribe.note_child import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def do(
    arguments: list[str], work: Callable[[str, dict[str, Any]], None], *, name: str, done: str
) -> int:
    """Do *work* with the path and with what was told; return the exit code.

    Args:
        arguments: The path, and how many seconds this may take.
        work: What is to be done; an OSError of its is told.
        name: Of the process.
        done: The word that says that it is done.
    """
    path, limit_s = arguments[0], float(arguments[1])
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    die_with_parent()
    set_name(name)
    with open(0, "rb") as file:
        told = json.load(file)
    if os.getppid() != told["parent"]:
        return 1  # it died before we could ask to die with it
    try:
        work(path, told)
    except OSError as error:
        say(f"failed {error.strerror}\n")
        return 1
    say(f"{done}\n")
    return 0
