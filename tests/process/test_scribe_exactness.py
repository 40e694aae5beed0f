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
from tests.support.scribe_life import (
    ARRIVALS,
    EXPECTED,
    LINES,
    MAX_SIZE,
    NEXT_RUN,
    live,
    loses_only_what_it_counts,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path


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
            live(inside, path, calls, successor)
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
        path = tmp_path / str(fail_at) / "w.log"
        if not loses_only_what_it_counts(path, getattr(errno, code), fail_at, times=times):
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
            run(inside, new)
            run(inside, old)
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
