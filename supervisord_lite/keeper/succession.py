"""The keeper replaces itself: other code in the same process, which keeps its pid and its children.

Theory of operation
===================

`execve` keeps what the kernel knows of a process: pid, children, descriptors that are not closed on
exec, signals that are pending, limits, being a subreaper. Everything else is packed into one JSON
object in a memory file, and unpacked by whoever comes. Each part of the keeper packs its own
(`pack`) and goes on with it (`unpack`); descriptors travel under their numbers.

Nothing is waited for. What is under way goes on: set-up stages and their pipes, starts that wait
for a forkserver, forks at their gate, trees that are being cleared, probes (which have ended with
the supervisor) until nothing of them is alive. Supervisor and scribe are not handed on: both have
ended before (upgrade.py), their channels were read to the end, and new ones are started as after a
crash. What lies in pipes, sockets and backlogs stays there: nothing is read or written between
`pack` and the first turn of the new keeper.

=============================  ====================================================================
a worker ends meanwhile        it is a zombie until the new keeper reaps it, and finds its run by
                               its pid
a signal comes                 they are blocked before the state is packed and stay so through
                               execve; the new keeper takes what is pending once it can. Of each
                               kind the kernel keeps one
execve fails, or before that   all is undone; the keeper goes on as it was
the new code cannot go on      before it has done anything that could be seen, it becomes the code
with the state                 of before again, with the same state (way_back.py), which says so in
                               the log. Once: if that cannot go on either, the daemon ends
killed in between              as the keeper's death at any other time
=============================  ====================================================================

There is no way back where the other code lies at the same path as this: what was there is gone. The
one thing that is waited for is the disk from which the other code is read, as at the first start.

Unpacking does nothing that could be seen: no signal, no read, no write, no process. So the way back
is open until the first turn; and a dry start does the very same on stand-ins (entrance.py).

Between execve and its first steps the new keeper is an ordinary process to others of its user, as
`run` is at the start of the daemon. The values of `secrets` are never in the state.

Descriptors: only those that some part has packed lose close-on-exec, for the moment of the execve,
with all signals blocked and nothing forked; everything that the new keeper finds open is closed on
exec again at once. What it has no use for, because a later version had packed it, it closes.

Versions: a keeper reads the state of any other whose number is the same (`SUCCESSION`): what is
absent has a default, what is not known is left out. The number goes up when that is not enough.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.base.resident import arguments_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.calls import Calls

#: What this keeper writes, and reads.
SUCCESSION = 1
#: Kept from coming while the keeper is neither here nor there; not those of the C library.
SIGNALS = set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}


class SuccessionError(ValueError):
    """A former keeper has written what this one does not know."""


def stated(pack: Callable[[Callable[[int], int]], dict[str, Any]]) -> dict[str, Any]:
    """Return the state of a keeper.

    Args:
        pack: Returns what its parts have packed, and calls what it is given with each descriptor
            that goes with it.
    """
    descriptors: list[int] = []

    def keep(number: int) -> int:
        if number >= 0:
            descriptors.append(number)
        return number

    parts = pack(keep)
    return {
        "succession": SUCCESSION,
        "began_s": time.monotonic(),
        "former": {"interpreter": sys.executable, "resident": os.path.abspath(sys.argv[0])},
        "descriptors": descriptors,
        **parts,
    }


def write(calls: Calls, state: dict[str, Any]) -> int:
    """Return a memory file with *state*, closed on exec.

    Raises:
        OSError: No memory, or no descriptor.
    """
    return memory_file(json.dumps(state).encode("ascii"), "succession", calls)


def is_state(said: dict[str, Any]) -> bool:
    """Return whether a keeper has said this, and not `run`."""
    return "succession" in said


def understood(said: dict[str, Any]) -> dict[str, Any]:
    """Return a state that this keeper can go on with.

    Raises:
        SuccessionError: It cannot.
    """
    if said["succession"] != SUCCESSION:
        message = f"the state of the keeper is of form {said['succession']}, not {SUCCESSION}"
        raise SuccessionError(message)
    return said


def step_over(
    calls: Calls,
    state: dict[str, Any],
    interpreter: str,
    resident: str,
    environment: dict[str, str],
) -> None:
    """Become other code; return only by an error, with everything as it was.

    Args:
        calls: The seam.
        state: As `stated` has returned it; signals are blocked since before.
        interpreter: An absolute path.
        resident: base/resident.py of the code that is meant.
        environment: The daemon's own.

    Raises:
        OSError: It cannot be had.
    """
    # The interpreter would find out only when we are not there any more.
    calls.close(calls.open(resident, os.O_RDONLY | os.O_CLOEXEC))
    descriptor = write(calls, state)
    handed = [*state["descriptors"], descriptor]
    command = arguments_for("keeper", str(descriptor), code=(interpreter, resident))
    try:
        for number in handed:
            calls.set_inheritable(number, True)
        calls.execve(interpreter, command, environment)
    except (OSError, ValueError):
        for number in handed:
            os.set_inheritable(number, False)
        raise
    finally:
        calls.close(descriptor)
