"""Every call of the keeper fails, each Nth of them with each plausible errno, until a run is clean.

    python -m tests.faults [KIND…]

The suite tries some places of each kind; this tries all, which takes many minutes. It says where it
is, and goes on behind a failure; the exit status is 1 if there was one.
"""

import errno
import os
import sys
import traceback

from tests.support.keeper_life import fails_at

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
ERRNOS = {
    "fork": (errno.EAGAIN, errno.ENOMEM),
    "fork_into": (errno.EAGAIN, errno.ENOMEM, errno.EBUSY, errno.ENOSYS),
    "posix_spawn": (errno.EAGAIN, errno.ENOMEM),
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
}


def _sweep(kind: str, number: int, *, cgroups: bool) -> tuple[int, int]:
    """Return how many places there were, and at how many something was wrong."""
    which, wrong = 0, 0
    while True:
        which += 1
        try:
            if not fails_at(kind, number, which, cgroups=cgroups):
                return which - 1, wrong
        except (AssertionError, OSError):
            wrong += 1
            print(f"{kind} {errno.errorcode[number]} {which} cgroups={cgroups}", file=sys.stderr)
            traceback.print_exc()


def main(kinds: list[str]) -> int:
    """Sweep, and say so; return the exit status."""
    wrong = 0
    for kind in kinds or ERRNOS:
        for number in ERRNOS[kind]:
            for cgroups in (True, False):
                places, bad = _sweep(kind, number, cgroups=cgroups)
                wrong += bad
                where = "with cgroups" if cgroups else "without cgroups"
                word = os.strerror(number)
                print(f"{kind}: {word}, {where}: {places} places, {bad} wrong", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
