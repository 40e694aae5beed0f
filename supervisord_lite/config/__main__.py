"""The child that reads the configuration for the daemon: see loading.py."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from supervisord_lite.base import exit_codes
from supervisord_lite.base.prctl import set_name
from supervisord_lite.config.spec import Configuration, settings_from_json, to_json, to_short_json

if TYPE_CHECKING:
    from typing import IO

    from supervisord_lite.config.errors import Problem

#: Told to whoever asked for a reload: all of it has to fit into one answer.
_MOST_PROBLEMS = 1000
#: Characters of the line that is shown with a problem.
_MOST_SOURCE = 1000


def main(arguments: list[str]) -> int:
    """Answer on descriptor 1, wait on 0 for what becomes of it, and end.

    Args:
        arguments: The file, and how many seconds this may take.
    """
    path, limit_s = arguments[0], float(arguments[1])
    # Its default ends the process, wherever it hangs.
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody wants the answer any more
    set_name("sdl-config")
    gc.disable()  # everything that is made here is needed until the end
    with open(1, "w", encoding="utf-8", newline="\n") as answer:
        configuration = _judge(path, answer)
        answer.flush()
        if configuration is None:
            return exit_codes.CONFIGURATION
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        word, _, settings = sys.stdin.readline().partition(" ")
        if word == "force":
            _write(Configuration(settings_from_json(settings), configuration.specs), answer)
    return exit_codes.OK


def _judge(path: str, answer: IO[str]) -> Configuration | None:
    # Behind the alarm: to import is to read from a disk.

    from supervisord_lite.config.digests import digests_of
    from supervisord_lite.config.errors import ConfigurationError, render
    from supervisord_lite.config.secret_digests import KEY_VARIABLE, sealed
    from supervisord_lite.config.settled import judge_settled

    key = os.environ.pop(KEY_VARIABLE, "")
    try:
        judged = judge_settled(path, environ=os.environ, as_root=os.geteuid() == 0)
        configuration = sealed(judged.configuration, key, os.environ)
    except ConfigurationError as error:
        # The message says how many there are in all.
        problems = [_shortened(problem) for problem in error.problems[:_MOST_PROBLEMS]]
        told = {"message": str(error), "problems": problems, "count": len(error.problems)}
        _say(answer, "bad", told)
        return None
    except Exception as error:
        # A fault of ours must not be the end of the daemon; the traceback goes to its stderr.
        message = f"the configuration could not be read: {error!r}"
        _say(answer, "bad", {"message": message, "problems": [], "count": 0})
        answer.flush()
        raise
    answer.write(f"settings {to_json(configuration.settings)}\n")
    for spec in configuration.specs:
        answer.write(f"spec {to_short_json(spec)}\n")
    said = {
        "files": judged.files,
        "warnings": render(judged.warnings, "warning"),
        "digests": digests_of(judged.documents),
    }
    _say(answer, "good", said)
    return configuration


def _shortened(problem: Problem) -> dict[str, object]:
    """Return a problem without its line where that is too long for anybody to read."""
    told = problem._asdict()
    if len(problem.source) > _MOST_SOURCE:
        told["source"] = ""
    return told


def _write(configuration: Configuration, answer: IO[str]) -> None:
    from supervisord_lite.config.effective import write_effective
    from supervisord_lite.config.modes import set_modes

    path = configuration.settings.control_path
    try:
        failed = set_modes(configuration)
    except FileNotFoundError:
        failed = ""  # there is no socket to be opened to anybody
    except OSError as error:
        failed = f"modes of {path}: {error.strerror}"
    try:
        write_effective(configuration)
    except OSError as error:
        failed = failed or f"{configuration.settings.state_dir}: {error.strerror}"
    _say(answer, "written", failed or None)


def _say(answer: IO[str], word: str, value: object) -> None:
    answer.write(f"{word} {json.dumps(value)}\n")
