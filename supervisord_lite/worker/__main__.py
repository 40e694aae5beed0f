"""``python -m supervisord_lite.worker pkg.mod:Target``: the child side of a Python worker."""

from __future__ import annotations

import json
import os
import signal
import sys

from supervisord_lite.worker.context import context
from supervisord_lite.worker.runner import run_target
from supervisord_lite.worker.target import VARIABLE, TargetError, find

_INTERRUPTED = 130
_USAGE = 2


def main(arguments: list[str]) -> int:
    """Run the one target that is named; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m supervisord_lite.worker package.module:Target\n")
        return _USAGE
    # Until it runs, SIGTERM ends it at once: there is nothing to finish yet.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Not for its own children: it may hold what only this worker should know.
    about = json.loads(os.environ.pop(VARIABLE, "{}"))
    try:
        target = find(arguments[0], path=about.get("path", []), script=about.get("script"))
        run_target(target, about.get("config", {}), context)
    except TargetError as error:
        sys.stderr.write(f"supervisord-lite worker {context.name}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
