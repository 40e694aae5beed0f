"""What `run` finds of an escalation before it: for `status` to show."""

import json
import os
import stat
from pathlib import Path

from supervisord_lite.config.effective import FILE_NAME
from supervisord_lite.scribe.note import LAST_ESCALATION

_MOST_BYTES = 1024 * 1024
_MOST_CHARACTERS = 500


def read_last_escalation(state_dir: str) -> dict[str, object] | None:
    """Return what is known of the last escalation, or None: there was none that can be read.

    Call it before effective.toml is written: each start and each reload writes that one, so a note
    that is newer belongs to the run of the daemon just before this one.

    Args:
        state_dir: Where the note stands.

    Returns:
        `at`, `worker`, `why` and `exit_status` as noted, and `is_recent`: it ended the last run.
    """
    path = f"{state_dir}/{LAST_ESCALATION}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                return None
            said = json.loads(file.read(_MOST_BYTES))
        texts = {name: said[name][:_MOST_CHARACTERS] for name in ("at", "worker", "why")}
        exit_status = int(said["exit_status"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # nothing depends on it
    is_recent = about.st_mtime_ns > _written_ns(f"{state_dir}/{FILE_NAME}")
    return {**texts, "exit_status": exit_status, "is_recent": is_recent}


def _written_ns(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
