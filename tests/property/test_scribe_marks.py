"""Which lines are of which run, and of which time: through rotation, deaths and silent runs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisord_lite.cli.logfiles import LogFile
from supervisord_lite.cli.logspan import Wanted
from supervisord_lite.scribe.marks import EVERY_S, MAX_BYTES, Mark, _text, marks_path, thinned
from tests.support.scribe import whole
from tests.support.scribe_inside import FaultyCalls, Inside

#: Of each run: pieces of output, each after a time in tenths of a second.
RUNS = st.lists(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40)), max_size=5), min_size=1, max_size=6
)
LIVES = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from(["before", "after", "half"])), max_size=5
)
MAX_SIZES = st.sampled_from([0, 1, 20, 100, 3000])


def shown(path: Path, **wanted: float) -> bytes:
    """Return what `logs` shows of a log."""
    log = LogFile(str(path))
    try:
        return b"".join(log.tail_of(Wanted(**wanted), None))  # type: ignore[arg-type]
    finally:
        log.close()


def say(inside: Inside, path: Path, run: list[tuple[int, int]], lives: list[FaultyCalls],
        max_size: int, place: int) -> list[tuple[float, bytes]]:  # fmt: skip
    """Let one run speak and end; return its lines with their times."""
    _, writer = inside.attach(path, max_size=max_size)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    inside.settle(*lives)
    said = []
    for number, (tenths, length) in enumerate(run):
        inside.now_s += tenths / 10
        line = b"%d.%d %s\n" % (place, number, b"x" * length)
        os.write(writer, line)
        said.append((inside.now_s, line))
        inside.settle()
    os.close(writer)
    inside.settle()
    return said


@given(RUNS, MAX_SIZES, st.lists(LIVES, min_size=6, max_size=6))
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_each_run_and_each_time_is_found(
    runs: list[list[tuple[int, int]]], max_size: int, lives: list[list[tuple[int, str]]]
) -> None:
    """A run is exactly its own bytes; a time loses nothing, and shows little more."""
    inside = Inside()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        said: list[list[tuple[float, bytes]]] = []
        try:
            for place, run in enumerate(runs):
                calls = [FaultyCalls(die_at=die_at, die=die) for die_at, die in lives[place]]
                if calls:
                    inside.stop()
                said.append(say(inside, path, run, calls, max_size, place))
        finally:
            inside.close()
        for back, lines in enumerate(reversed(said)):
            assert shown(path, run=-back) == b"".join(line for _, line in lines), back
            assert shown(path, run=len(said) - back) == b"".join(line for _, line in lines)
        every = [each for lines in said for each in lines]
        assert whole(path) == b"".join(line for _, line in every)
        if not every:
            return
        # The file's own time is the machine's, and every other one the test's.
        os.utime(path, (every[-1][0], every[-1][0]))
        for since_s, _ in every:
            found = shown(path, since_s=since_s)
            assert found.endswith(b"".join(line for at_s, line in every if at_s >= since_s))
            if inside.deaths == 0:
                limit_s = since_s - EVERY_S
                early = b"".join(line for at_s, line in every if at_s < limit_s)
                assert not early or not found.startswith(early)


def test_a_full_file_of_marks_is_thinned_and_stays_bounded(tmp_path: Path) -> None:
    """However long a worker writes, and however often it is started."""
    path = tmp_path / "w.log"
    inside = Inside()
    try:
        for place in range(3):
            _, writer = inside.attach(path, max_size=10_000)
            for _ in range(2500):
                inside.now_s += 1.5
                os.write(writer, b"%d\n" % place)
                inside.settle()
            os.close(writer)
            inside.settle()
    finally:
        inside.close()
    marks = Path(marks_path(str(path)))
    assert marks.stat().st_size <= MAX_BYTES
    assert list(tmp_path.glob(".*.new")) == []
    for back in range(3):
        assert shown(path, run=-back) == b"%d\n" % (2 - back) * 2500


def test_marks_that_somebody_has_made_enormous_are_made_short(tmp_path: Path) -> None:
    """Of a file of any length only the end is read; beside what is no file nothing is left."""
    path = tmp_path / "w.log"
    marks = Path(marks_path(str(path)))
    inside = Inside()
    try:
        marks.touch()
        os.truncate(marks, 1 << 40)
        Path(f"{marks}.new").write_text("of one who was killed")
        _, writer = inside.attach(path)
        os.write(writer, b"a\n")
        inside.settle()
        assert 0 < marks.stat().st_size < MAX_BYTES
        assert shown(path, run=0) == b"a\n"
        other = tmp_path / "pipe"
        os.mkfifo(other)
        _, second = inside.attach(other)
        inside.settle()
        assert not Path(marks_path(str(other))).exists()
        os.close(writer)
        os.close(second)
        inside.settle()
    finally:
        inside.close()


@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=80),
    st.integers(60, 4000),
)
def test_what_thinning_leaves_is_true(entries: list[tuple[int, bool]], most_bytes: int) -> None:
    """A run that is left still begins where it began, and the newest one is always left."""
    marks = []
    for number, (run, has_file) in enumerate(sorted(entries, key=lambda entry: entry[0])):
        marks.append(Mark(float(number), None, (1, 2) if has_file else None, number, f"{run}.x"))

    left = thinned(marks, most_bytes)

    firsts = {mark.run: mark for mark in reversed(marks)}
    assert [mark for mark in marks if mark in left] == left
    assert left
    assert left[-1].run == marks[-1].run
    names = {mark.run for mark in left}
    for name in names:
        assert next(mark for mark in left if mark.run == name) == firsts[name]
    assert sum(len(_text(mark)) for mark in left) <= most_bytes or (
        len(names) == 1 and len(left) <= 2
    )
