"""Commands that change files of one folder do it one after the other."""

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from supervisord_lite.config.turns import turn


def nobody_waits(_seconds: float) -> None:
    pytest.fail("somebody waits")


def test_a_turn_waits_for_the_one_before(tmp_path: Path) -> None:
    """Also where the file is named by a link to it."""
    folder = tmp_path / "etc"
    folder.mkdir()
    link = tmp_path / "link.toml"
    link.symlink_to(folder / "x.toml")
    first = ExitStack()
    assert first.enter_context(turn(str(folder / "x.toml"), wait=nobody_waits))
    waited = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            first.close()

    with turn(str(link), wait=wait) as is_alone:
        assert is_alone
        with turn(str(tmp_path / "y.toml"), wait=nobody_waits) as is_alone_too:
            assert is_alone_too
    assert len(waited) == 3
    with turn(str(link), wait=nobody_waits):
        pass


def test_whoever_holds_a_lock_for_ever_keeps_nobody_out(tmp_path: Path) -> None:
    """Everybody who may read a folder could do that."""
    held = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_EX)
    waited: list[float] = []
    with turn(str(tmp_path / "x.toml"), most_wait_s=0.0, wait=waited.append) as is_alone:
        assert not is_alone
    os.close(held)
    assert waited == []


def test_where_there_is_no_folder_the_file_is_what_fails(tmp_path: Path) -> None:
    """A turn itself is never an error."""
    with turn(str(tmp_path / "none" / "x.toml"), wait=nobody_waits) as is_alone:
        assert not is_alone
