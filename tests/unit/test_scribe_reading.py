"""Reading the event journal: over renamed files and half lines, newest first, bounded."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.scribe import reading_child
from supervisord_lite.scribe.calls import Calls
from supervisord_lite.scribe.files import EVENTS_FILE, LogFile
from supervisord_lite.scribe.ledger import Entry
from supervisord_lite.scribe.note_child import last_lines
from supervisord_lite.scribe.selection import Selection


def event(number: int, name: str = "", kind: str = "worker.started", life: str = "l") -> bytes:
    told: dict[str, Any] = {"id": f"{life}-{number}", "at": f"2026-11-21T10:00:{number:02d}.000Z"}
    told["event"] = kind if name else "daemon.started"
    if name:
        told |= {"name": name, "pool": name.partition("-")[0], "instance": 1}
    return json.dumps(told, separators=(",", ":")).encode()


def numbers(lines: list[bytes]) -> list[int]:
    return [int(json.loads(line)["id"].rpartition("-")[2]) for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Three files: 1-3, 4-6, 7-8 with rubbish between; other files beside them."""
    base = tmp_path / EVENTS_FILE
    names = ["", "web", "db", "web", "", "db", "web", "web"]
    lines = [event(n, name) + b"\n" for n, name in enumerate(names, start=1)]
    Path(f"{base}.9").write_bytes(b"".join(lines[:3]))
    Path(f"{base}.10").write_bytes(b"".join(lines[3:6]))
    Path(f"{base}.gz").write_bytes(event(99, "web"))
    half = b'{"id":"l-7"\n\xff\xfe\n[]\n{"id":7}\n'
    base.write_bytes(half + b"".join(lines[6:]) + b'{"id":"l-')
    return str(base)


def chosen(path: str, **question: Any) -> list[int]:
    return numbers(reading_child.chosen(path, {"most": 100, **question}))


def test_a_higher_number_is_newer_and_half_lines_are_none(path: str) -> None:
    """The newest first, from all files."""
    assert chosen(path) == [8, 7, 6, 5, 4, 3, 2, 1]
    assert chosen(path, most=3) == [8, 7, 6]
    assert chosen(path + "x") == []


def test_what_is_wanted_may_be_named(path: str) -> None:
    """By event, by worker, after an event, since a time."""
    assert chosen(path, names=["web"]) == [8, 7, 4, 2]
    assert chosen(path, names=["w*", "db"], events=["worker.*"], most=4) == [8, 7, 6, 4]
    assert chosen(path, names=["all"], events=["daemon.*"]) == []
    assert chosen(path, events=["daemon.*"]) == [5, 1]
    assert chosen(path, after="l-5") == [8, 7, 6]
    assert chosen(path, after="other-5") == [8, 7, 6, 5, 4, 3, 2, 1]
    assert chosen(path, since="2026-11-21T10:00:06.000Z") == [8, 7, 6]


def test_a_story_has_the_worker_and_the_daemon(path: str) -> None:
    """So many of each worker, and what happened to the daemon between them."""
    question = {"most": 3, "slots": [["web", 1]]}
    assert numbers(reading_child.of_workers(path, question)) == [8, 7, 5, 4]
    question = {"most": 1, "slots": [["web", 1], ["db", 1]]}
    assert numbers(reading_child.of_workers(path, question)) == [8, 6]
    question = {"most": 9, "slots": [["web", 2]]}
    assert numbers(reading_child.of_workers(path, question)) == [5, 1]


def test_a_file_that_is_renamed_meanwhile_is_read_once(path: str) -> None:
    """It was the current one, and is a numbered one when the folder is read."""
    lines = reading_child._lines(path)
    first = next(line for line in lines if reading_child._event(line))
    os.rename(path, f"{path}.11")
    Path(path).write_bytes(event(9, "web") + b"\n")
    rest = [line for line in lines if reading_child._event(line)]
    assert numbers([first, *rest]) == [8, 7, 6, 5, 4, 3, 2, 1]


def test_links_and_pipes_are_not_followed(path: str, tmp_path: Path) -> None:
    """Nothing that blocks, or belongs to somebody else."""
    os.mkfifo(f"{path}.12")
    assert chosen(path) == [8, 7, 6, 5, 4, 3, 2, 1]
    os.symlink(tmp_path / "elsewhere", f"{path}.13")
    with pytest.raises(OSError, match="symbolic links"):
        chosen(path)


def test_what_was_told_just_now_is_waited_for(path: str) -> None:
    """By its id; what another life has told is not it."""
    assert reading_child._wait_for(path, "l-8")
    assert reading_child._wait_for(path, "l-0")
    assert reading_child._newest_id(path) == "l-8"
    assert not reading_child._wait_for(path, "k-8")


def test_the_same_words_choose_what_is_to_come() -> None:
    """Pools, instances and globs of both."""
    failed = {"event": "worker.failed", "name": "web-2", "pool": "web", "instance": 2}
    daemon = {"event": "daemon.ready"}
    for names in ([], ["web"], ["web-2"], ["w*"], ["all"], ["db", "web-?"]):
        assert Selection(names=names).has(failed)
    assert not Selection(names=["web-1"]).has(failed)
    assert Selection(["worker.*"]).has(failed)
    assert not Selection(["worker.*"]).has(daemon)
    assert Selection(["daemon.ready"]).has(daemon)
    assert not Selection(names=["all"]).has(daemon)


@pytest.mark.parametrize(("name", "mode"), [(EVENTS_FILE, 0o600), ("web.log", 0o640)])
def test_the_journal_is_for_its_owner_alone(tmp_path: Path, name: str, mode: int) -> None:
    """Whoever makes the file, also a scribe that knows nothing but its path."""
    path = tmp_path / name
    before = os.umask(0)
    try:
        file = LogFile(os.fsencode(path), Entry(-1), Calls())
        file.check()
        file.close()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_last_words_are_those_of_one_run(tmp_path: Path) -> None:
    """Where its marks say where it began; else whatever is last."""
    log = tmp_path / "a.log"
    log.write_text("of run 1\nof run 2\nof run 3\n")
    assert last_lines(str(log), 2) == ["of run 1", "of run 2", "of run 3"]
    found = log.stat()
    place = f"{found.st_dev:x}:{found.st_ino:x}"
    marks = tmp_path / ".a.log.marks"
    marks.write_text(
        f"1.000 - {place} 0 1.aa\n2.000 1.500 {place} 9 2.aa\n3.000 2.500 0 0 3.aa\n"
        f"3.100 2.500 {place} 18 3.aa\n"
    )
    assert last_lines(str(log), 3) == ["of run 3"]
    assert last_lines(str(log), 2) == ["of run 2", "of run 3"]
    assert last_lines(str(log)) == ["of run 1", "of run 2", "of run 3"]
    # Begun in a file that has been rotated: all of this one is of that run, or of later ones.
    log.rename(tmp_path / "a.log.1")
    log.write_text("more of run 3\n")
    assert last_lines(str(log), 3) == ["more of run 3"]
