"""The folders that `run` makes, in a folder where others may write: nobody leads it elsewhere."""

import os
import stat
import sys
from pathlib import Path
from types import FrameType

import pytest

from supervisord_lite.base.way import LedAstrayError
from supervisord_lite.cli import folders


def test_what_a_link_in_place_of_a_new_folder_leads_to_keeps_its_mode(tmp_path: Path) -> None:
    """Put there between the making and the mode."""
    tmp_path.chmod(0o777)
    precious, wanted = tmp_path / "precious", tmp_path / "state"
    precious.mkdir(mode=0o755)

    def swap(_frame: FrameType, event: str, about: object) -> None:
        if event == "c_return" and about is os.mkdir:
            sys.setprofile(None)
            wanted.rmdir()
            wanted.symlink_to(precious)

    sys.setprofile(swap)
    try:
        with pytest.raises(LedAstrayError):
            folders._make(wanted, 0o700, is_private=True)
        assert sys.getprofile() is None, "it was swapped"
    finally:
        sys.setprofile(None)
    assert stat.S_IMODE(precious.stat().st_mode) == 0o755


def test_a_new_folder_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    """And an empty one of ours that is open is closed, also by a link of ours."""
    umask = os.umask(0o277)
    try:
        folders._make(tmp_path / "new", 0o711, is_private=True)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o711
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to("open")
    folders._make(tmp_path / "link", 0o700, is_private=True)
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700
