"""Which calls fail, and how: of a keeper alone, and of the processes of a whole daemon.

A *place* is one call of a kind in one scene; each is refused with each plausible errno.
"""

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support import leftovers
from tests.support.keeper_life import fails_at
from tests.support.refusing import SCENES, Refusing, refused_in
from tests.support.scribe_life import loses_only_what_it_counts

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_NO_BUFFER = (errno.ENOBUFS, errno.ENOMEM)
_NO_PROCESS = (errno.EAGAIN, errno.ENOMEM)
_CLOSED = (errno.EIO, errno.EINTR)

#: Of a keeper to which the test plays supervisor and scribe (tests/support/keeper_life.py).
ALONE = {
    "fork": _NO_PROCESS,
    "fork_into": (*_NO_PROCESS, errno.EBUSY, errno.ENOSYS),
    "posix_spawn": _NO_PROCESS,
    "pipe2": _NO_ROOM,
    "memfd_create": _NO_ROOM,
    "socketpair": _NO_ROOM,
    "pidfd_open": (*_NO_ROOM, errno.EPERM),
    "pidfd_send_signal": (errno.EPERM,),
    "kill": (errno.EPERM,),
    "mkdir": (errno.ENOSPC, errno.EACCES, errno.EAGAIN, errno.ENOMEM),
    "rmdir": (errno.EBUSY, errno.EACCES),
    "chdir": (errno.EIO, errno.EACCES, errno.ENOMEM),
    "write": (errno.EBUSY, errno.EAGAIN, errno.ENOSPC, errno.ENOMEM),
    "listdir": _NO_ROOM,
    "waitid": (errno.EINTR,),
    "read": (errno.EIO, errno.ENOMEM),
    "open": (*_NO_ROOM, errno.EACCES, errno.EIO),
    "close_once": _CLOSED,
    "epoll_add": (errno.ENOMEM, errno.ENOSPC),
    "sendmsg": (*_NO_BUFFER, errno.ETOOMANYREFS),
    "recvmsg": (errno.ENOMEM,),
}

#: Of any call of a scribe that asks a disk for something.
DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENFILE,
    errno.ENOMEM,
)  # fmt: skip

#: Of the keeper of a whole daemon.
KEEPER = {
    **{kind: ALONE[kind] for kind in ("fork", "fork_into", "posix_spawn")},
    **dict.fromkeys(("pipe2", "memfd_create", "socketpair", "pidfd_open"), _NO_ROOM[:1]),
    "new_socket": (*_NO_ROOM, errno.ENOBUFS),
    "bind": (errno.EADDRINUSE, errno.ENOSPC, errno.ENOMEM),
    "listen": (errno.EADDRINUSE,),
    "setsockopt": (errno.ENOBUFS,),
    "send": _NO_BUFFER,
    "sendmsg": (errno.ENOBUFS,),
    "recvmsg": (errno.ENOMEM,),
    "epoll_add": (errno.ENOSPC,),
    "chmod": (errno.EPERM, errno.EIO),
    "fchmod": (errno.EPERM, errno.EIO),
    "chown": (errno.EPERM, errno.EIO),
    "unlink": (errno.EIO, errno.EACCES),
    "mkdir": (errno.ENOSPC,),
    "rmdir": (errno.EBUSY,),
    "fcntl": (errno.EMFILE, errno.EPERM),
    "setpriority": (errno.EPERM,),
    "prlimit": (errno.EPERM,),
    "getxattr": (errno.EIO,),
    "pread": (errno.ENOMEM,),
    "open": (errno.EMFILE, errno.EIO),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC,),
    "close_once": _CLOSED[:1],
}

#: Of its supervisor, with the children that do errands for it.
SUPERVISOR = {
    "socketpair": _NO_ROOM,
    "posix_spawn": _NO_PROCESS,
    "memfd_create": _NO_ROOM,
    "write": (errno.ENOSPC, errno.ENOMEM),
    "pread": (errno.ENOMEM,),
    "open": (*_NO_ROOM, errno.EACCES),
    "new_socket": (*_NO_ROOM, errno.ENOBUFS),
    "connect_ex": (errno.EAGAIN, errno.EADDRNOTAVAIL, errno.ENOMEM),
    "accept": (*_NO_ROOM, errno.ECONNABORTED),
    "getsockopt": (errno.ENOBUFS,),
    "recv": (errno.ECONNRESET, errno.ENOMEM),
    "send": (errno.EPIPE, errno.ENOBUFS),
    "sendall": (errno.EPIPE, errno.EAGAIN),
    "shutdown": (errno.ENOTCONN,),
    "sendmsg": (errno.ENOBUFS, errno.ETOOMANYREFS),
    "recvmsg": (errno.ENOMEM,),
    "epoll_add": (errno.ENOMEM, errno.ENOSPC),
    "close_once": _CLOSED,
}
#: Of its scribe; what becomes of lines then is told by tests/process/test_scribe_exactness.py.
SCRIBE = {
    "open": (errno.EMFILE, errno.EIO),
    "lstat": (errno.EIO,),
    "fstat": (errno.EIO,),
    "listdir": (errno.EIO,),
    "pread": (errno.EIO,),
    "pwrite": (errno.ENOSPC, errno.EIO),
    "readv": (errno.ENOMEM,),
    "splice": (errno.ENOMEM,),
    "sendmsg": (errno.ENOBUFS,),
    "recvmsg": (errno.ENOMEM,),
    "shrink": (errno.ENOMEM,),
    "close": _CLOSED[:1],
}
OF_ROLE = {"keeper": KEEPER, "supervisor": SUPERVISOR, "scribe": SCRIBE}


#: Above what is ever called in one scene.
_MANY = 100_000


@dataclass
class Tally:
    """What was tried, and what was wrong.

    Attributes:
        kinds: Kind and errno of what was refused anywhere.
        places: How many calls were refused.
        wrong: Where something was not as it must be.
    """

    kinds: set[tuple[str, int]] = field(default_factory=set)
    places: int = 0
    wrong: list[str] = field(default_factory=list)

    def failed(self, where: str) -> None:
        """Take note of the exception that is being handled."""
        self.wrong.append(where)
        sys.stderr.write(f"WRONG: {where}\n{traceback.format_exc()}")
        sys.stderr.flush()


def spread(count: int, most: int) -> list[int]:
    """Return places from 1 to *count*, at most *most* (0: all), spread over all."""
    tried = min(count, most) if most else count
    return sorted({1 + count * n // tried for n in range(tried)})


def alone(tally: Tally, kinds: Sequence[str]) -> None:
    """Refuse each call of a keeper alone."""
    for kind in kinds:
        for number in ALONE[kind]:
            for cgroups in (True, False):
                which, before = 0, tally.places
                while True:
                    which += 1
                    where = f"keeper alone: {kind} {errno.errorcode[number]} {which} {cgroups=}"
                    try:
                        if not fails_at(kind, number, which, cgroups=cgroups):
                            break
                    except (AssertionError, OSError):
                        tally.failed(where)
                    tally.kinds.add((kind, number))
                    tally.places += 1
                told = "with cgroups" if cgroups else "without cgroups"
                say(kind, number, told, tally.places - before)


def rotation(tally: Tally, ways: Sequence[str]) -> None:
    """Refuse each call of a scribe that asks a disk, in whatever way a log is kept."""
    folder = leftovers.short_folder()
    for way in ways:
        for number in DISK:
            for times in (1, 4):
                before = tally.places
                for which in range(1, _MANY):
                    path = folder / f"{way}{number}.{times}.{which}" / "w.log"
                    where = f"rotation: {errno.errorcode[number]} {which}, {times} times, {way}"
                    try:
                        if not loses_only_what_it_counts(path, number, which, times=times, way=way):
                            break
                    except (AssertionError, OSError):
                        tally.failed(where)
                    tally.kinds.add(("disk", number))
                    tally.places += 1
                    shutil.rmtree(path.parent, ignore_errors=True)
                say("disk", number, f"{way}, {times} times", tally.places - before)


def say(kind: str, number: int, where: str, places: int) -> None:
    """Tell how far it is."""
    sys.stdout.write(f"{kind}: {os.strerror(number)}, {where}: {places} places\n")
    sys.stdout.flush()


class Houses:
    """A daemon for many scenes; another one when something went wrong with it."""

    def __init__(self) -> None:
        self._daemon: Refusing | None = None

    def __enter__(self) -> "Houses":
        return self

    def daemon(self, scene: str) -> Refusing:
        """Return one that is well."""
        if self._daemon is None:
            self._daemon = Refusing(is_warm=not SCENES[scene].is_end).__enter__()
        return self._daemon

    def end(self) -> None:
        """Prove the end of this one."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            daemon.__exit__(None)

    def where(self) -> str:
        """Return where the last refused call was."""
        return "nowhere" if self._daemon is None else self._daemon.where()

    def give_up(self) -> None:
        """End this one, however it is."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            daemon.disarm()
            daemon.__exit__(AssertionError)

    def __exit__(self, *_failure: object) -> None:
        self.end()


def whole(
    tally: Tally, role: str, scenes: Sequence[str], kinds: Sequence[str] = (), *, most: int = 0
) -> None:
    """Refuse calls of one process of a whole daemon, *most* (0: all) of each kind in a scene."""
    with Houses() as houses:
        for scene in scenes:
            for kind, numbers in OF_ROLE[role].items():
                if kinds and kind not in kinds:
                    continue
                count = _count(tally, houses, scene, role, kind) if most else _MANY
                for number in numbers:
                    before = tally.places
                    for which in spread(count, most) if most else range(1, count):
                        if not _refuse(tally, houses, scene, role, kind, number, which):
                            break
                    if tally.places > before:
                        say(kind, number, f"{role}, {scene}", tally.places - before)


def _count(tally: Tally, houses: Houses, scene: str, role: str, kind: str) -> int:
    """Return how many calls of a kind there are in a scene with nothing refused."""
    try:
        daemon = houses.daemon(scene)
        daemon.arm(role, kind, 0, 0)
        SCENES[scene].act(daemon)
        count = daemon.counted
        daemon.disarm()
        if SCENES[scene].is_end:
            houses.end()
        else:
            daemon.check(renewed=SCENES[scene].renewed)
    except Exception:  # noqa: BLE001  # whatever it is, it is told
        tally.failed(f"{role}: {kind}: {scene}, with nothing refused")
        houses.give_up()
        return 0
    return count


def _refuse(
    tally: Tally, houses: Houses, scene: str, role: str, kind: str, number: int, which: int
) -> bool:
    try:
        daemon = houses.daemon(scene)
        was_refused = refused_in(daemon, scene, role, kind, number, which)
        if SCENES[scene].is_end:
            houses.end()
        if not was_refused:
            return False
    except Exception:  # noqa: BLE001  # whatever it is, it is told
        word = errno.errorcode[number]
        where = houses.where()
        tally.failed(f"{role}: {kind} {word} {which}: {scene}: {where}")
        houses.give_up()
    tally.kinds.add((kind, number))
    tally.places += 1
    return True
