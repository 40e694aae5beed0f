"""What the keeper holds keeps its name: made again as it was, unless it is somebody else's now."""

import errno
import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.base import folder_lock
from supervisord_lite.keeper import control_socket, places
from supervisord_lite.keeper.boot import place
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.journal import Journal
from supervisord_lite.keeper.places import Places
from supervisord_lite.keeper.poller import Poller
from supervisord_lite.keeper.spawn import StageError
from supervisord_lite.keeper.table import Run, Table
from supervisord_lite.keeper.voices import Voice, Voices
from tests.support.keeper import CountingCalls, PlainBoot, open_descriptors
from tests.support.leftovers import short_folder
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give a socket away")


class RefusingCalls(CountingCalls):
    """One kind of call is refused."""

    refused: tuple[str, int] | None = None

    def do_inotify_create(self) -> int:
        self._refuse("inotify_create")
        return Calls.inotify_create()

    def do_inotify_watch(self, *arguments: Any) -> int:
        self._refuse("inotify_watch")
        return Calls.inotify_watch(*arguments)

    def do_mkdir(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        self._refuse("mkdir")
        os.mkdir(path, mode, dir_fd=dir_fd)

    def do_chown(self, path: int | str, uid: int, gid: int, **more: Any) -> None:
        self._refuse("chown")
        os.chown(path, uid, gid, **more)

    def do_open(self, path: str, flags: int, *rest: Any, **more: Any) -> int:
        if path.endswith(".new"):
            self._refuse("open")
        return os.open(path, flags, *rest, **more)

    def do_fchmod(self, number: int, mode: int) -> None:
        self._refuse("fchmod")
        os.fchmod(number, mode)

    def _refuse(self, kind: str) -> None:
        if self.refused is not None and self.refused[0] == kind:
            raise OSError(self.refused[1], os.strerror(self.refused[1]))


class Estate:
    """A folder with its lock and a control socket in a folder of its own; the test turns."""

    def __init__(self, *, knows_places: bool = True) -> None:
        self.calls = RefusingCalls()
        self.boot = PlainBoot(self.calls)
        self.state = short_folder() / "state"
        self.lock = self.state / "lock"
        self.control = self.state.parent / "c/control.sock"
        for folder in (self.state, self.control.parent):
            folder.mkdir(mode=0o700)
        held = folder_lock.open_lock(str(self.lock))
        folder_lock.hold_lock(held)
        folder_lock.write_lock(held, os.getpid(), "token")
        self.listener, inode = control_socket.listen(self.calls, str(self.control), 0o640)
        self.boot.remove = [str(self.control)]
        if knows_places:
            own = folder_lock.open_folder(str(self.state))
            folder_lock.hold_folder(own)
            parent = folder_lock.open_folder(str(self.control.parent))
            self.boot.places = [
                place("folder", str(self.state), own),
                place("lock", str(self.lock), held),
                place("parent", str(self.control.parent), parent),
                place("socket", str(self.control), inode),
            ]
        else:
            os.close(inode)
            self.boot.locks = [held]
        self.told: list[dict[str, Any]] = []
        self.journal = Journal(self.boot.journal_writer, "text", "debug")
        self.poller = Poller()
        self.now_s = 1000.0
        self.table = Table({})
        self.voices = Voices(
            self.calls, self.table, self.poller.watch, self.poller.unwatch, self.told.append
        )
        self.places = Places(
            self.boot, self.journal, self.poller, self.voices, self.told.append, self._serve_at
        )

    def _serve_at(self, listener: int) -> None:
        self.listener.close()
        self.listener = socket.socket(fileno=listener)

    def turn(self) -> None:
        """Hear, and look as soon as that is meant to be."""
        self.poller.wait(0)
        if self.places.look_at_s is not None:
            self.places.look(self.places.look_at_s)

    def until(self, predicate: Callable[[], object], what: str) -> None:
        def look() -> object:
            self.turn()
            return predicate()

        wait_until(look, what=what, every_s=0.001, on_timeout=self.lines)

    def lines(self) -> str:
        """Return the lines of the journal until now."""
        self._said = getattr(self, "_said", b"")
        while select.select([self.boot.journal_reader], [], [], 0)[0]:
            self._said += os.read(self.boot.journal_reader, 65536)
        return self._said.decode()

    def is_served(self) -> bool:
        """Return whether who comes by name comes to us."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.control))
                self.listener.accept()[0].close()
        except OSError:
            return False
        return True

    def is_held(self) -> bool:
        """Return whether nobody else can have the folder, or the lock in it."""
        return _is_locked(self.state) and _is_locked(self.lock)

    def close(self) -> None:
        self.listener.close()
        self.poller.close()
        for each in self.boot.places:
            if each["descriptor"] >= 0:
                os.close(each["descriptor"])
        if self.places._ear >= 0:
            os.close(self.places._ear)
        os.close(self.boot.journal_reader)
        os.close(self.boot.journal_writer)
        self.boot.close()


def _is_locked(path: Path) -> bool:
    try:
        own = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(own, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(own)


@pytest.fixture
def estate() -> Iterator[Estate]:
    before = open_descriptors()
    estate = Estate()
    try:
        estate.places.begin(estate.now_s)
        yield estate
    finally:
        estate.close()
    assert open_descriptors() == before


def test_what_happens_beside_them_wakes_nobody(estate: Estate) -> None:
    """Files come and go in these folders all the time; nobody looks, and nobody is told."""
    for folder in (estate.state, estate.control.parent):
        (folder / "new").write_text("x")
        (folder / "new").rename(folder / "newer")
        (folder / "newer").unlink()
    assert estate.is_served()
    assert estate.poller.wait(0) == set()
    assert estate.places.look_at_s is None
    assert estate.lines() == ""


def test_a_storm_of_deletions_is_looked_at_four_times_a_second(estate: Estate) -> None:
    """Whoever deletes without end keeps nobody busy, and still finds all there within a second."""
    looks = []
    for _ in range(200):
        estate.lock.unlink(missing_ok=True)
        estate.control.unlink(missing_ok=True)
        estate.poller.wait(0)
        due_s = estate.places.look_at_s
        assert due_s is not None
        looks.append(due_s)
        assert estate.poller.wait(0) == set(), "until then nothing is heard"
        estate.places.look(due_s)
        assert estate.is_held()
        assert estate.is_served()
    gaps = [later - before for before, later in pairwise(looks[10:])]
    assert max(gaps) < 1.0
    assert min(gaps) >= places._LAST_GAP_S - 0.001


def test_the_text_of_the_lock_goes_on(estate: Estate) -> None:
    """Who has the folder, and the token by which the next daemon finds what this one has left."""
    estate.lock.unlink()
    estate.until(estate.is_held, "the lock is there")
    assert estate.lock.read_text() == f"{os.getpid()}\ntoken\n"
    assert stat.S_IMODE(estate.lock.stat().st_mode) == 0o600


@NEEDS_ROOT
@pytest.mark.parametrize("kind", ["chown", "fchmod"])
def test_what_is_refused_once_is_had_at_the_next_try(estate: Estate, kind: str) -> None:
    """What was begun then holds no lock, and nothing stays open (see `estate`)."""
    os.chown(estate.lock, 1, 2)
    os.chown(estate.state, 0, 2)
    for with_folder in (False, True):
        estate.calls.refused = (kind, errno.EIO)
        estate.lock.unlink()
        if with_folder:
            estate.state.rmdir()
        estate.until(lambda: estate.places.troubles, "it is told")
        estate.calls.refused = None
        assert estate.places.look_at_s is not None
        estate.places.look(estate.places.look_at_s)
        assert estate.places.troubles == {}
        assert estate.is_held()


def test_a_socket_that_cannot_be_made_leaves_no_other_name(tmp_path: Path) -> None:
    """What is told is why: not that its first name stays, where that cannot be taken away."""
    calls = RefusingCalls()
    before = open_descriptors()
    calls.refused = ("open", errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        control_socket.listen(calls, str(tmp_path / "control.sock"))
    assert list(tmp_path.iterdir()) == []

    class _StaysCalls(RefusingCalls):
        def do_unlink(self, path: str, **_more: Any) -> None:
            raise OSError(errno.EROFS, path)

    calls = _StaysCalls()
    calls.refused = ("open", errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        control_socket.listen(calls, str(tmp_path / "control.sock"))
    assert open_descriptors() == before


@NEEDS_ROOT
def test_the_socket_has_owner_and_mode_of_before(estate: Estate) -> None:
    """Also what they were changed to; a folder that others may write into gets a closed one."""
    os.chown(estate.control, 1, 2)
    estate.control.chmod(0o666)
    estate.control.unlink()
    estate.until(estate.is_served, "it is served")
    found = estate.control.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1, 2, 0o666)
    estate.control.parent.chmod(0o777)
    estate.control.unlink()
    estate.until(estate.is_served, "it is served")
    assert stat.S_IMODE(estate.control.stat().st_mode) == 0o600


def test_a_folder_that_is_removed_or_moved_is_made_again(estate: Estate) -> None:
    """With its mode, and held; what it was before is nobody's."""
    estate.state.chmod(0o711)
    estate.lock.unlink()
    estate.state.rmdir()
    estate.until(estate.is_held, "it is there")
    assert stat.S_IMODE(estate.state.stat().st_mode) == 0o711
    other = estate.state.with_name("other")
    estate.state.rename(other)
    estate.until(estate.is_held, "it is there")
    assert not _is_locked(other)
    estate.control.unlink()
    estate.control.parent.rmdir()
    estate.until(estate.is_served, "it is served")
    assert stat.S_IMODE(estate.control.parent.stat().st_mode) == 0o700


def test_what_is_somebody_else_s_is_left_until_it_goes(estate: Estate) -> None:
    """A file, a socket that is answered, a folder that another daemon holds: all that can go."""
    estate.control.unlink()
    estate.control.write_text("mine")
    estate.until(lambda: estate.places.troubles, "it is told")
    assert estate.places.troubles == {str(estate.control): "exists and is not a socket"}
    assert estate.told == [{"places": estate.places.troubles}]
    assert estate.control.read_text() == "mine"
    assert not estate.places.may_remove(str(estate.control))
    estate.control.unlink()
    estate.until(estate.is_served, "it is served")
    assert estate.told[-1] == {"places": {}}
    assert estate.places.may_remove(str(estate.control))

    estate.control.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(estate.control))
        other.listen()
        estate.until(lambda: estate.places.troubles, "it is told")
        (reason,) = estate.places.troubles.values()
        assert reason == f"belongs to a live daemon, pid {os.getpid()}"
    estate.until(estate.is_served, "nobody answers there any more, and it is served")

    estate.lock.unlink()
    estate.state.rmdir()
    estate.state.mkdir()
    with _held(estate.state):
        estate.until(lambda: estate.places.troubles, "it is told")
        assert list(estate.places.troubles) == [str(estate.state)]
        assert not estate.lock.exists()
    estate.until(estate.is_held, "it is ours again")

    estate.lock.unlink()
    estate.state.rmdir()
    estate.state.mkdir()
    estate.state.chmod(0o777)
    estate.until(lambda: estate.places.troubles, "it is told")
    assert estate.places.troubles == {str(estate.state): "others may write there"}
    estate.state.rmdir()
    estate.until(estate.is_held, "it is ours again")


class _held:  # noqa: N801  # reads as what it is
    def __init__(self, folder: Path) -> None:
        self._own = os.open(folder, os.O_RDONLY)

    def __enter__(self) -> None:
        fcntl.flock(self._own, fcntl.LOCK_EX)

    def __exit__(self, *_failure: object) -> None:
        os.close(self._own)


def test_a_folder_that_cannot_be_made_is_said_once_and_tried_ever_more_seldom(
    estate: Estate,
) -> None:
    """Nobody wakes often for what will not be."""
    estate.calls.refused = ("mkdir", errno.EACCES)
    estate.lock.unlink()
    estate.state.rmdir()
    estate.until(lambda: estate.places.troubles, "it is told")
    waits = []
    for _ in range(10):
        before_s = estate.places.look_at_s
        assert before_s is not None
        estate.places.look(before_s)
        assert estate.places.look_at_s is not None
        waits.append(estate.places.look_at_s - before_s)
    assert waits == sorted(waits)
    assert waits[-1] == places._LAST_RETRY_S
    assert estate.lines().count("place.lost") == 1
    assert "Permission denied" in estate.lines()
    assert len(estate.told) == 1
    estate.calls.refused = None
    estate.until(estate.is_held, "it is there")
    assert estate.places.troubles == {}


@pytest.mark.parametrize(
    ("kind", "number"), [("inotify_create", errno.EMFILE), ("inotify_watch", errno.ENOSPC)]
)
def test_without_inotify_only_this_is_lost_and_that_is_said_once(kind: str, number: int) -> None:
    """What is gone then stays away; nothing else is another."""
    estate = Estate()
    estate.calls.refused = (kind, number)
    estate.places.begin(estate.now_s)
    estate.lock.unlink()
    estate.turn()
    assert not estate.lock.exists()
    estate.places.look(estate.now_s)
    assert estate.is_held()
    assert estate.lines().count("places.unwatched") == 1
    assert estate.places.look_at_s is None
    estate.close()


def test_after_a_keeper_that_knew_only_locks_all_is_held() -> None:
    """It had handed on the lock of the file, deleted meanwhile, and a socket."""
    estate = Estate(knows_places=False)
    estate.lock.unlink()
    estate.places.begin(estate.now_s)
    assert estate.is_held()
    kinds = [each["kind"] for each in estate.boot.places]
    assert kinds == ["folder", "lock", "parent", "socket"]
    estate.listener.accept()[0].close()  # by this it was known
    before = estate.control.stat().st_ino
    assert estate.is_served()
    assert estate.control.stat().st_ino == before
    assert estate.boot.pack(lambda number: number)["locks"] == [
        each["descriptor"] for each in estate.boot.places[:2]
    ]
    estate.control.unlink()
    estate.until(estate.is_served, "it is served")
    estate.close()


def test_what_a_keeper_that_knows_nothing_of_places_hands_on_again_is_found() -> None:
    """Of what this one had handed to it: the lock of the folder, too; its traces are no socket."""
    estate = Estate()
    traces = estate.state.parent / "traces"
    traces.write_text("lines")
    estate.boot.remove.append(str(traces))
    estate.boot.locks = [each["descriptor"] for each in estate.boot.places[:2]]
    for each in estate.boot.places[2:]:
        os.close(each["descriptor"])
    estate.boot.places = []
    estate.places.begin(estate.now_s)
    assert [each["kind"] for each in estate.boot.places] == ["folder", "lock", "parent", "socket"]
    assert estate.is_held()
    assert estate.lines() == ""
    assert estate.places.troubles == {}
    traces.unlink()
    estate.places.look(estate.now_s)
    assert not traces.exists()
    estate.close()


def _says(path: Path, word: bytes) -> socket.socket:
    """Say a word at a notification socket, and stay connected."""
    own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    own.connect(str(path))
    own.send(word)
    return own


def test_workers_are_heard_though_their_notification_sockets_were_deleted(estate: Estate) -> None:
    """By the first socket, if they were connected to it, and by the one that has the name now."""
    folder = estate.state.parent / "w/web.1.1"
    path = folder / "notify"
    run = Run(("web", 1, 1), 100, "marker", None)
    voice = estate.voices.create({"notify": str(folder), "identity": None})
    assert voice is not None
    estate.voices.begin(run, voice)

    def status(word: str) -> bool:
        return run.words.get("status") == word

    with _says(path, b"STATUS=a") as first:
        estate.until(lambda: status("a"), "it is heard")
        path.unlink()
        folder.rmdir()
        estate.until(path.exists, "it is there")
        first.send(b"STATUS=b")
        estate.until(lambda: status("b"), "the first one is heard")
        path.rename(folder / "other")
        estate.until(path.exists, "it is there")
        packed = voice.pack(lambda number: number)
        estate.voices._voices.clear()
        for reader in voice.readers:
            estate.poller.unwatch(reader)
        estate.voices.begin(run, Voice.unpacked(packed))
        with _says(path, b"STATUS=c"):
            estate.until(lambda: status("c"), "the latest one is heard")
        first.send(b"STATUS=d")
        estate.until(lambda: status("d"), "the first one is heard")
    (folder / "other").unlink()
    estate.places.look(estate.now_s)
    estate.turn()
    count = estate.lines().count("place.restored")
    estate.voices.end(run)
    estate.poller.wait(0)
    assert estate.places.look_at_s is None, "what we remove ourselves wakes nobody"
    assert estate.lines().count("place.restored") == count
    assert not folder.exists()


@NEEDS_ROOT
def test_a_notification_socket_that_could_not_be_given_away_is_made_at_the_next_look(
    estate: Estate,
) -> None:
    """Its name does not stay, and lead to nobody."""
    folder = estate.state.parent / "w/web.1.1"
    path = folder / "notify"
    identity = {"uid": 1, "gid": 2}
    run = Run(("web", 1, 1), 100, "marker", None)
    voice = estate.voices.create({"notify": str(folder), "identity": identity})
    assert voice is not None
    estate.voices.begin(run, voice)
    path.unlink()
    estate.calls.refused = ("chown", errno.EIO)
    estate.until(lambda: estate.places.troubles, "it is told")
    assert not path.exists()
    estate.calls.refused = None
    assert estate.places.look_at_s is not None
    estate.places.look(estate.places.look_at_s)
    with _says(path, b"STATUS=a"):
        estate.until(lambda: run.words.get("status") == "a", "it is heard")
    assert folder.stat().st_uid == 1
    estate.voices.end(run)

    estate.calls.refused = ("chown", errno.EIO)
    with pytest.raises(StageError):
        estate.voices.create({"notify": str(folder), "identity": identity})
    assert not folder.exists(), "nobody was started for it"
    estate.poller.wait(0)
