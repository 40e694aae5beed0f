"""Lines with a stamp, and lines as JSON: whole through any cut, death, rotation and disk error."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisord_lite.scribe.forms import FORMS, LINE_BYTES, RAW_AT, RAW_BYTES, Chunk, closing
from tests.support.scribe import segments, whole
from tests.support.scribe_inside import FaultyCalls, Inside

WORDS = st.sampled_from(
    [b"a", b"\n", b"\n\n", "é".encode(), "€".encode(), "\U0001f600".encode(), b"\xff", b"\xe2",
     b"\x82", b"\xf0\x9f", b"\xed\xa0\x80", b'"', b"\\", b"\0", b"\x1b[31m", b"x" * 700,
     b"y" * 30_000, b"\r\n"]
)  # fmt: skip
OUTPUT = st.lists(WORDS, max_size=25).map(b"".join)
RUNS = st.lists(OUTPUT, min_size=1, max_size=4)
LIVES = st.lists(
    st.tuples(st.integers(1, 90), st.sampled_from(["before", "after", "half"])), max_size=5
)
MAX_SIZES = st.sampled_from([0, 1, 100, 3000, 50_000])
FORM = st.sampled_from(["stamped", "json"])
STAMP = rb"1970-01-01T\d\d:\d\d:\d\d\.\d\d\dZ stdout "
SLOW = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])


def lines_of(runs: list[bytes]) -> list[bytes]:
    """Return the lines of all runs; the last one of a run may have no newline."""
    found = []
    for run in runs:
        *lines, rest = run.split(b"\n")
        found += [*lines, rest] if rest else lines
    return found


def read_back(data: bytes, form: str) -> list[bytes] | list[str]:
    """Return the lines in a log, without what was added."""
    assert data == b"" or data.endswith(b"\n")
    if form == "stamped":
        found = []
        for line in data.split(b"\n")[:-1]:
            match = re.match(STAMP, line)
            assert match, line[:80]
            found.append(line[match.end() :])
        return found
    texts: list[str] = []
    is_going_on = False
    for line in data.split(b"\n")[:-1]:
        told = json.loads(line)
        assert {*told} - {"partial"} == {"at", "stream", "line"}
        assert told["stream"] == "stdout"
        if is_going_on:
            texts[-1] += told["line"]
        else:
            texts.append(told["line"])
        is_going_on = told.get("partial", False)
    assert not is_going_on
    return texts


def speak(
    inside: Inside, path: Path, run: bytes, cuts: list[int], form: str, max_size: int,
    lives: list[FaultyCalls],
) -> None:  # fmt: skip
    """Let one run speak, in pieces, and end."""
    _, writer = inside.attach(path, max_size=max_size, form=form)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    places = sorted({0, len(run), *(cut % (len(run) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        os.write(writer, run[begin:end])
        inside.settle(*lives)
        lives = []
        inside.now_s += 0.3
    os.close(writer)
    inside.settle(*lives)


@given(RUNS, st.lists(st.integers(0, 1 << 20), max_size=8), FORM, MAX_SIZES, LIVES)
@SLOW
def test_every_line_is_there_once_whoever_dies(
    runs: list[bytes], cuts: list[int], form: str, max_size: int, lives: list[tuple[int, str]]
) -> None:
    """Each with one stamp, or as one object; text is what it was, and what is none is escaped."""
    inside = Inside()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        try:
            for run in runs:
                inside.stop()
                calls = [FaultyCalls(die_at=die_at, die=die) for die_at, die in lives]
                speak(inside, path, run, cuts, form, max_size, calls)
        finally:
            inside.close()
        data = whole(path)
        for segment in segments(path):
            assert segment.read_bytes().endswith(b"\n"), "no file ends inside a line"
    expected = lines_of(runs)
    found = read_back(data, form)
    if form == "json":
        assert found == [line.decode("utf-8", "backslashreplace") for line in expected]
    elif all(len(line) < LINE_BYTES - 1000 for line in expected):
        assert found == expected
    else:
        assert b"".join(found) == b"".join(expected)  # type: ignore[arg-type]


@given(
    RUNS, FORM, MAX_SIZES, LIVES, st.integers(1, 60), st.integers(1, 9),
    st.sampled_from([errno.ENOSPC, errno.EIO]),
)  # fmt: skip
@SLOW
def test_a_failing_disk_costs_whole_lines(
    runs: list[bytes], form: str, max_size: int, lives: list[tuple[int, str]],
    fail_at: int, times: int, error: int,
) -> None:  # fmt: skip
    """What is there is whole, in order, and each line is stored or counted."""
    said = [run.replace(b"y" * 30_000, b"y") + b"\n" for run in runs]
    inside = Inside()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        try:
            faulty = FaultyCalls(fail_at=fail_at, fail_times=times, error=error, die="half")
            for run in said:
                speak(inside, path, run, [], form, max_size, [faulty])
            inside.stop()
            for number in range(8):
                inside.now_s += 2.0
                said.append(b"last %d\n" % number)
                calls = [FaultyCalls(die_at=die_at, die=die) for die_at, die in lives]
                speak(inside, path, said[-1], [], form, max_size, calls)
                lives = []
            dropped = inside.dropped_bytes(path)
            lost = max([m["lines"] for m in inside.said if m["said"] == "dropped"], default=0)
        finally:
            inside.close()
        found = read_back(whole(path), form)
    expected = lines_of(said)
    texts = [line.decode("utf-8", "backslashreplace") for line in expected]
    missing = iter(texts if form == "json" else expected)
    assert all(line in missing for line in found)
    assert len(found) + lost == len(expected)
    assert (lost == 0) == (dropped == 0)


@given(OUTPUT, st.integers(0, 1 << 20))
@SLOW
def test_a_change_of_form_waits_for_the_next_line(output: bytes, cut: int) -> None:
    """A line that is being written is finished as it began, also by a successor."""
    inside = Inside()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.log")
        try:
            number, writer = inside.attach(path)
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
            place = cut % (len(output) + 1)
            before = output[:place]
            os.write(writer, before)
            inside.settle()
            inside.move(number, path, form="json")
            inside.settle()
            inside.stop()
            os.write(writer, output[place:])
            inside.settle()
            os.close(writer)
            inside.settle()
        finally:
            inside.close()
        data = whole(path)
    if before and not before.endswith(b"\n"):
        # As much as came with the end of that line is in the form of before.
        assert data == output
        return
    assert data.startswith(before)
    texts = [line.decode("utf-8", "backslashreplace") for line in lines_of([output[place:]])]
    assert read_back(data[place:], "json") == texts


@given(st.binary(max_size=RAW_BYTES), st.sampled_from([*FORMS.values()]), st.booleans())
@settings(max_examples=300)
def test_whatever_comes_there_is_room_for_it(raw: bytes, form: int, is_begun: bool) -> None:
    """What is being read is never overwritten by what is made of it."""
    for data in (raw, b"\n" * RAW_BYTES, b"\0" * RAW_BYTES, b"\xff" * RAW_BYTES):
        chunk = Chunk(form, "stdout", "2026-11-21T15:23:27.123Z")
        chunk.out += closing(form, b"\xf0\x9f\x98")
        chunk.add(b"\xf0\x9f\x98" + data, is_begun=is_begun, line_bytes=LINE_BYTES)
        assert len(chunk.out) <= RAW_AT
        assert len(chunk.held) <= 3
