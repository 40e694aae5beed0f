"""Rotation by age: when a log's file is old, from the time of its first line on.

A file that was begun at T is old at T + `max_age`, and is renamed then: at once where it ends with
a whole line, also when nothing is written to it; else behind the line that is being written. So a
file per day is a file per day, of a quiet worker too. An empty file is never old. One whose worker
does not run is looked at when it runs again.

No state of its own is kept: the first mark of a file (marks.py) says when it was begun. A file
without marks counts from its last change. In a process that lives, the monotonic clock counts; a
jump of the wall clock matters to the next scribe only.
"""

from __future__ import annotations

import os
import stat

from supervisord_lite.scribe.marks import MAX_BYTES, marks_path, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.scribe.calls import Calls
    from supervisord_lite.scribe.files import LogFile

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Ages:
    """When which file is old; all of it is the writer thread's, and without the lock."""

    def __init__(
        self, calls: Calls, now_s: Callable[[], float], wall_s: Callable[[], float]
    ) -> None:
        """Take the seam, the monotonic clock and the wall clock."""
        self._calls = calls
        self._now_s = now_s
        self._wall_s = wall_s
        self._files: dict[bytes, LogFile] = {}

    def look(self, file: LogFile) -> None:
        """Find out how old the file at its path is, if that is not known."""
        if not file.max_age_s:
            self.forget(file)
            return
        if file.aged_identity and file.aged_identity == file.identity:
            return
        file.old_at_s = None
        self._files[file.path_bytes] = file
        try:
            status = self._calls.lstat(file.path)
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return
            begun_s = self._begun_s(file.path, (status.st_dev, status.st_ino))
        except OSError:
            return  # what it does to the log is told by the log
        age_s = self._wall_s() - (status.st_mtime if begun_s is None else begun_s)
        file.old_at_s = self._now_s() + file.max_age_s - max(0.0, age_s)
        file.aged_identity = file.identity_of(status)

    def wrote(self, file: LogFile) -> None:
        """Something was written: where that has begun a file, its time begins."""
        if file.max_age_s and file.offset and file.identity != file.aged_identity:
            file.old_at_s = self._now_s() + file.max_age_s
            file.aged_identity = file.identity

    def forget(self, file: LogFile) -> None:
        """No stream needs this file any more, or it may become as old as it likes."""
        self._files.pop(file.path_bytes, None)
        file.old_at_s = None
        file.aged_identity = 0

    @property
    def deadline_s(self) -> float | None:
        """When `old` has something; None: never."""
        return min((at_s for f in self._files.values() if (at_s := _due_s(f)) is not None),
                   default=None)  # fmt: skip

    def old(self) -> list[LogFile]:
        """Return the files that are to be rotated now."""
        now_s = self._now_s()
        due = ((file, _due_s(file)) for file in self._files.values())
        return [file for file, at_s in due if at_s is not None and at_s <= now_s]

    def _begun_s(self, path: str, identity: tuple[int, int]) -> float | None:
        try:
            descriptor = self._calls.open(marks_path(path), _READ)
        except FileNotFoundError:
            return None
        try:
            marks = parse(self._calls.pread(descriptor, 2 * MAX_BYTES, 0))
        finally:
            self._calls.close(descriptor)
        # An inode may be used again: those behind the last mark of another file are meant.
        begun_s = None
        for mark in reversed(marks):
            if mark.file is not None and mark.file != identity:
                break
            begun_s = mark.at_s if mark.file is not None else begun_s
        return begun_s


def _due_s(file: LogFile) -> float | None:
    """Return when a file is to be rotated that ends with a whole line; None: not by itself."""
    if file.old_at_s is None or file.entry.line_start < file.offset:
        return None
    retry_at_s = file.retry_at_s if file.entry.trouble else 0.0
    return max(file.old_at_s, file.rotate_at_s, retry_at_s)
