"""Lines on their way to the journal: any bytes, any deaths, a journal that is away."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from random import Random  # noqa: TID251  # with a seed
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from supervisord_lite.scribe.calls import Calls
from supervisord_lite.scribe.echo import LINE_BYTES, PATIENCE_S
from supervisord_lite.scribe.journal import Journal
from supervisord_lite.scribe.plan import OVERRUN_BYTES
from supervisord_lite.scribe.turns import LINE_S
from supervisord_lite.wire import journald
from tests.support.journal import Journald, parse
from tests.support.scribe import content, segments, whole
from tests.support.scribe_inside import FaultyCalls, Inside

PIECES = st.lists(
    st.one_of(st.binary(max_size=60), st.sampled_from([b"", b"a line\n", b"half", b"\n\n"])),
    max_size=12,
)
LIVES = st.lists(
    st.tuples(st.integers(1, 90), st.sampled_from(["before", "after", "half"])), max_size=6
)
#: More lines than the socket of a journal holds that is not read.
FULL = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 5
MANY = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])


def echo(path: Path, *, prefix: bool = False) -> dict[str, Any]:
    fields = {"POOL": "w", "INSTANCE": "1"}
    return {"echo": {"socket": str(path), "fields": fields, "prefix": prefix}, "invocation": "ab"}


@given(st.binary(max_size=200), st.booleans(), st.booleans())
@example(b"", True, False)
@example(b"\n\0=\xff\x1b[31m", True, True)
@example(b"<3>x", True, False)
def test_an_entry_is_read_as_it_was_made(line: bytes, has_prefix: bool, is_partial: bool) -> None:
    """Whatever bytes a line has; a prefix is taken off where that is wanted."""
    common = journald.fields({"WORKER": "web-1", "ODD": "a\nb=c"})
    found = parse(journald.entry(common, line, has_prefix=has_prefix, is_partial=is_partial))
    is_told = has_prefix and line[:1] == b"<" and line[2:3] == b">" and line[1:2] in list(
        map(b"%d".__mod__, range(8))
    )  # fmt: skip
    assert found.pop("MESSAGE") == (line[3:] if is_told else line)
    assert found.pop("PRIORITY") == (line[1:2] if is_told else b"6")
    assert found.pop("PARTIAL", b"0") == (b"1" if is_partial else b"0")
    assert found == {"WORKER": b"web-1", "ODD": b"a\nb=c"}


@given(PIECES, PIECES, LIVES, st.sampled_from([30, 200, 128 * 1024]))
@MANY
def test_a_death_doubles_one_line_at_most_and_loses_none(
    first: list[bytes], second: list[bytes], lives: list[tuple[int, str]], max_size: int
) -> None:
    """In the journal; the file that `logs` reads has each line once."""
    inside = Inside()
    with tempfile.TemporaryDirectory() as folder:
        path, log = Path(folder, "socket"), Path(folder, "w.log")
        journal = Journald(path)
        calls = [FaultyCalls(die_at=die_at, die=die) for die_at, die in lives]
        said = b""
        try:
            for pieces in (first, second):
                _, writer = inside.attach(log, max_size=max_size, **echo(path))
                for piece in [*pieces, b"\n"]:
                    inside.settle(*calls[inside.starts :])
                    os.write(writer, piece)
                    said += piece
                    journal.receive()
                os.close(writer)
                inside.settle(*calls[inside.starts :])
                inside.settle()
                journal.receive()
            deaths = inside.deaths
            assert inside.dropped_bytes(log) == 0
        finally:
            inside.close()
            found = journal.lines()
            journal.close()
        assert whole(log) == said
        lines = said.split(b"\n")[:-1]
        doubled = len(found) - len(lines)
        assert 0 <= doubled <= deaths
        wanted = iter(found)
        assert all(line in wanted for line in lines), "lost, or in another order"
        twice = sum(a == b for a, b in itertools.pairwise(found))
        assert doubled <= twice


def test_long_lines_go_in_pieces_and_all_bytes_arrive(tmp_path: Path) -> None:
    """Ten megabytes of random bytes, unchanged, through spool and rotation."""
    data = os.urandom(10 << 20) + b"x" * (3 * LINE_BYTES + 5) + b"\nend\n"
    inside, journal = Inside(), Journald(tmp_path / "socket")
    try:
        _, writer = inside.attach(
            tmp_path / "w.log", max_size=128 * 1024, backups=1, **echo(journal.path)
        )
        os.set_blocking(writer, False)
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(writer, view) :]
            except BlockingIOError:
                inside.settle()
                journal.receive()
        os.close(writer)
        while len(inside.done) == 0:
            inside.settle()
            journal.receive()
        assert journal.lines("w") == data.split(b"\n")[:-1]
        assert {entry["RUN"] for entry in journal.entries} == {b"1"}
        assert journal.entries[0]["INVOCATION_ID"] == b"ab"
        assert max(len(entry["MESSAGE"]) for entry in journal.entries) == LINE_BYTES
        assert inside.dropped_bytes(tmp_path / "w.log") == 0
    finally:
        inside.close()
        journal.close()


def test_lines_wait_for_a_journal_that_is_away(tmp_path: Path) -> None:
    """As many as there is room for, and the worker is not held up for long; then it is told."""
    inside, log = Inside(), tmp_path / "w.log"
    try:
        _, writer = inside.attach(log, max_size=100, backups=1, **echo(tmp_path / "socket"))
        os.write(writer, b"waits\n")
        inside.settle()
        assert [m["said"] for m in inside.said] == ["trouble"]
        journal = Journald(tmp_path / "socket")
        inside.now_s += 1.0
        inside.settle()
        assert journal.lines() == [b"waits"]
        assert [m["said"] for m in inside.said] == ["trouble", "resumed"]
        journal.close()
        for number in range(20):
            os.write(writer, b"%02d %s\n" % (number, b"y" * 40))
            inside.settle()
            inside.now_s += 0.1
        assert inside.wait_s() >= 0
        assert len(whole(log)) < 300, "the pipe is left alone"
        inside.now_s += PATIENCE_S
        inside.settle()
        inside.settle()
        journal = Journald(tmp_path / "socket")
        inside.now_s += 1.0
        os.write(writer, b"back\n")
        inside.settle()
        os.close(writer)
        inside.now_s += 1.0
        inside.settle()
        inside.settle()
        found = journal.lines()
        assert found[-1] == b"back"
        dropped = inside.dropped_bytes(log)
        assert dropped > 0
        assert sum(len(line) + 1 for line in found) + dropped == 20 * 44 + 5
        assert inside.done == {1}
        journal.close()
    finally:
        inside.close()


def test_a_run_that_ends_while_the_journal_is_away_is_done_with(tmp_path: Path) -> None:
    """After a while, and what was not sent is counted."""
    inside, log = Inside(), tmp_path / "w.log"
    try:
        _, writer = inside.attach(log, max_size=1000, backups=1, **echo(tmp_path / "socket"))
        os.write(writer, b"last words")
        os.close(writer)
        inside.settle()
        assert inside.done == set()
        inside.now_s += PATIENCE_S
        inside.settle()
        assert inside.done == {1}
        assert inside.dropped_bytes(log) == len(b"last words")
    finally:
        inside.close()


def test_what_no_datagram_holds_travels_in_sealed_memory(tmp_path: Path) -> None:
    """A large entry arrives as it is; a journal that is full is no error."""
    now_s = 5.0
    journal = Journald(tmp_path / "socket", receive_bytes=1 << 20)
    way = Journal(str(journal.path), Calls(), lambda: now_s)
    try:
        entry = journald.entry(b"", b"z" * (1 << 20))
        assert way.send(entry)
        journal.receive()
        assert journal.in_memory == 1
        assert journal.entries[0]["MESSAGE"] == b"z" * (1 << 20)
        count = 0
        while way.send(b"MESSAGE=x\n"):
            count += 1
            assert count < 100_000
        assert way.stuck_since_s == now_s
        journal.receive()
        assert way.send(b"MESSAGE=x\n")
        assert way.stuck_since_s is None
    finally:
        way.close()
        journal.close()


@given(st.integers(1, 90), st.sampled_from(["before", "after", "half"]))
@MANY
def test_a_death_around_the_first_rotation_loses_nothing(die_at: int, die: str) -> None:
    """A successor finishes a chunk before it knows where lines go on to."""
    wanted = [b"%d" % number for number in range(8)] + [b"x" * 55, b"8"]
    with tempfile.TemporaryDirectory() as folder:
        inside, journal = Inside(), Journald(Path(folder, "socket"))
        try:
            _, writer = inside.attach(Path(folder, "w.log"), max_size=60, **echo(journal.path))
            os.write(writer, b"\n".join(wanted) + b"\n")
            inside.settle(FaultyCalls(die_at=die_at, die=die))
            os.close(writer)
            for _ in range(4):
                journal.receive()
                inside.settle()
            found = journal.lines()
            assert len(wanted) <= len(found) <= len(wanted) + inside.deaths
            assert list(dict.fromkeys(found)) == wanted
        finally:
            inside.close()
            journal.close()


WORDS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 40), st.booleans(), st.booleans()), max_size=20
)


@given(WORDS, LIVES, st.sampled_from([40, 300, 128 * 1024]))
@MANY
def test_two_runs_at_the_same_time_are_told_apart(
    words: list[tuple[int, int, bool, bool]], lives: list[tuple[int, str]], max_size: int
) -> None:
    """Each line has its own RUN, whoever dies, and while the journal is full."""
    inside = Inside()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "w.log")
        journal = Journald(Path(folder, "socket"))
        said = [b"", b""]
        try:
            writers = [inside.attach(log, max_size=max_size, **echo(journal.path))[1] for _ in said]
            inside.settle(*(FaultyCalls(die_at=at, die=die) for at, die in lives))
            for number, (run, length, ends, is_taken) in enumerate(words):
                text = b"%d:%d:%s" % (run, number, b"ab"[run : run + 1] * length)
                said[run] += text + b"\n" * ends
                os.write(writers[run], text + b"\n" * ends)
                inside.settle()
                if is_taken:
                    journal.receive()
            for writer in writers:
                os.close(writer)
            for _ in range(8):
                journal.receive()
                inside.now_s += LINE_S / 2
                inside.settle()
            assert inside.done == {1, 2}, "nobody is held up for ever"
            assert inside.dropped_bytes(log) == 0
            journal.receive()
        finally:
            inside.close()
            journal.close()
        doubled = 0
        for run in (0, 1):
            own = [e["MESSAGE"] for e in journal.entries if e["RUN"] == b"%d" % (run + 1)]
            once = [line for line, _ in itertools.groupby(own)]
            doubled += len(own) - len(once)
            # A line that was not finished in time goes on in another one.
            assert b"".join(once) == said[run].replace(b"\n", b"")
        assert doubled <= inside.deaths


def test_a_run_that_always_speaks_does_not_keep_another_from_its_turn(tmp_path: Path) -> None:
    """While the journal is slower than both, and when it is away for long."""
    inside, journal, log = Inside(), Journald(tmp_path / "socket"), tmp_path / "w.log"
    try:
        _, old = inside.attach(log, max_size=128 * 1024, backups=1, **echo(journal.path))
        _, new = inside.attach(log, max_size=128 * 1024, backups=1, **echo(journal.path))
        os.write(new, b"new\n")
        turns = 0
        while b"new" not in journal.lines():
            os.write(old, b"old\n" * 20)
            inside.settle()
            turns += 1
            assert turns < 50
        assert [e["RUN"] for e in journal.entries if e["MESSAGE"] == b"new"] == [b"2"]
        journal.close()
        for writer in (old, new):
            os.write(writer, b"away\n" * 2)
            inside.settle()
        inside.now_s += PATIENCE_S
        for writer in (old, new):
            os.close(writer)
            inside.settle()
        inside.settle()
        inside.now_s += PATIENCE_S
        inside.settle()
        inside.settle()
        assert inside.done == {1, 2}
        assert whole(log).count(b"away\n") == 4, "`logs` has them all the same"
    finally:
        inside.close()


def test_a_scribe_sleeps_when_what_waited_was_sent_with_the_next_line(tmp_path: Path) -> None:
    """The socket had been polled for room; nobody needs that any more."""
    inside, journal = Inside(), Journald(tmp_path / "socket")
    try:
        _, writer = inside.attach(tmp_path / "w.log", max_size=128 * 1024, **echo(journal.path))
        os.write(writer, b"one\n" * FULL)
        inside.settle()
        assert 0 < journal.receive() < FULL, "the journal was full"
        os.write(writer, b"next\n")
        inside.settle()
        assert inside.wait_s() == -1
        assert journal.lines() == [b"one"] * FULL + [b"next"]
    finally:
        os.close(writer)
        inside.close()
        journal.close()


def test_a_stream_that_moves_goes_as_soon_as_the_journal_has_what_waits(tmp_path: Path) -> None:
    """Not with its next line, which belongs to the new file."""
    inside, journal = Inside(), Journald(tmp_path / "socket")
    try:
        number, writer = inside.attach(
            tmp_path / "w.log", max_size=128 * 1024, **echo(journal.path)
        )
        os.write(writer, b"one\n" * FULL)
        inside.settle()
        inside.move(number, tmp_path / "new.log", echo=None)
        inside.settle()
        assert 0 < journal.receive() < FULL, "the journal was full"
        inside.settle()
        os.write(writer, b"next\n")
        inside.settle()
        assert whole(tmp_path / "new.log") == b"next\n"
        assert journal.lines() == [b"one"] * FULL
    finally:
        os.close(writer)
        inside.close()
        journal.close()


def test_a_line_that_is_not_finished_keeps_nobody_awake(tmp_path: Path) -> None:
    """Its stream moves when it is; meanwhile the journal is full for longer than is waited."""
    inside, journal = Inside(), Journald(tmp_path / "socket")
    keys = {"max_size": 128 * 1024, **echo(journal.path)}
    try:
        number, prompt = inside.attach(tmp_path / "prompt.log", **keys)
        _, writer = inside.attach(tmp_path / "w.log", **keys)
        os.write(prompt, b"your name? ")
        os.write(writer, b"one\n" * FULL)
        inside.settle()
        inside.move(number, tmp_path / "new.log", echo=None)
        inside.settle()
        inside.now_s += PATIENCE_S
        inside.settle()
        assert inside.wait_s() == -1
    finally:
        os.close(prompt)
        os.close(writer)
        inside.close()
        journal.close()


def test_a_slow_journal_cuts_no_line(tmp_path: Path) -> None:
    """It takes one entry at a time, and a file is never renamed within a line."""
    random = Random(1)
    words = [b"%d " % number + b"x" * random.randrange(1500) for number in range(2500)]
    view = memoryview(b"\n".join(words) + b"\n")
    inside, journal, log = Inside(), Journald(tmp_path / "socket"), tmp_path / "w.log"
    try:
        _, writer = inside.attach(log, max_size=128 * 1024, **echo(journal.path))
        os.set_blocking(writer, False)
        while view or journal.receive(1):
            try:
                view = view[os.write(writer, view) :] if view else view
            except BlockingIOError:
                assert journal.receive(1), "what is not read waits for the journal"
            inside.settle()
        found = segments(log)
        assert len(found) > 5
        assert [path.name for path in found if content(path)[-1:] != b"\n"] == []
        assert [entry["MESSAGE"] for entry in journal.entries] == words
        assert max(path.stat().st_size for path in found) <= 128 * 1024 + OVERRUN_BYTES
    finally:
        os.close(writer)
        inside.close()
        journal.close()
