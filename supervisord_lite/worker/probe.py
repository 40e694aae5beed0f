"""``INTERPRETER …/worker/probe.py FD``: import targets, and judge their arguments; run none.

What `check --imports` starts, once for each interpreter. On stdin comes a JSON list of objects with
`target`, `arguments` (names) and `preload`; to descriptor FD goes a line of JSON for each, in
order, with `ms` and, where it is wrong, `words`, `argument` and `hint`. What the imports print is
no business of ours, and goes where stdout and stderr go.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def judge(about: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be said of one target."""
    from supervisord_lite.worker import binding, story
    from supervisord_lite.worker.target import TargetError, find

    found: dict[str, Any] = {}
    begun_s = time.monotonic()
    try:
        for module in about.get("preload", ()):
            import_module(module)
        target = find(about["target"], path=[], script=None)
        binding.check(target, about["arguments"])
    except binding.MisfitError as error:
        found = {"words": error.problem, "argument": error.argument, "hint": error.hint}
    except TargetError as error:
        found = {"words": str(error)}
    except BaseException as error:  # noqa: BLE001  # a module may do anything while it is imported
        found = {"words": story.words_of(error), "hint": story.place_of(error)}
    return {"ms": (time.monotonic() - begun_s) * 1000, **found}


def main() -> NoReturn:
    """Judge all, and end."""
    directory = os.getcwd()  # noqa: PTH109
    # Beside this file, which is run by its path: our package cannot be found before.
    import_module("boot").make_importable()
    sys.path.insert(0, directory)
    answer = int(sys.argv[1])
    for about in json.load(sys.stdin):
        os.write(answer, json.dumps(judge(about)).encode() + b"\n")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # threads that the imports have started may never end


if __name__ == "__main__":
    main()
