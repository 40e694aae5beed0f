"""A supervisor that finds a keeper of another protocol: it has that replaced, before all else.

A package was replaced under a running daemon, and the supervisor died: so this one is of the new
files, and its keeper of the old ones. What the two would say to each other may mean something else
to each. A few words mean the same in all protocols (wire/channel.py); with those the keeper is
asked to try the code of this process, and then to re-execute itself from it. Where that fails there
is nobody left who could supervise: this process says why, and ends after a while, for the next one
to try again. Not at once: it has answered, so the keeper counts no deaths, and would start one
after the other for as long as the files are as they are.
"""

import select
import sys
import time
from typing import Any

from supervisord_lite import __version__
from supervisord_lite.base import exit_codes
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.base.resident import own_code
from supervisord_lite.keeper.trial import LIMIT_S
from supervisord_lite.wire import channel

#: The keeper gives up before.
_TRIAL_S = LIMIT_S + 10.0
#: From a trial that has failed to the next one.
_AGAIN_S = 10.0
_NAME = "other keeper"


def replace_keeper(own: PacketSocket) -> int:
    """Have the keeper replaced by the one of this code; return the exit status.

    Args:
        own: The channel to it.
    """
    interpreter, path = own_code()
    code = {"interpreter": interpreter, "resident": path}
    own.send(channel.encode({"trial": {"id": _NAME, **code}}))
    said = _hear(own, _TRIAL_S)
    if said is None or not said.get("ok"):
        reason = "no answer" if said is None else str(said.get("reason"))
        sys.stderr.write(
            f"version {__version__} was installed under a running daemon of another protocol, whose"
            f" main process it cannot replace: {reason}; the workers run on, and nobody restarts"
            f" them; tried again in {_AGAIN_S:g} s: put back the version of before, or restart the"
            " service\n"
        )
        _hear(own, _AGAIN_S)
        return exit_codes.INTERNAL_ERROR
    order = {**code, "version": __version__, "keeper": True}
    own.send(channel.encode({"replace": order}))
    return channel.MADE_ROOM


def _hear(own: PacketSocket, for_s: float) -> dict[str, Any] | None:
    """Answer pings until the trial has come to something; return that.

    None: nothing came for *for_s* seconds, or the keeper has ended.
    """
    end_s = time.monotonic() + for_s
    poll = select.poll()
    poll.register(own.fileno(), select.POLLIN)
    came: dict[str, Any] | None = None
    while came is None and not own.ended and (left_s := end_s - time.monotonic()) > 0:
        poll.poll(left_s * 1000)
        for data, _ in own.receive():
            message = channel.decode(data)
            if "ping" in message:
                own.send(channel.encode({"pong": message["ping"]}))
            said = message.get("trial")
            if isinstance(said, dict) and said.get("id") == _NAME:
                came = said
    return came
