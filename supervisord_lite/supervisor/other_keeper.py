"""A supervisor that finds a keeper of another protocol: it has that replaced, before all else.

A package was replaced under a running daemon, and the supervisor died: so this one is of the new
files, and its keeper of the old ones. What the two would say to each other may mean something else
to each. A few words mean the same in all protocols (wire/channel.py); with those the keeper is
asked to try the code of this process, and then to re-execute itself from it. Where that fails there
is nobody left who could supervise: this process ends, says why, and the next one tries again.
"""

import select
import sys
import time
from typing import Any

from supervisord_lite import __version__
from supervisord_lite.base import exit_codes
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.base.resident import own_code
from supervisord_lite.wire import channel

#: The keeper itself gives a trial 30 s.
_LIMIT_S = 40.0
_NAME = "other keeper"


def replace_keeper(own: PacketSocket) -> int:
    """Have the keeper replaced by the one of this code; return the exit status.

    Args:
        own: The channel to it.
    """
    interpreter, path = own_code()
    code = {"interpreter": interpreter, "resident": path}
    own.send(channel.encode({"trial": {"id": _NAME, **code}}))
    said = _wait_for_trial(own)
    reason = "no answer" if said is None else str(said.get("reason"))
    if said is None or not said.get("ok"):
        sys.stderr.write(f"the keeper is of another version, and cannot be replaced: {reason}\n")
        return exit_codes.INTERNAL_ERROR
    order = {**code, "version": __version__, "keeper": True}
    own.send(channel.encode({"replace": order}))
    return channel.MADE_ROOM


def _wait_for_trial(own: PacketSocket) -> dict[str, Any] | None:
    """Return what the trial came to; None: nothing came. Pings are answered meanwhile."""
    end_s = time.monotonic() + _LIMIT_S
    poll = select.poll()
    poll.register(own.fileno(), select.POLLIN)
    while not own.ended and (left_s := end_s - time.monotonic()) > 0:
        poll.poll(left_s * 1000)
        for data, _ in own.receive():
            message = channel.decode(data)
            if "ping" in message:
                own.send(channel.encode({"pong": message["ping"]}))
            said = message.get("trial")
            if isinstance(said, dict) and said.get("id") == _NAME:
                return said
    return None
