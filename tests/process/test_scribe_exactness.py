"""Killed at every single point, a scribe loses nothing, doubles nothing and cuts nothing.

Deterministic: scribes in this process die in their Nth system call, for every N, or have their Nth
disk call fail, for every N.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.scribe import segments, whole
from tests.support.scribe_inside import FaultyCalls, Inside

if TYPE_CHECKING:
    from pathlib import Path

LINES = [b"%03d %s\n" % (i, b"x" * (i * 7 % 31)) for i in range(24)]
#: What arrives between two rests of the scribe: small pieces, half lines, many lines at once.
ARRIVALS = [
    b"".join(LINES[:3]),
    LINES[3][:5],
    LINES[3][5:] + LINES[4][:1],
    LINES[4][1:],
    b"".join(LINES[5:12]),
    b"".join(LINES[12:24]),
]
NEXT_RUN = b"next run\n"
EXPECTED = b"".join(LINES) + NEXT_RUN
#: Small enough that one arrival takes several rotations.
MAX_SIZE = 70


def _live(inside: Inside, path: Path, *lives: FaultyCalls) -> None:
    """Let a worker say its lines, end, and run once more."""
    _, writer = inside.attach(path, max_size=MAX_SIZE)
    for arrival in ARRIVALS:
        os.write(writer, arrival)
        inside.settle(*lives)
        lives = ()
        inside.now_s += 0.4
    os.close(writer)
    inside.settle()
    _run(inside, path)
    assert inside.done == {1, 2}


def _run(inside: Inside, path: Path) -> None:
    """Let the worker run once more, with one line to say."""
    _, writer = inside.attach(path, max_size=MAX_SIZE)
    os.write(writer, NEXT_RUN)
    os.close(writer)
    inside.settle()


@pytest.mark.parametrize("die", ["before", "after", "half"])
def test_a_scribe_killed_at_any_call_loses_and_doubles_nothing(tmp_path: Path, die: str) -> None:
    """Whatever instant a scribe is killed at, the log is as if nothing had happened."""
    for die_at in range(1, 1000):
        calls = FaultyCalls(die_at=die_at, die=die)
        # Every other successor is killed as well, somewhere in its recovery.
        successor = FaultyCalls(die_at=die_at * 5 % 13 if die_at % 2 else 0, die=die)
        inside = Inside()
        path = tmp_path / str(die_at) / "w.log"
        try:
            _live(inside, path, calls, successor)
        finally:
            inside.close()
        assert whole(path) == EXPECTED, (die_at, calls.names[-1], successor.names[-1:])
        for segment in segments(path):
            data = segment.read_bytes()
            assert len(data) <= MAX_SIZE + max(map(len, LINES)), (die_at, segment)
            assert data.endswith(b"\n"), (die_at, segment)
        if not inside.deaths:
            assert die_at > 60, "the scenario must have many calls"
            return
    pytest.fail("never ran clean")


@pytest.mark.parametrize(
    ("code", "times"),
    [("ENOSPC", 1), ("ENOSPC", 4), ("EIO", 1), ("EDQUOT", 4), ("EACCES", 1), ("EACCES", 4)],
)
def test_whatever_disk_call_fails_what_is_lost_is_counted(
    tmp_path: Path, code: str, times: int
) -> None:
    """When the disk refuses, whole lines are missing, and the count of their bytes is exact."""
    for fail_at in range(1, 1000):
        calls = FaultyCalls(
            fail_at=fail_at, fail_times=times, error=getattr(errno, code), die="half"
        )
        inside = Inside()
        path = tmp_path / str(fail_at) / "w.log"
        said = [*LINES, NEXT_RUN]
        try:
            _live(inside, path, calls)
            while 0 < calls.disk_count - fail_at < times:
                inside.now_s += 2.0  # the disk is asked once a second
                _run(inside, path)
                said.append(NEXT_RUN)
            dropped = inside.dropped_bytes(path)
        finally:
            inside.close()
        stored = whole(path)
        assert len(stored) + dropped == sum(map(len, said)), fail_at
        missing = iter(said)
        for line in stored.splitlines(keepends=True):
            assert line in missing, (fail_at, line)  # whole lines, in order
        if calls.disk_count < fail_at:
            assert stored == EXPECTED
            assert fail_at > 40, "the scenario must have many disk calls"
            return
    pytest.fail("never ran clean")


@pytest.mark.parametrize("die", ["before", "after", "half"])
def test_a_scribe_killed_while_output_moves_to_another_file_cuts_no_line(
    tmp_path: Path, die: str
) -> None:
    """The line that was begun is finished where it began; every later one is in the new file."""
    for die_at in range(1, 1000):
        calls = FaultyCalls(die_at=die_at, die=die)
        successor = FaultyCalls(die_at=die_at * 5 % 13 if die_at % 2 else 0, die=die)
        inside = Inside()
        old, new = tmp_path / str(die_at) / "old.log", tmp_path / str(die_at) / "new.log"
        try:
            number, writer = inside.attach(old, max_size=MAX_SIZE)
            for place, arrival in enumerate(ARRIVALS):
                if place == 2:
                    inside.move(number, new)
                os.write(writer, arrival)
                inside.settle(*(() if place else (calls, successor)))
                inside.now_s += 0.4
            os.close(writer)
            inside.settle()
            _run(inside, new)
            _run(inside, old)
            assert inside.done == {1, 2, 3}
        finally:
            inside.close()
        where = (die_at, calls.names[-1], successor.names[-1:])
        assert whole(old) == b"".join(LINES[:5]) + NEXT_RUN, where
        assert whole(new) == b"".join(LINES[5:]) + NEXT_RUN, where
        if not inside.deaths:
            assert die_at > 60, "the scenario must have many calls"
            return
    pytest.fail("never ran clean")
