"""Rotation by size and age, with compression: any output, any deaths, any disk errors."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisord_lite.cli.logfiles import LogFile
from supervisord_lite.cli.logspan import Wanted
from supervisord_lite.scribe.marks import Mark, thinned
from tests.support.scribe import content, segments, whole
from tests.support.scribe_inside import FaultyCalls, Inside

#: Pieces of output, each after so many seconds: lines, parts of lines, nothing at all.
PIECES = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.one_of(st.binary(max_size=60), st.sampled_from([b"", b"a line\n", b"half", b"\n"])),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip
LIVES = st.lists(
    st.tuples(st.integers(1, 90), st.sampled_from(["before", "after", "half"])), max_size=6
)
MAX_SIZES = st.sampled_from([0, 1, 20, 100, 3000])
MAX_AGES = st.sampled_from([0.0, 1.0, 30.0, 100.0])
MANY = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])


def say(
    inside: Inside,
    path: Path,
    pieces: list[tuple[int, bytes]],
    lives: list[tuple[int, str]],
    **keys: float,
) -> bytes:
    """Let one run say *pieces*, in time, while scribes die; return all that it said."""
    _, writer = inside.attach(path, **keys)  # type: ignore[arg-type]
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    calls = [FaultyCalls(die_at=die_at, die=die) for die_at, die in lives]
    inside.stop()
    before = inside.starts
    said = b""
    for wait_s, piece in [*pieces, (0, b"\n")]:  # else the next run goes on with its last line
        inside.now_s += wait_s
        inside.settle(*calls[inside.starts - before :])
        os.write(writer, piece)
        said += piece
        inside.settle(*calls[inside.starts - before :])
    os.close(writer)
    inside.settle(*calls[inside.starts - before :])
    inside.settle(*calls[inside.starts - before :])
    return said


@given(PIECES, PIECES, MAX_SIZES, MAX_AGES, st.booleans(), LIVES, LIVES)
@MANY
def test_deaths_of_scribe_and_child_lose_and_double_nothing(
    first: list[tuple[int, bytes]],
    second: list[tuple[int, bytes]],
    max_size: int,
    max_age: float,
    compress: bool,
    lives: list[tuple[int, str]],
    more_lives: list[tuple[int, str]],
) -> None:
    """All files together are the output; each number counts once; `logs` shows the same."""
    inside = Inside()
    keys = {"max_size": max_size, "max_age": max_age, "compress": compress}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        try:
            data = say(inside, path, first, lives, **keys)
            data += say(inside, path, second, more_lives, **keys)
            inside.stop()
            # What the dead have left is put right when a run begins.
            data += say(inside, path, [(0, b"end\n")], [], **keys)
        finally:
            inside.close()
        assert whole(path) == data
        for segment in segments(path):
            if segment != path:
                assert content(segment).endswith(b"\n")
                assert (segment.suffix == ".gz") == compress
        assert not list(Path(folder).glob("*.new")), "half a file"
        names = [each.name.removesuffix(".gz") for each in Path(folder).iterdir()]
        assert len(names) == len(set(names)), "twice"
        log = LogFile(str(path))
        try:
            assert b"".join(log.tail_of(Wanted(), None)) == data
        finally:
            log.close()


@given(PIECES, MAX_AGES, LIVES, st.integers(0, 3))
@MANY
def test_no_more_files_are_kept_than_wanted(
    pieces: list[tuple[int, bytes]], max_age: float, lives: list[tuple[int, str]], backups: int
) -> None:
    """Compressed or not, and what is kept are the newest lines."""
    inside = Inside()
    keys = {"max_size": 20, "max_age": max_age, "compress": True, "backups": backups}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        try:
            data = say(inside, path, pieces, lives, **keys)
            inside.stop()
            data += say(inside, path, [(0, b"x" * 30 + b"\n"), (0, b"y" * 30 + b"\n")], [], **keys)
        finally:
            inside.close()
        assert data.endswith(whole(path))
        assert len(segments(path)) <= backups + 1
        kept = {path.name, f".{path.name}.marks"} | {each.name for each in segments(path)}
        assert {each.name for each in Path(folder).iterdir()} <= kept


@given(PIECES, st.integers(1, 120), st.integers(1, 4), st.sampled_from([errno.ENOSPC, errno.EIO]))
@MANY
def test_a_failing_disk_costs_compression_and_no_line_more(
    pieces: list[tuple[int, bytes]], fail_at: int, times: int, error: int
) -> None:
    """Bytes said = bytes stored + bytes counted as dropped; a plain file stays plain."""
    inside = Inside()
    keys = {"max_size": 20, "max_age": 30.0, "compress": True}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        try:
            _, writer = inside.attach(path, **keys)  # type: ignore[arg-type]
            calls = [FaultyCalls(fail_at=fail_at, fail_times=times, error=error)]
            size = 0
            for wait_s, piece in [*pieces, (60, b"one\n"), (60, b"two\n")]:
                inside.now_s += wait_s
                inside.settle(*calls)
                os.write(writer, piece)
                size += len(piece)
                inside.settle()
                calls = []
            os.close(writer)
            inside.settle()
            # What could not be cut off when the run ended is, when the next one speaks.
            inside.now_s += 2.0
            _, writer = inside.attach(path, **keys)  # type: ignore[arg-type]
            os.write(writer, b"next run\n")
            size += len(b"next run\n")
            inside.settle()
            os.close(writer)
            inside.settle()
            dropped = inside.dropped_bytes(path)
        finally:
            inside.close()
        assert len(whole(path)) + dropped == size


def test_a_quiet_file_is_renamed_when_it_is_old(tmp_path: Path) -> None:
    """At the age of its first line, also through the death of a scribe; an empty one never is."""
    inside, path = Inside(), tmp_path / "w.log"
    try:
        _, writer = inside.attach(path, max_age=100.0)
        os.write(writer, b"one\n")
        inside.settle()
        inside.now_s += 60
        os.write(writer, b"two\n")
        inside.settle()
        inside.stop()
        inside.now_s += 39
        inside.settle()
        assert inside.wait_s() == 1.0
        assert len(segments(path)) == 1
        inside.now_s += 1
        inside.settle()
        assert [content(each) for each in segments(path)] == [b"one\ntwo\n", b""]
        inside.now_s += 1000
        inside.settle()
        assert inside.wait_s() == -1
        assert len(segments(path)) == 2
        os.write(writer, b"half")
        inside.settle()
        inside.now_s += 100
        inside.settle()
        assert inside.wait_s() == -1, "the line is not cut"
        os.write(writer, b" a line\nnext\n")
        inside.settle()
        assert [content(each) for each in segments(path)][1:] == [b"half a line\n", b"next\n"]
        os.close(writer)
        inside.settle()
    finally:
        inside.close()


def test_the_first_mark_of_the_present_file_is_kept_when_marks_are_thinned() -> None:
    """It says how old that is; one run that writes for days has nothing else."""
    marks = [Mark(float(n), None, (1, 1 if n < 900 else 2), n, "1.x") for n in range(3000)]
    assert marks[900] in thinned(marks, 4000)
