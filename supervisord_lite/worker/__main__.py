"""``python -m supervisord_lite.worker pkg.mod:Target``: a target without a daemon's record.

So somebody tries a target by hand, and so the library starts its own: its command is one like any
other, and what it must say beyond that stands in an environment variable.
"""

from __future__ import annotations

import json
import os
import sys

from supervisord_lite.worker.launched import run
from supervisord_lite.worker.target import VARIABLE

_USAGE = 2


def main(arguments: list[str]) -> int:
    """Run the one target that is named; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m supervisord_lite.worker package.module:Target\n")
        return _USAGE
    # Not for its own children: it may hold what only this worker should know.
    about = json.loads(os.environ.pop(VARIABLE, "{}"))
    name = os.environ.get("SUPERVISORD_LITE_NAME", "worker")
    number = os.environ.get("SUPERVISORD_LITE_INSTANCE", "1")
    watchdog_usec = os.environ.get("WATCHDOG_USEC", "")
    return run(
        {
            **about,
            "target": arguments[0],
            "name": name,
            "pool": os.environ.get("SUPERVISORD_LITE_POOL", name),
            "instance": int(number) if number.isdecimal() else 1,
            # As of any other program: who has such a socket is asked for its own word.
            "notify": os.environ.get("NOTIFY_SOCKET"),
            "ready": "notify",
            "heartbeat_timeout_s": int(watchdog_usec) / 1e6 if watchdog_usec.isdecimal() else None,
        }
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
