"""The child that reads the event journal: see reading.py."""

from __future__ import annotations

import json
import os
import signal
import stat
import time

from supervisord_lite.base.prctl import set_name
from supervisord_lite.scribe.note_child import last_lines
from supervisord_lite.scribe.selection import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: How long what was told just before the question may take to the disk, and between two looks.
_UNTIL_S = 2.0
_LOOK_S = 0.01
#: Most bytes of an answer: it stands in the daemon's memory until it is sent.
_MOST_BYTES = 3 * 1024 * 1024
#: Most of one file: the scribe renames it long before that.
_FILE_BYTES = 64 * 1024 * 1024
#: Of a log, for people to choose from.
_LAST_LINES = 40
_TAIL_BYTES = 16 * 1024
#: Of the number in an id: nobody has counted further.
_MOST_DIGITS = 18
#: Events about no worker that belong to every worker's story.
_OF_ALL = ("daemon.", "supervisor.", "config.reloaded", "upgrade.failed")


def main(arguments: list[str]) -> int:
    """Answer what stands in descriptor 0 on descriptor 1; return the exit code.

    The question: `until`, the id of the last event that is wanted, and should be there; `most`, how
    many events; and either `slots`, [pool, instance] each, for so many of each with those about the
    daemon between them, or `events` and `names` (see selection.py), `after` (an id) and `since`
    (RFC 3339, UTC, with milliseconds). `tails`: for which log files the last lines are wanted,
    [name, path, run] each.

    Args:
        arguments: The path of the journal, and how many seconds this may take.
    """
    path, limit_s = arguments[0], float(arguments[1])
    # Its default ends the process, wherever it can be ended.
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    set_name("sdl-reading")
    with open(0, "rb") as file:
        question = json.load(file)
    try:
        is_there = _wait_for(path, question["until"])
        found = of_workers(path, question) if question.get("slots") else chosen(path, question)
    except OSError as error:
        _say(b"failed " + (error.strerror or repr(error)).encode() + b"\n")
        return 1
    answer = [b"event " + line for line in reversed(found)]
    answer.append(b"done" if is_there else b"done late")
    _say(b"\n".join(answer) + b"\n")
    # Only now: what they are read from may hang.
    for name, tail, run in question.get("tails", ()):
        told = {"name": name, "path": tail, "lines": last_lines(tail, run, _LAST_LINES)}
        _say(b"tail " + json.dumps(told).encode() + b"\n")
    return 0


def chosen(path: str, question: dict[str, Any]) -> list[bytes]:
    """Return the newest events that are wanted, the newest first.

    Raises:
        OSError: The journal cannot be read.
    """
    selection = Selection(question.get("events") or (), question.get("names") or ())
    after, since = _parts(question.get("after") or ""), question.get("since") or ""
    found: list[bytes] = []
    size = 0
    until = _parts(question.get("until") or "")
    for line in _lines(path):
        event = _event(line)
        if event is None:
            continue
        life, number = _parts(event["id"])
        if life == until[0] and number > until[1]:
            continue  # who follows is told that by the supervisor
        if life == after[0] and number <= after[1]:
            break
        if str(event.get("at")) >= since and selection.has(event):
            if len(found) >= question["most"] or size + len(line) > _MOST_BYTES:
                break
            found.append(line)
            size += len(line)
    return found


def of_workers(path: str, question: dict[str, Any]) -> list[bytes]:
    """Return the newest events of some workers and of the daemon, the newest first.

    Raises:
        OSError: The journal cannot be read.
    """
    left = {(pool, index): int(question["most"]) for pool, index in question["slots"]}
    marks = [f'"pool":"{pool}"'.encode() for pool in dict.fromkeys(pool for pool, _ in left)]
    marks += [f'"event":"{start}'.encode() for start in _OF_ALL]
    found: list[bytes] = []
    size = 0
    for line in _lines(path):
        if not any(mark in line for mark in marks) or (event := _event(line)) is None:
            continue
        slot = str(event.get("pool")), event.get("instance")
        if slot[1] is not None:
            if type(slot[1]) is not int or not left.get(slot, 0):
                continue
            left[slot] -= 1
        size += len(line)
        if size > _MOST_BYTES:
            break
        found.append(line)
        if not any(left.values()):
            break
    return found


def _wait_for(path: str, until: str) -> bool:
    """Wait until an event is on the disk, but not for long; return whether it is."""
    life, number = _parts(until)
    if number == 0:
        return True
    end_s = time.monotonic() + _UNTIL_S
    while True:
        is_last = time.monotonic() >= end_s
        newest = _parts(_newest_id(path))
        if newest[0] == life and newest[1] >= number:
            return True
        if is_last:
            return False
        time.sleep(_LOOK_S)


def _newest_id(path: str) -> str:
    for data in _contents(path, _TAIL_BYTES):
        for line in reversed(data.splitlines()):
            event = _event(line)
            if event is not None:
                return str(event["id"])
        if data:
            return ""
    return ""


def _lines(path: str) -> Iterator[bytes]:
    """Yield the lines of all files, the newest first."""
    for data in _contents(path, _FILE_BYTES):
        yield from reversed(data.splitlines())


def _contents(path: str, most_bytes: int) -> Iterator[bytes]:
    """Yield the end of each file, the newest first, each file once.

    The file is read before the folder: one that is renamed in between is known by its identity.
    """
    seen: set[tuple[int, int]] = set()
    yield _content(path, most_bytes, seen)
    for number in _numbers(path):
        yield _content(f"{path}.{number}", most_bytes, seen)


def _numbers(path: str) -> list[int]:
    """Return the numbers of full files, the newest first: a higher number is newer."""
    folder, name = os.path.split(path)
    numbers = []
    try:
        for found in os.listdir(folder or "/"):
            suffix = found.removeprefix(f"{name}.")
            if suffix != found and suffix.isascii() and suffix.isdigit():
                numbers.append(int(suffix))
    except FileNotFoundError:
        return []
    return sorted(numbers, reverse=True)


def _content(path: str, most_bytes: int, seen: set[tuple[int, int]]) -> bytes:
    """Return the end of one file; nothing where there is none, none of ours, or one seen."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""  # it was renamed, or removed, meanwhile
    try:
        about = os.fstat(descriptor)
        identity = about.st_dev, about.st_ino
        if identity in seen or not stat.S_ISREG(about.st_mode):
            return b""
        seen.add(identity)
        pieces = []
        place = max(0, about.st_size - most_bytes)
        while piece := os.pread(descriptor, 1 << 20, place):
            pieces.append(piece)
            place += len(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def _event(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line; None: it is no whole one."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("id"), str) else None


def _parts(name: str) -> tuple[str, int]:
    """Return life and number of an id; ("", 0) for what is none."""
    life, _, number = name.rpartition("-")
    is_number = number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS
    return (life, int(number)) if life and is_number else ("", 0)


def _say(data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError:
        return  # nobody listens any more
