"""A short-lived child is waited for: what it says, how it ends, and when that comes too late."""

import json
import os
import select
import time
from pathlib import Path

import pytest

from supervisord_lite.base.errand import Errand
from supervisord_lite.scribe.note import Note
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

LONG_AFTER_S = 1000.0


def has_ended(errand: Errand) -> bool:
    """Return whether the child has closed its end, with or without words before that."""
    poll = select.poll()
    poll.register(errand.fileno(), select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def begin(path: Path, content: dict[str, object]) -> Note:
    return Note(str(path), content, now_s=time.monotonic(), limit_s=20.0)


def finish_late(note: Note) -> None:
    """Take everything when the child has long ended, and its time is over."""
    wait_until(lambda: has_ended(note), what="the child has ended")
    while not note.is_over:
        note.receive(time.monotonic() + LONG_AFTER_S)
    note.close()
    assert note._pid == 0


def test_what_came_in_time_counts_when_it_is_taken_late(tmp_path: Path) -> None:
    """A supervisor that was stopped for a while still learns that the file is there."""
    content: dict[str, object] = {"reason": "é" * 100_000}
    note = begin(tmp_path / "x.json", content)
    finish_late(note)
    assert (note.is_written, note.problem) == (True, "")
    assert json.loads((tmp_path / "x.json").read_text()) == content


def test_why_a_file_could_not_be_written_is_told(tmp_path: Path) -> None:
    """The child's own word stands before how it ended."""
    note = begin(tmp_path / "nowhere" / "x.json", {})
    finish_late(note)
    assert (note.is_written, note.problem) == (False, "No such file or directory")


def test_a_child_that_cannot_be_started_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is the caller's, and nothing stays open."""
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with pytest.raises(FileNotFoundError):
        begin(tmp_path / "x.json", {})
    assert os.listdir("/proc/self/fd") == before
