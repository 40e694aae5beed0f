"""What a worker says to the daemon: over its notification socket, and over nothing else.

The words are those of sd_notify(3) (READY=1, STATUS=, WATCHDOG=1), and one of ours for an end:
``X_SUPERVISORD_LITE_END=`` with one JSON object. Whoever receives it stands in keeper/voices.py. A
datagram that was sent before the process ended is read before its end is told, so the reason of a
crash is not lost.

The keeper's end is a socket that another process reads: it may be slow, and it may be gone. What
matters (ready, the reason of an end) is waited for, with a limit; of signs of life and of the
status only the next one matters, so nobody waits.
"""

from __future__ import annotations

import json
import os
import socket
import time

from supervisord_lite.worker.masks import Masks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The variable that tells why a process is about to end.
END = "X_SUPERVISORD_LITE_END"
#: Of one datagram; the keeper reads no more.
MOST_BYTES = 60_000
#: Of the words of an end.
MOST_WORDS = 1000
_MOST_STATUS = 300
#: How long it is waited for a keeper that does not read.
_PATIENCE_S = 2.0
_PAUSE_S = 0.005
#: sun_path of unix(7), less the NUL.
_LONGEST_PATH_BYTES = 107


class Voice:
    """One end of a notification socket; without one nobody hears, and nothing fails.

    Attributes:
        masks: Secrets, which are in nothing that it says.
    """

    def __init__(self, path: str | None, masks: Masks | None = None) -> None:
        """Connect to the socket *path*; None: there is nobody to talk to."""
        self.masks = masks or Masks()
        self._socket = None if path is None else _connected(path)

    def close(self) -> None:
        """Nothing is to be said any more."""
        if self._socket is not None:
            self._socket.close()

    def say(self, words: str) -> bool:
        """Say what the next words of its kind replace; return False when it must be said again."""
        if self._socket is None:
            return True
        try:
            self._socket.send(words.encode("utf-8", "replace"))
        except BlockingIOError:
            return False
        except OSError:
            return True  # the daemon is gone, and nobody will ever listen
        return True

    def insist(self, words: str) -> None:
        """Say what nothing replaces, and wait a while where there is no room for it."""
        give_up_at_s = time.monotonic() + _PATIENCE_S
        while not self.say(words) and time.monotonic() < give_up_at_s:
            # No poller tells when the queue of the other end has room again.
            time.sleep(_PAUSE_S)

    def ready(self) -> None:
        """It is ready."""
        self.insist("READY=1")

    def alive(self) -> bool:
        """Give a sign of life."""
        return self.say("WATCHDOG=1")

    def status(self, text: str) -> bool:
        """What it is doing, for people."""
        return self.say(f"STATUS={' '.join(self.masks.masked(text)[:_MOST_STATUS].split())}")

    def crashed(self, words: str, traceback: str) -> None:
        """It ends because of an exception: one line of *words*, and the whole story."""
        self._end({"words": self.masks.masked(words)[:MOST_WORDS]}, traceback)

    def cannot_run(self, reason: str, *, hopeless: bool, traceback: str = "") -> None:
        """The target cannot be run at all; *hopeless*: as long as nothing is changed."""
        about = {
            "stage": "target",
            "reason": self.masks.masked(reason)[:MOST_WORDS],
            "hopeless": hopeless,
        }
        self._end(about, traceback)

    def cannot_have(self, reason: str, *, missing: bool, hopeless: bool) -> None:
        """Its secrets cannot be read."""
        about = {"stage": "secret", "reason": reason[:MOST_WORDS]}
        self._end({**about, "missing": missing, "hopeless": hopeless}, "")

    def _end(self, about: dict[str, Any], traceback: str) -> None:
        # The end of a traceback says most. What is not ASCII takes several bytes of JSON.
        traceback = self.masks.masked(traceback)
        most = MOST_BYTES // 2
        while True:
            text = json.dumps({**about, "traceback": traceback[-most:]} if most else about)
            if len(text) <= MOST_BYTES or not most:
                break
            most //= 2
        self.insist(f"{END}={text}")


def _connected(path: str) -> socket.socket | None:
    own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    own.setblocking(False)
    folder = -1
    try:
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)  # noqa: PTH120
            path = f"/proc/self/fd/{folder}/{os.path.basename(path)}"  # noqa: PTH119
        own.connect(path)
    except OSError:
        own.close()
        return None
    finally:
        if folder >= 0:
            os.close(folder)
    return own
