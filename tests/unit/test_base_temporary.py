"""What a killed writer leaves is removed by the next one, and nothing else is."""

import os
from pathlib import Path

from supervisord_lite.base.temporary import remove_left, temporary_beside
from supervisord_lite.scribe import note_child

#: Beyond what any kernel gives.
NOBODY = 1 << 30


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_what_dead_writers_left_is_removed(tmp_path: Path) -> None:
    """What a living one is writing stays, and so do files of another name."""
    mine, others = f".a.json.{os.getpid()}", [f".a.json.{os.getppid()}", f".b.json.{NOBODY}"]
    for name in (*others, f".a.json.{NOBODY}", ".a.json.swp", "a.json", f"a.json.{NOBODY}"):
        (tmp_path / name).write_text("x")
    assert temporary_beside(str(tmp_path / "a.json")) == str(tmp_path / mine)
    assert names(tmp_path) == {*others, ".a.json.swp", "a.json", f"a.json.{NOBODY}"}


def test_what_cannot_be_removed_keeps_nobody_from_writing(tmp_path: Path) -> None:
    """A folder has that name, or there is no folder at all: who writes will say so."""
    (tmp_path / f".a.json.{NOBODY}").mkdir()
    remove_left(str(tmp_path / "a.json"))
    remove_left(str(tmp_path / "nowhere" / "a.json"))
    assert names(tmp_path) == {f".a.json.{NOBODY}"}


def test_whoever_writes_or_removes_a_note_leaves_nothing_of_the_dead(tmp_path: Path) -> None:
    """A supervisor that is killed again and again does not fill the state folder."""
    path, left = tmp_path / "carry.json", tmp_path / f".carry.json.{NOBODY}"
    left.write_text("half")
    note_child.write_whole(str(path), {"v": 1})
    assert names(tmp_path) == {"carry.json"}
    left.write_text("half")
    note_child.remove(str(path))
    assert names(tmp_path) == set()
