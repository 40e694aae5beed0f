"""Any output, any rotation, any deaths and any disk errors, in any order."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisord_lite.scribe.plan import OVERRUN_BYTES, Chunk
from tests.support.scribe import segments, whole
from tests.support.scribe_inside import FaultyCalls, Inside

LENGTHS = st.one_of(st.integers(0, 6), st.integers(7, 60), st.integers(1000, 9000))
#: Newlines are put in by the test; pieces are cut anywhere.
ARRIVALS = st.lists(st.tuples(LENGTHS, st.integers(1, 12)), min_size=1, max_size=12)
LIVES = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from(["before", "after", "half"])), max_size=5
)
MAX_SIZES = st.sampled_from([0, 1, 20, 100, 3000, 50_000])


def _lines(arrivals: list[tuple[int, int]]) -> list[bytes]:
    return [
        b"%d.%d %s\n" % (place, number, b"x" * length)
        for place, (length, count) in enumerate(arrivals)
        for number in range(count)
    ]


def _say(
    inside: Inside,
    path: Path,
    data: bytes,
    cuts: list[int],
    max_size: int,
    lives: list[FaultyCalls],
) -> None:
    """Write *data* in pieces, letting the scribes settle in between; then end the run."""
    _, writer = inside.attach(path, max_size=max_size)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        os.write(writer, data[begin:end])
        inside.settle(*lives)
        lives = []
        inside.now_s += 0.3
    os.close(writer)
    inside.settle()


@given(ARRIVALS, st.lists(st.integers(0, 1 << 20), max_size=8), MAX_SIZES, LIVES)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_deaths_change_nothing(
    arrivals: list[tuple[int, int]],
    cuts: list[int],
    max_size: int,
    lives: list[tuple[int, str]],
) -> None:
    """The log is the output, byte for byte, however often the scribe is killed."""
    data = b"".join(_lines(arrivals))
    inside = Inside()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        try:
            calls = [FaultyCalls(die_at=die_at, die=die) for die_at, die in lives]
            _say(inside, path, data, cuts, max_size, calls)
        finally:
            inside.close()
        assert whole(path) == data
        longest = max(map(len, _lines(arrivals)))
        for segment in segments(path):
            assert not max_size or segment.stat().st_size < max_size + longest
            assert segment.read_bytes().endswith(b"\n")


@given(
    ARRIVALS,
    st.lists(st.integers(0, 1 << 20), max_size=8),
    MAX_SIZES,
    LIVES,
    st.integers(1, 60),
    st.integers(1, 9),
    st.sampled_from([errno.ENOSPC, errno.EIO]),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_failing_disk_loses_is_counted(
    arrivals: list[tuple[int, int]],
    cuts: list[int],
    max_size: int,
    lives: list[tuple[int, str]],
    fail_at: int,
    times: int,
    error: int,
) -> None:
    """Bytes said = bytes stored + bytes counted as dropped, and only whole lines are stored."""
    lines = _lines(arrivals)
    inside = Inside()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        try:
            faulty = FaultyCalls(fail_at=fail_at, fail_times=times, error=error, die="half")
            _say(inside, path, b"".join(lines), cuts, max_size, [faulty])
            inside.stop()
            for place in range(20):
                # The disk is well again, and a file that was in trouble is put right.
                inside.now_s += 2.0
                lines.append(b"last %d\n" % place)
                calls = [FaultyCalls(die_at=die_at, die=die) for die_at, die in lives]
                _say(inside, path, lines[-1], [], max_size, calls)
                lives = []
                if place > len(calls):
                    break
            dropped = inside.dropped_bytes(path)
        finally:
            inside.close()
        stored = whole(path)
        assert len(stored) + dropped == sum(map(len, lines))
        missing = iter(lines)
        assert all(line in missing for line in stored.splitlines(keepends=True))


@pytest.mark.parametrize("later", range(1, 25))
def test_what_a_dead_scribe_had_not_told_is_told_by_the_next(tmp_path: Path, later: int) -> None:
    """Also where it dies in the middle of a chunk, and nothing more is lost after that."""
    path = tmp_path / "w.log"
    path.mkdir()
    inside = Inside()
    calls = FaultyCalls()
    try:
        _, writer = inside.attach(path)
        for lost in (b"told at once\n", b"not told for a second\n"):
            os.write(writer, lost)
            inside.settle(calls)
        path.rmdir()
        inside.now_s += 1.0
        calls._die_at = calls.count + later
        os.write(writer, b"this is where it dies\n")
        inside.settle()
        assert inside.dropped_bytes(path) == len(b"told at once\nnot told for a second\n")
        os.close(writer)
        inside.settle()
    finally:
        inside.close()
    assert whole(path) == b"this is where it dies\n"


@given(
    st.lists(st.integers(0, 90), max_size=40),
    st.booleans(),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 250),
)
def test_rotation_cuts_only_after_a_line(
    lengths: list[int], ends: bool, offset: int, line_start: int, max_size: int
) -> None:
    """No file ends in the middle of a line, and none is longer than its last line makes it."""
    data = b"\n".join(b"x" * length for length in lengths) + (b"\n" if ends else b"")
    chunk = Chunk(data)
    chunk.end, chunk.max_size = len(data), max_size
    chunk.offset, chunk.line_start = offset, min(line_start, offset)
    pieces = []
    while True:
        cut = chunk.next_cut()
        pieces.append(data[chunk.start : cut])
        size = chunk.offset + len(pieces[-1])
        chunk.advance(cut)
        if max_size and len(pieces) > 1:
            assert size <= max_size or size - pieces[-1][:-1].rfind(b"\n") - 1 > 0
            assert size <= max_size + OVERRUN_BYTES
        if cut == len(data):
            break
        assert not pieces[-1] or pieces[-1].endswith(b"\n")
        chunk.next_file()
    assert b"".join(pieces) == data
    assert max_size or len(pieces) == 1


@given(st.integers(1, 5), st.integers(0, 70_000))
@settings(max_examples=20, deadline=None)
def test_an_endless_line_is_cut_where_it_would_grow_a_file_without_bound(
    parts: int, max_size: int
) -> None:
    """However long a line is, a file is at most 64 KiB longer than it may be."""
    chunk = Chunk(b"x" * (parts * 65536))
    chunk.end, chunk.max_size = parts * 65536, max_size
    sizes = []
    while True:
        cut = chunk.next_cut()
        sizes.append(chunk.offset + cut - chunk.start)
        chunk.advance(cut)
        if cut == chunk.end:
            break
        chunk.next_file()
    assert sum(sizes) == parts * 65536
    assert not max_size or max(sizes) <= max_size + OVERRUN_BYTES
