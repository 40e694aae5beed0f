"""What runs inside a daemon whose system calls are refused: `base/resident.py` with worse luck.

A script of two lines enters `main`; its path is the code of the daemon, also where that is replaced
by an upgrade. Beside it lies the plan, which all of its processes share as memory: which call of
which process is to be refused, and how often each has slept.

The standard library only: these processes run without others.
"""

import errno
import mmap
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from supervisord_lite.base import prctl, resident
from supervisord_lite.keeper import calls as keeper_calls
from supervisord_lite.scribe import calls as scribe_calls

#: Whose calls can be refused.
ROLES = ("keeper", "supervisor", "scribe")
#: Numbers in the plan. LEFT counts down with each call of the kind; at 0 that one is refused.
ROLE, KIND, ERRNO, LEFT, DONE = range(5)
#: From here on: how often each of the roles has slept.
SLEEPS = 8
PLAN_BYTES = 128
PLAN = "plan"
#: Beside it: where each call was that was refused.
REFUSED = "refused"


def kinds_of(*seams: type) -> tuple[str, ...]:
    """Return the names of the calls of seams."""
    names = {
        name
        for seam in seams
        for name, what in vars(seam).items()
        if isinstance(what, staticmethod)
    }
    return tuple(sorted(names))


#: What is replaced: the base is that of the keeper too.
SEAMS = (*keeper_calls.Calls.__mro__[:-1], scribe_calls.Calls)
KINDS = kinds_of(*SEAMS)


def plan_at(folder: str) -> memoryview:
    """Return the plan as numbers; it is made where there is none."""
    descriptor = os.open(f"{folder}/{PLAN}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, PLAN_BYTES)
    shared = mmap.mmap(descriptor, PLAN_BYTES)
    os.close(descriptor)
    return memoryview(shared).cast("q")


def _install(folder: str, role: int) -> None:
    plan = plan_at(folder)
    for seam in SEAMS:
        for name, what in list(vars(seam).items()):
            if isinstance(what, staticmethod):
                call = _refusable(plan, folder, role, name, what.__func__)
                setattr(seam, name, staticmethod(call))


def _refusable(
    plan: memoryview, folder: str, role: int, kind: str, call: Callable[..., Any]
) -> Callable[..., Any]:
    number = KINDS.index(kind)

    def sleep(*arguments: Any) -> Any:
        plan[SLEEPS + role] += 1
        return call(*arguments)

    def refusable(*arguments: Any, **more: Any) -> Any:
        if plan[ROLE] == role and plan[KIND] == number:
            plan[LEFT] -= 1
            if plan[LEFT] == 0:
                plan[DONE] += 1
                _note(folder, kind, plan[ERRNO])
                if kind in ("close", "close_once"):
                    call(*arguments, **more)  # refused or not, it is closed
                raise OSError(plan[ERRNO], os.strerror(plan[ERRNO]))
        return call(*arguments, **more)

    return sleep if kind == "epoll_wait" else refusable


def _note(folder: str, kind: str, number: int) -> None:
    frames = traceback.extract_stack(limit=9)[:-2]
    where = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames[::-1])
    line = f"{kind} {errno.errorcode[number]}: {where}\n"
    descriptor = os.open(f"{folder}/{REFUSED}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def main(path: str) -> int:
    """Be the process of the daemon that the arguments name, or `supervisord-lite` for "cli"."""
    resident.__file__ = os.path.abspath(path)
    role, _, _version = sys.argv[1].partition("@")
    if role == "cli":
        cli = __import__("supervisord_lite.cli", fromlist=["main"])
        status: int = cli.main(sys.argv[2:])
        return status
    prctl.protect()
    if role in ROLES:
        _install(os.path.dirname(resident.__file__), ROLES.index(role) + 1)
    entrance = resident._ENTRANCES.get(role, f"{role}.__main__")
    module = __import__(f"supervisord_lite.{entrance}", fromlist=["main"])
    ended: int = module.main(sys.argv[2:])
    return ended
