"""Compressing the full files of logs: one child at a time, and never in the scribe's own loop.

A file is compressed when it is full and has a number. The child (`compress_child.py`) dies with the
scribe, and what it leaves is always good; the next scribe looks for plain files when a run begins
on their log. One that could not be compressed stays as it is and is tried again at the next
rotation; it is told once.
"""

from __future__ import annotations

import json
import os

from supervisord_lite.base.errand import Errand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from supervisord_lite.scribe.files import LogFile, Segments

    class Child(Protocol):
        """What `Compression` is to us."""

        is_over: bool
        problem: str
        deadline_s: float

        def fileno(self) -> int:
            """Return the descriptor to watch for reading."""

        def receive(self, now_s: float) -> None:
            """Take what has come."""

        def close(self) -> None:
            """Let go of it."""

        def has_ended(self) -> bool:
            """Return whether nothing of it is left; never waits."""


#: A file that takes longer than this is left alone, in seconds.
LIMIT_S = 3600.0
#: Children that were given up and hang in the kernel: more would hang as they do.
_MOST_HUNG = 4


class Compression(Errand):
    """One child, from its start to its end.

    Attributes:
        problem: Why there is no compressed file, when it is over; empty: there is one.
    """

    _does = "compresses"
    _late = "it was not compressed within"

    def __init__(self, path: str, *, now_s: float) -> None:
        """Start to compress the file at *path*.

        Raises:
            OSError: No process could be started.
        """
        self.problem = ""
        self._is_done = False
        content = json.dumps({"parent": os.getpid()}).encode()
        super().__init__(
            "compress", path, environ={}, now_s=now_s, limit_s=LIMIT_S, content=content
        )

    def _take(self, line: bytes) -> None:
        word, _, reason = line.decode(errors="replace").partition(" ")
        self._is_done = word == "done"
        if word == "failed":
            self.problem = reason

    def _conclude(self, why: str) -> None:
        if not self._is_done:
            self.problem = self.problem or why


class Compressing:
    """What is to be compressed, and the child that is at it."""

    def __init__(
        self,
        segments: Segments,
        report: Callable[[LogFile, str, str], None],
        watch: Callable[[int], None],
        unwatch: Callable[[int], None],
        start: Callable[..., Child] = Compression,
    ) -> None:
        """Begin with nothing.

        Args:
            segments: The numbers of full files, and which are plain.
            report: Takes a file, "trouble" or "resumed", and the reason.
            watch: Lets a descriptor end the scribe's sleep.
            unwatch: Ends that.
            start: Starts a child.
        """
        self._segments = segments
        self._report = report
        self._watch = watch
        self._unwatch = unwatch
        self._start = start
        self._wanted: dict[bytes, LogFile] = {}
        self._failed: set[tuple[bytes, int]] = set()
        self._child: Child | None = None
        self._at: tuple[LogFile, int] | None = None
        self._hung: list[Child] = []

    @property
    def deadline_s(self) -> float | None:
        """When `go_on` has something to do although nothing has come; None: never."""
        return None if self._child is None else self._child.deadline_s

    @property
    def is_waiting(self) -> bool:
        """Whether `go_on` could begin with a file at once."""
        return bool(self._wanted) and self._child is None

    def want(self, file: LogFile) -> None:
        """Compress what is full of *file*, also what could not be compressed before."""
        if file.compress and file.backups:
            self._failed = {each for each in self._failed if each[0] != file.path_bytes}
            self._wanted[file.path_bytes] = file

    def has(self, descriptor: int) -> bool:
        """Return whether this is the descriptor of the child."""
        return self._child is not None and self._child.fileno() == descriptor

    def go_on(self, now_s: float) -> None:
        """Take what the child says, and start the next one."""
        child = self._child
        if child is not None:
            child.receive(now_s)
            if not child.is_over:
                return
            self._finish(child)
        self._hung = [each for each in self._hung if not each.has_ended()]
        while self._child is None and self._wanted and len(self._hung) < _MOST_HUNG:
            self._begin(now_s)

    def _begin(self, now_s: float) -> None:
        key, file = next(iter(self._wanted.items()))
        number = self._next_of(file)
        if number is None:
            del self._wanted[key]
            return
        try:
            self._segments.packed(file).add(number)
            child = self._start(file.segment_path(number), now_s=now_s)
        except OSError as error:
            self._fail(file, number, error.strerror or str(error))
            return
        self._child, self._at = child, (file, number)
        self._watch(child.fileno())

    def _next_of(self, file: LogFile) -> int | None:
        try:
            plain = self._segments.plain(file)
        except OSError:
            return None
        numbers = (n for n in sorted(plain) if (file.path_bytes, n) not in self._failed)
        return next(numbers, None)

    def _finish(self, child: Child) -> None:
        assert self._at is not None
        file, number = self._at
        self._unwatch(child.fileno())
        child.close()
        self._hung.append(child)  # until it is seen to have ended
        self._child = self._at = None
        try:
            is_there = bool(file.identity_at(file.segment_path(number)))
            if not is_there:
                self._segments.plain(file).discard(number)
        except OSError:
            is_there = True
        if not is_there:
            if file.compression_failed:
                file.compression_failed = False
                self._report(file, "resumed", "")
        else:
            self._fail(file, number, child.problem or "it is still there")

    def _fail(self, file: LogFile, number: int, why: str) -> None:
        self._failed.add((file.path_bytes, number))
        if not file.compression_failed:
            file.compression_failed = True
            name = os.path.basename(file.segment_path(number))
            self._report(file, "trouble", f"cannot compress {name}: {why}")
