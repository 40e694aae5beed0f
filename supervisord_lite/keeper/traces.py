"""Traces: by what the next `run` finds whatever a keeper that is killed leaves alive.

Theory of operation
===================

Nobody writes anything down at a SIGKILL, so it is written before: one line of a file for each
process tree that this keeper has. What is alive when the next `run` holds the lock of the state
folder, it ends before it starts anything (cli/left_behind.py).

::

    run      ends what an earlier keeper left, makes the file, hands it on, open; notes its path
             in the lock of the state folder
    keeper   before a start: a line with marker, pipes, cgroup and time; behind it: the pid
             nothing of the tree is alive: the line is blank again
    the end  the file is removed

The file lies in memory: in the runtime folder where that is a tmpfs, else in /dev/shm. So nothing
here waits for a disk. It is written by pwrite(2) and never mapped: whoever may write the file
could cut it, and a store behind its end would kill the keeper. A line is `RECORD_BYTES` long and
lies within one page, so it is there as a whole or not at all, also when we are killed meanwhile.

What can be wrong with it is nothing but a loss: a worker with the daemon's own user may write what
it likes here, so nobody is signalled because of this file alone. It says whom to look at; what is
found there must show by itself that it is ours. A start does not fail because its line cannot be
written (a full memory); that is told once, and then the environment of the process is all that it
is found by.

=============================  ====================================================================
killed before the line         there is no process
between line and pid           the process has the marker, which is in the line; while it has not
                               come as far as exec it holds the lock, and no `run` goes on
a fork at its gate             ends with the keeper's end of the gate: it had no line, and no "go"
killed behind the pid          pid and time of birth are in the line
behind the end of a tree,      the line is of nobody: no process with that pid was born then
before the line is blank
=============================  ====================================================================

The time of birth is not read from /proc (30 us): the kernel's must lie between the two readings of
the clock that stand in the line. All numbers are of one boot and one namespace of pids, which the
first line names. It also says who the keeper is: its pid stays, whatever code it becomes. While it
lives nothing is left of it, whoever has the lock: another folder may have the same path.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.start import Start

VERSION = 1
#: A page is a multiple of it.
RECORD_BYTES = 1024
#: More trees than that are not written down.
MOST_RECORDS = 65536
_BLANK = b" " * (RECORD_BYTES - 1) + b"\n"


class Traces:
    """What stands in the file now.

    Attributes:
        when_failed: Told once why a line could not be written, for people.
    """

    def __init__(self, calls: Calls, descriptor: int, before: dict[str, Any] | None = None) -> None:
        """Go on with a file that has its first line.

        Args:
            calls: The seam.
            descriptor: Of the file; -1: there is none, and nothing is written.
            before: As another one has packed it.
        """
        self._calls = calls
        self._descriptor = descriptor if before is None else before["descriptor"]
        #: Marker, or role -> number of the line, and whether that has a pid.
        self._lines: dict[str, tuple[int, bool]] = {}
        if before is not None:
            self._lines = {key: (line[0], line[1]) for key, line in before["lines"].items()}
        # What `run` has written is not to be written over: those are held, see held.py.
        self._first = self._first_free() if before is None else before["first"]
        taken = {number for number, _ in self._lines.values()}
        self._next = max(taken, default=self._first - 1) + 1
        self._free = [each for each in range(self._first, self._next) if each not in taken]
        self._has_failed = False
        self.when_failed: Callable[[str], None] = lambda _why: None

    @property
    def descriptor(self) -> int:
        """Of the file; -1: there is none."""
        return int(self._descriptor)

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return it as JSON; *keep* is called with the descriptor."""
        descriptor = keep(self._descriptor)
        return {"descriptor": descriptor, "first": self._first, "lines": self._lines}

    def _first_free(self) -> int:
        """Return the number of the first line that says nothing."""
        number = 1
        while self._descriptor >= 0:
            line = os.pread(self._descriptor, RECORD_BYTES, number * RECORD_BYTES)
            if not line.strip(b" \n\0"):
                break
            number += 1
        return number

    def asked(self, start: Start) -> None:
        """A process is about to be made for *start*, which has all that it will have."""
        what = "run" if start.key[0] else "server"
        pipes = [os.fstat(stream.descriptor).st_ino for stream in start.streams]
        request = start.request
        self.note(
            request["marker"], what=what, key=start.key, name=request["name"],
            cgroup=start.cgroup, pipes=pipes,
        )  # fmt: skip

    def note(self, marker: str, **about: object) -> None:
        """A process is about to be made.

        Args:
            marker: INVOCATION_ID in its environment.
            about: `what`: "run", "server" or "probe"; `key`: pool, index and run; `name` for
                people; `cgroup`: path, or None; `pipes`: numbers of those to the log that it has
                as its output.
        """
        if self._descriptor < 0:
            return
        if number := self._number(marker):
            self._lines[marker] = (number, False)
            self._write(number, record({"marker": marker, **about}, from_ns=_now_ns()))

    def born(self, marker: str, pid: int) -> None:
        """What was asked for has a process."""
        number, has_pid = self._lines.get(marker, (0, True))
        if not has_pid:
            self._lines[marker] = (number, True)
            self._write(number, _birth(pid, _now_ns()))

    def own(self, role: str, pid: int, from_ns: int) -> None:
        """One of the daemon's own processes was started, not before *from_ns*."""
        if self._descriptor < 0 or not (number := self._number(role)):
            return
        self._lines[role] = (number, True)
        self._write(number, record({"what": role}, pid, from_ns, _now_ns()))

    def gone(self, marker: str) -> None:
        """Nothing of that tree is alive, or it never began; or that process of our own."""
        number, _ = self._lines.pop(marker, (0, True))
        if number:
            self._write(number, _BLANK)
            self._free.append(number)

    def _number(self, key: str) -> int:
        """Return the number of a line to write, 0 if there is none left."""
        if key in self._lines:
            return self._lines[key][0]
        if self._free:
            return self._free.pop()
        if self._next > MOST_RECORDS:
            self._failed("too many processes")
            return 0
        self._next += 1
        return self._next - 1

    def _write(self, number: int, data: bytes) -> None:
        try:
            self._calls.pwrite(self._descriptor, data, number * RECORD_BYTES)
        except OSError as error:
            self._failed(os.strerror(error.errno or 0))

    def _failed(self, why: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            self.when_failed(why)


def now_ns() -> int:
    """Return the clock by which the kernel tells when a process was born, in ns."""
    return _now_ns()


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def record(about: Mapping[str, object], pid: int = 0, from_ns: int = 0, to_ns: int = 0) -> bytes:
    """Return one line; of what does not fit the cgroup is left out first, then the names."""
    head = b'%s, "from": %d, ' % (_birth(pid, to_ns), from_ns)
    data = head + json.dumps(about).encode("ascii")[1:]
    without: tuple[dict[str, object], ...] = (
        {"cgroup": None},
        {"cgroup": None, "key": [], "name": ""},
    )
    for shorter in without:
        if len(data) >= RECORD_BYTES:
            data = head + json.dumps({**about, **shorter}).encode("ascii")[1:]
    return data.ljust(RECORD_BYTES - 1) + b"\n"


def _birth(pid: int, to_ns: int) -> bytes:
    """Return what a line begins with: always as long, to be written over."""
    return b'{"pid": %10d, "to": %20d' % (pid, to_ns)


def records(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return what lines say that can be understood, and how many others there are."""
    found, damaged = [], 0
    for at in range(0, min(len(data), (MOST_RECORDS + 1) * RECORD_BYTES), RECORD_BYTES):
        text = data[at : at + RECORD_BYTES].strip(b" \n\0")
        if not text:
            continue
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            damaged += 1
            continue
        if isinstance(said, dict):
            found.append(said)
        else:
            damaged += 1
    return found, damaged
