"""Two runs that write to one log at the same time: whole lines, each of its own run."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisord_lite.cli.logfiles import LogFile
from supervisord_lite.cli.logspan import Wanted
from supervisord_lite.scribe.turns import LINE_S
from tests.support.scribe import whole
from tests.support.scribe_inside import FaultyCalls, Inside

#: Who says how much, in tenths of a second after the one before; with a newline or without.
WORDS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(1, 30), st.booleans()), max_size=30
)
LIVES = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from(["before", "after", "half"])), max_size=4
)
MAX_SIZES = st.sampled_from([0, 40, 300])


def shown(path: Path, run: int) -> bytes:
    log = LogFile(str(path))
    try:
        return b"".join(log.tail_of(Wanted(run), None))
    finally:
        log.close()


class Two:
    """Two runs and their log."""

    def __init__(self, path: Path, *, max_size: int = 0) -> None:
        self.inside = Inside()
        self.path = path
        self.writers: list[int] = []
        self._max_size = max_size

    def attach(self) -> None:
        _, writer = self.inside.attach(self.path, max_size=self._max_size)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
        self.writers.append(writer)
        self.inside.settle()

    def say(self, run: int, words: bytes) -> None:
        os.write(self.writers[run], words)
        self.inside.settle()

    def end(self) -> None:
        for writer in self.writers:
            os.close(writer)
            self.inside.settle()
        self.inside.now_s += 2 * LINE_S
        self.inside.settle()
        self.inside.settle()


@given(WORDS, MAX_SIZES, LIVES)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_lines_of_two_runs_are_whole_and_each_is_found_by_its_run(
    words: list[tuple[int, int, int, bool]], max_size: int, lives: list[tuple[int, str]]
) -> None:
    """Whoever is killed in between: nothing is lost or doubled, and in the order of each run."""
    with tempfile.TemporaryDirectory() as folder:
        two = Two(Path(folder, "w.log"), max_size=max_size)
        said = [b"", b""]
        try:
            two.attach()
            two.attach()
            if lives:
                two.inside.stop()
                two.inside.settle(*(FaultyCalls(die_at=at, die=die) for at, die in lives))
            for number, (run, tenths, length, ends) in enumerate(words):
                two.inside.now_s += tenths / 50
                text = b"%d:%d:%s" % (run, number, b"ab"[run : run + 1] * length)
                said[run] += text + b"\n" * ends
                two.say(run, text + b"\n" * ends)
            two.end()
        finally:
            two.inside.close()
        everything = whole(two.path)
        for run in (0, 1):
            # A line that was not finished in time goes on in another one.
            mine = b"".join(sorted([shown(two.path, run + 1)])) if said[run] else b""
            assert mine.replace(b"\n", b"") == said[run].replace(b"\n", b"")
        assert len(everything.replace(b"\n", b"")) == sum(len(s.replace(b"\n", b"")) for s in said)
        for line in everything.splitlines():
            assert not (b"a" in line and b"b" in line), "two runs in one line"


def test_the_new_run_is_read_while_the_old_one_lives(tmp_path: Path) -> None:
    """Its first words are not held up until the other's last ones."""
    two = Two(tmp_path / "w.log")
    two.attach()
    two.say(0, b"old 1\n")
    two.attach()
    two.say(1, b"new 1\n")
    two.say(0, b"old 2\n")
    two.say(1, b"new 2\n")
    assert whole(two.path) == b"old 1\nnew 1\nold 2\nnew 2\n"
    assert shown(two.path, 1) == b"old 1\nold 2\n"
    assert shown(two.path, 2) == b"new 1\nnew 2\n"
    two.end()
    two.inside.close()


def test_an_unfinished_line_holds_up_the_other_run_for_a_moment_only(tmp_path: Path) -> None:
    """Then it is ended, and its rest is a line of its own."""
    two = Two(tmp_path / "w.log")
    two.attach()
    two.attach()
    two.say(0, b"a prompt> ")
    two.say(1, b"new 1\n")
    assert whole(two.path) == b"a prompt> "
    assert two.inside.wait_s() == pytest.approx(LINE_S)
    two.say(0, b"answered\n")
    assert whole(two.path) == b"a prompt> answered\nnew 1\n"
    two.say(0, b"another> ")
    two.say(1, b"new 2\n")
    two.inside.now_s += LINE_S
    two.inside.settle()  # its time is over
    two.inside.settle()
    assert whole(two.path).endswith(b"another> \nnew 2\n")
    two.say(0, b"late\n")
    assert whole(two.path).endswith(b"another> \nnew 2\nlate\n")
    two.end()
    two.inside.close()
    assert shown(two.path, 1) == b"a prompt> answered\nanother> \nlate\n"


def test_a_run_that_comes_when_the_other_has_ended_waits_for_its_last_words(tmp_path: Path) -> None:
    """As ever: last words stand before first words."""
    two = Two(tmp_path / "w.log")
    two.attach()
    two.inside.stop()
    os.write(two.writers[0], b"last\n")
    os.close(two.writers[0])
    two.attach()
    os.write(two.writers[1], b"first\n")
    two.inside.settle()
    assert whole(two.path) == b"last\nfirst\n"
    os.close(two.writers[1])
    two.inside.settle()
    two.inside.close()
