"""The child that writes one file: see note.py."""

from __future__ import annotations

import json
import os
import signal
import stat

from supervisord_lite.base import way
from supervisord_lite.base.prctl import set_name
from supervisord_lite.base.temporary import remove_left, temporary_beside
from supervisord_lite.scribe.marks import beginning_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TAIL_BYTES = 8192
_TAIL_LINES = 20


def main(arguments: list[str]) -> int:
    """Write what stands in descriptor 0; say on 1 what came of it; return the exit code.

    Args:
        arguments: The path, and how many seconds this may take.
    """
    path, limit_s = arguments[0], float(arguments[1])
    # Its default ends the process, wherever it can be ended.
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # the file is wanted, whoever asked is dead
    set_name("sdl-note")
    with open(0, "rb") as file:
        content = json.load(file)
    try:
        write_whole(path, content)
    except OSError as error:
        say(f"failed {error.strerror}\n")
        return 1
    say("written\n")
    # Only now: what it would be read from may hang.
    found = False
    for worker in content.get("workers", ()):
        if worker.get("output"):
            worker["last_lines"] = last_lines(worker["output"])
            found = found or bool(worker["last_lines"])
    if found:
        try:
            write_whole(path, content)
        except OSError:
            return 1  # the one without last lines stays
    return 0


def write_whole(path: str, content: dict[str, Any]) -> None:
    """Write *content* to *path*, which is replaced at once and survives a power cut.

    Raises:
        OSError: It could not be written; an older file stays.
    """
    folder = os.path.dirname(path)
    # Its own: the child of a supervisor that was killed may be writing the same note just now.
    temporary = temporary_beside(path)
    data = memoryview(json.dumps(content, indent=2).encode() + b"\n")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    """Let there be no file *path*, and nothing of it that was never finished.

    Raises:
        OSError: It could not be removed.
    """
    remove_left(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def last_lines(path: str, run: int | None = None, most: int = _TAIL_LINES) -> list[str]:
    """Return the last lines of a log file; none where it cannot be read.

    Args:
        path: Of the log.
        most: So many lines at most.
        run: Only what this run has said, as far as marks tell; None: whatever is last.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        # Whoever asks reads with our rights: not what somebody has put in place of the log.
        descriptor = way.open_file(path, flags)
    except OSError:
        return []
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return []
        begin = 0 if run is None else beginning_of(path, run, (about.st_dev, about.st_ino))
        start = max(begin, about.st_size - _TAIL_BYTES)
        is_cut = start > begin
        text = os.pread(descriptor, _TAIL_BYTES, start).decode("utf-8", "backslashreplace")
    except OSError:
        return []
    finally:
        os.close(descriptor)
    lines = text.splitlines()
    return lines[1 if is_cut and len(lines) > 1 else 0 :][-most:]


def say(line: str) -> None:
    """Tell whoever started this process; that may be nobody any more."""
    try:
        os.write(1, line.encode())
    except OSError:
        return  # nobody listens any more
