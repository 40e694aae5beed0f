"""What `run` finds of an escalation before it: for `status` to show."""

import contextlib
import json
import os
import stat
from pathlib import Path

from supervisord_lite.config.effective import FILE_NAME
from supervisord_lite.scribe.note import LAST_ESCALATION

_MOST_BYTES = 1024 * 1024
_MOST_CHARACTERS = 500
_MOST_EXIT_STATUS = 255


def read_last_escalation(state_dir: str) -> dict[str, object] | None:
    """Return what is known of the last escalation, or None: there was none that can be read.

    Call it before effective.toml is written: each start and each reload writes that one, so a note
    that is newer belongs to the run of the daemon just before this one.

    Args:
        state_dir: Where the note stands.

    Returns:
        `at`, `worker`, `why` and `exit_status` as noted, and `is_recent`: it ended the last run.
    """
    _remove_unfinished(state_dir)
    path = f"{state_dir}/{LAST_ESCALATION}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
                return None
            said = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None  # nothing depends on it
    told = _judged(said)
    if told is None:
        return None
    return {**told, "is_recent": about.st_mtime_ns > _written_ns(f"{state_dir}/{FILE_NAME}")}


def _judged(said: object) -> dict[str, object] | None:
    """Return what a note says, or None where it is not one of ours."""
    if not isinstance(said, dict):
        return None
    told: dict[str, object] = {}
    for name in ("at", "worker", "why"):
        text = said.get(name)
        if not isinstance(text, str):
            return None
        told[name] = text[:_MOST_CHARACTERS]
    exit_status = said.get("exit_status")
    if type(exit_status) is not int or not 0 <= exit_status <= _MOST_EXIT_STATUS:
        return None
    return {**told, "exit_status": exit_status}


def _remove_unfinished(state_dir: str) -> None:
    """Remove notes that were never finished: a disk had frozen, and whoever wrote them was killed.

    Whoever still writes one gives it its name yet, or removes it.
    """
    start = f".{LAST_ESCALATION}."
    with contextlib.suppress(OSError):
        for file in Path(state_dir).iterdir():
            pid = file.name.removeprefix(start)
            is_one = file.name.startswith(start) and pid.isascii() and pid.isdigit()
            if is_one and not Path("/proc", pid).exists():
                with contextlib.suppress(OSError):
                    file.unlink()


def _written_ns(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
