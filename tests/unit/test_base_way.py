"""Nobody leads us to another file by what he may put on the way to it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_lite.base import way

NOBODY = 65534
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give folders away")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of ours with one of another user in it, and a folder that is meant for nobody."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/web.log").write_text("precious\n")
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    return tmp_path


def opened(path: Path) -> str:
    descriptor = way.open_file(str(path), os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor) as file:
        return file.read()


def link_of(owner: int) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        (place / "theirs/log").symlink_to(place / "ours")
        os.chown(place / "theirs/log", owner, owner, follow_symlinks=False)

    return make


def chain(place: Path) -> None:
    """A link of ours leads into their folder, and a link of theirs back out of it."""
    link_of(NOBODY)(place)
    (place / "short").symlink_to("theirs/../theirs/log")


@NEEDS_ROOT
@pytest.mark.parametrize(
    "make", [link_of(NOBODY), link_of(0), chain], ids=["theirs", "moved there", "chain"]
)
def test_a_link_in_a_folder_of_somebody_else_is_not_followed(
    place: Path, make: Callable[[Path], None]
) -> None:
    """Whose link it is says nothing there: its owner may have moved one of ours."""
    make(place)
    folder = place / ("short" if make is chain else "theirs/log")

    for act in (
        lambda: opened(folder / "web.log"),
        lambda: way.rename(f"{folder}/web.log", f"{folder}/web.log.1"),
        lambda: way.unlink(f"{folder}/web.log"),
        lambda: way.mkdir(f"{folder}/new"),
        lambda: way.listdir(str(folder)),
        lambda: way.open_file(f"{folder}/new", os.O_CREAT | os.O_WRONLY),
    ):
        with pytest.raises(way.LedAstrayError, match="is a link, and others may change it"):
            act()

    assert [each.name for each in (place / "ours").iterdir()] == ["web.log"]


@NEEDS_ROOT
def test_links_of_ours_where_only_we_may_put_them_are_followed(place: Path) -> None:
    """A log folder on another disk is as good as any, also below one that is sticky and root's."""
    (place / "sticky").mkdir()
    (place / "sticky").chmod(0o1777)
    (place / "sticky/log").symlink_to("../link")
    (place / "link").symlink_to(place / "ours")

    assert opened(place / "sticky/log/web.log") == "precious\n"
    assert way.listdir(f"{place}/link/") == ["web.log"]

    os.chown(place / "sticky/log", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(way.LedAstrayError):
        opened(place / "sticky/log/web.log")


@NEEDS_ROOT
def test_what_its_owner_has_in_his_own_folder_is_his(place: Path) -> None:
    """A log may stand in the folder of the worker's user, whether he made the file or we did."""
    (place / "theirs/a.log").write_text("a\n")
    (place / "theirs/b.log").write_text("b\n")
    os.chown(place / "theirs/b.log", NOBODY, NOBODY)

    assert (opened(place / "theirs/a.log"), opened(place / "theirs/b.log")) == ("a\n", "b\n")

    os.chown(place / "theirs/b.log", 1, 1)
    with pytest.raises(way.LedAstrayError, match="Belongs to uid 1, in a folder where others"):
        opened(place / "theirs/b.log")


@NEEDS_ROOT
def test_a_file_with_two_names_is_not_taken_from_others(place: Path) -> None:
    """A hard link of theirs to a file of ours is no log."""
    os.link(place / "ours/web.log", place / "theirs/web.log")

    with pytest.raises(way.LedAstrayError, match="Has another name too"):
        opened(place / "theirs/web.log")
    assert opened(place / "ours/web.log") == "precious\n"


@NEEDS_ROOT
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_where_everybody_may_write_the_file_must_be_ours(place: Path, mode: int) -> None:
    """Whoever was there first with that name could read and change what we write."""
    (place / "ours").chmod(mode)
    assert opened(place / "ours/web.log") == "precious\n"

    os.chown(place / "ours/web.log", NOBODY, NOBODY)
    with pytest.raises(way.LedAstrayError, match="Belongs to uid 65534"):
        opened(place / "ours/web.log")


@NEEDS_ROOT
def test_a_way_that_changes_while_we_look_is_refused(place: Path) -> None:
    """What was opened is not what is found there by now."""
    link_of(NOBODY)(place)
    inside = os.open(place / "theirs/log", os.O_PATH)
    (place / "theirs/log").unlink()
    (place / "theirs/log").mkdir()
    try:
        with pytest.raises(way.LedAstrayError, match="changed just now"):
            way.trust(inside, f"{place}/theirs/log")
    finally:
        os.close(inside)


@NEEDS_ROOT
def test_the_folder_that_is_judged_is_that_of_the_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what its owner puts in the folder's place once the way to it is judged."""
    theirs = place / "theirs"
    os.link(place / "ours/web.log", theirs / "web.log")
    file = os.open(theirs / "web.log", os.O_PATH)
    descriptors = os.listdir("/proc/self/fd")
    with pytest.raises(way.LedAstrayError, match="another name"):
        way.judge_file(file, f"{theirs}/web.log")
    trust = way.trust

    def then_another(place_: int, path: str) -> None:
        trust(place_, path)
        readlink = os.readlink

        def once(of: str) -> str:
            monkeypatch.setattr(os, "readlink", readlink)
            found = readlink(of)
            theirs.rename(place / "aside")
            theirs.symlink_to(place / "ours")
            return found

        monkeypatch.setattr(os, "readlink", once)

    monkeypatch.setattr(way, "trust", then_another)
    try:
        with pytest.raises(OSError, match=r"changed just now|Not a directory"):
            way.judge_file(file, f"{theirs}/web.log")
        assert os.listdir("/proc/self/fd") == descriptors
    finally:
        os.close(file)


def test_of_a_path_from_where_we_are_nothing_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way that has led to there is not known."""
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)
    for act in (
        lambda: way.open_file("file", os.O_RDONLY),
        lambda: way.open_file("./file", os.O_RDONLY),
        lambda: way.unlink("file"),
        lambda: way.listdir("."),
    ):
        with pytest.raises(way.LedAstrayError, match="not an absolute path"):
            act()
    assert (tmp_path / "file").exists()


def test_links_in_a_circle_are_as_the_kernel_has_them(tmp_path: Path) -> None:
    """Nothing is opened, and nobody goes round for ever."""
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="round") as caught:
        way.open_folder(f"{tmp_path}/round/x")
    assert caught.value.errno == errno.ELOOP


def test_what_is_missing_is_missing(tmp_path: Path) -> None:
    """As with the calls of the kernel."""
    for act in (way.open_folder, way.unlink, way.listdir):
        with pytest.raises(FileNotFoundError):
            act(f"{tmp_path}/no/where")
    way.mkdir(f"{tmp_path}/new/", 0o700)
    assert (tmp_path / "new").is_dir()
