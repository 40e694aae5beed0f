"""A socket in a folder of somebody else is given to him, and nothing else is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_lite.keeper.listeners import Listeners
from supervisord_lite.keeper.spawn import StageError
from tests.support.keeper import CountingCalls, replace_calls

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give a socket away")


def a_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def a_second_name(path: Path, victim: Path) -> None:
    os.link(victim, path)


def wanted(path: Path) -> dict[str, object]:
    return {
        "fd": 3, "key": "web", "kind": "unix", "host": "", "place": str(path), "mode": 0o660,
        "uid": NOBODY, "gid": NOBODY, "backlog": 8,
    }  # fmt: skip


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    return folder


def test_a_socket_is_its_owners(theirs: Path) -> None:
    """As the file says."""
    listeners = Listeners(CountingCalls(), {})
    listeners.open([wanted(theirs / "web.sock")])
    found = (theirs / "web.sock").stat()
    listeners.close()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (NOBODY, NOBODY, 0o660)


@pytest.mark.parametrize("put", [a_link, a_second_name])
def test_what_was_put_in_its_place_is_nobodys(
    tmp_path: Path, theirs: Path, put: Callable[[Path, Path], None]
) -> None:
    """Not a file of ours, by no kind of link, however soon it stands there."""
    victim, path = tmp_path / "victim", theirs / "web.sock"
    victim.touch()
    calls = CountingCalls()

    def swap(mask: int) -> int:
        if path.exists():  # it has just got its name
            path.unlink()
            put(path, victim)
        return os.umask(mask)

    replace_calls(calls, umask=swap)
    with pytest.raises(StageError, match=r"web\.sock"):
        Listeners(calls, {}).open([wanted(path)])

    assert victim.stat().st_uid == 0
