"""What a worker says in its life, and a scribe that writes it while its disk refuses calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.support.scribe import whole
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

#: Ways in which a log is kept: what its entry says beside its size.
WAYS: dict[str, dict[str, Any]] = {
    "by size": {},
    "compressed": {"compress": True},
    "by age": {"max_age": 0.3},
    "reopened": {},
}


def live(inside: Inside, path: Path, *lives: FaultyCalls, way: str = "by size") -> None:
    """Let a worker say its lines, end, and run once more."""
    _, writer = inside.attach(path, max_size=MAX_SIZE, **WAYS[way])
    for arrival in ARRIVALS:
        os.write(writer, arrival)
        inside.settle(*lives)
        lives = ()
        if way == "reopened":
            inside.reopen()
        inside.now_s += 0.4
    os.close(writer)
    inside.settle()
    run(inside, path, way=way)
    assert inside.done == {1, 2}


def run(inside: Inside, path: Path, *, way: str = "by size") -> None:
    """Let the worker run once more, with one line to say."""
    _, writer = inside.attach(path, max_size=MAX_SIZE, **WAYS[way])
    os.write(writer, NEXT_RUN)
    os.close(writer)
    inside.settle()


def loses_only_what_it_counts(
    path: Path, number: int, fail_at: int, *, times: int = 1, way: str = "by size"
) -> bool:
    """Live while disk calls from *fail_at* on are refused; return whether there was such a call.

    Raises:
        AssertionError: A line is lost that is not counted, or is cut, doubled or out of order.
    """
    calls = FaultyCalls(fail_at=fail_at, fail_times=times, error=number, die="half")
    inside = Inside()
    said = [*LINES, NEXT_RUN]
    try:
        live(inside, path, calls, way=way)
        while 0 < calls.disk_count - fail_at < times:
            inside.now_s += 2.0  # the disk is asked once a second
            run(inside, path, way=way)
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
        return False
    return True
