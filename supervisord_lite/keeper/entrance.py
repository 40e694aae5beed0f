"""How a keeper comes into being: from what `run` has prepared, or from the keeper before it."""

from __future__ import annotations

import json
import os
import socket
import time

from supervisord_lite.base.memory_files import memory_content
from supervisord_lite.keeper import succession
from supervisord_lite.keeper.boot import Boot
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.journal import Journal, open_pipe
from supervisord_lite.keeper.loop import Keeper
from supervisord_lite.keeper.notify import Notifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def enter(calls: Calls, descriptor: int, refused: str = "") -> tuple[Keeper, Boot]:
    """Return a keeper that has done nothing yet, and what it began with.

    Args:
        calls: The seam.
        descriptor: A memory file: that of `boot.prepare`, or of a keeper before this one
            (succession.py); it is closed.
        refused: Why another keeper could not go on with that, and we are asked again.

    Raises:
        Exception: It cannot be gone on with; a keeper's file is still open.
    """
    boot = Boot(calls, descriptor)
    if boot.state is None:
        boot.journal_reader, writer = open_pipe()
        journal = Journal(writer, boot.log_style, boot.log_level)
    else:
        journal = Journal.unpacked(boot.state["journal"], boot.log_style, boot.log_level)
    keeper = Keeper(boot, journal, Notifier(boot.environment, os.getpid()))
    if boot.state is not None:
        keeper.unpack(boot.state, refused)
        _close_others(calls, keeper, boot.state["descriptors"])
        calls.close(descriptor)
        if refused:
            journal.write("error", "keeper.not_replaced", reason=refused, next="the one before")
        else:
            took_s = time.monotonic() - boot.state.get("began_s", time.monotonic())
            journal.write("info", "keeper.replaced", pid=os.getpid(), took_s=round(took_s, 3))
        boot.state = None  # it may be large
    return keeper, boot


def _close_others(calls: Calls, keeper: Keeper, descriptors: Iterable[int]) -> None:
    """Close what a later version has handed on, and this one has no use for."""
    used = succession.stated(keeper.pack)["descriptors"]
    for number in set(descriptors) - set(used):
        calls.close(number)


def try_out(descriptor: int) -> dict[str, Any]:
    """Build a keeper of a state whose descriptors are not here, in a process that will end.

    Return what that keeper would hand on in its turn.

    Args:
        descriptor: Of the state's memory file; it stays open. Each descriptor that is named there
            is one that leads nowhere.

    Raises:
        Exception: No keeper of this version can go on with that.
    """
    state = succession.understood(json.loads(memory_content(descriptor)))
    stand_in = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for number in state["descriptors"]:
        try:
            os.fstat(number)
        except OSError:
            os.dup2(stand_in.fileno(), number, inheritable=False)
    boot = Boot(Calls(), descriptor)
    assert boot.state is not None
    journal = Journal.unpacked(boot.state["journal"], boot.log_style, boot.log_level)
    keeper = Keeper(boot, journal, Notifier({}, os.getpid()))
    keeper.unpack(boot.state)
    return succession.stated(keeper.pack)
