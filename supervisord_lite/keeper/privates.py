"""Private sockets: made anew for each process, listening, and known to the daemon only.

The process finds them among its other sockets (LISTEN_FDS). The keeper holds none of them once the
process has been started: when the last process that has one is gone, whoever asks there is refused.
The names in the run's own folder go when nothing of its tree is alive.

The name of a socket stays the daemon's: its mode is 0600 and it is not given away, so whoever asks
there can see who made it (supervisor/probes.py).
"""

from __future__ import annotations

import os
import socket

from supervisord_lite.keeper import own_folder
from supervisord_lite.keeper.spawn import StageError, cause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.table import Run

_MODE = 0o600


class Privates:
    """The names of all private sockets, by run."""

    def __init__(self, calls: Calls) -> None:
        """Begin with none."""
        self._calls = calls
        self._places: dict[Run, list[str]] = {}

    def open(self, request: dict[str, Any], opened: list[int]) -> dict[int, int]:
        """Make the private sockets that a spawn request wants.

        Args:
            request: As the supervisor sent it.
            opened: Takes each descriptor; the caller closes them when the process has its own.

        Returns:
            Where the process finds them: descriptor there -> ours.

        Raises:
            StageError: One of them cannot be made.
        """
        files = {}
        for each in _wanted(request):
            try:
                opened.append(self._listen(each["place"], each["backlog"]))
            except OSError as error:
                raise StageError("socket", f"{cause(error)}: {each['place']}") from None
            files[each["fd"]] = opened[-1]
        return files

    def _listen(self, place: str, backlog: int) -> int:
        folder, name = os.path.split(place)
        own_folder.make(self._calls, folder)
        own = self._calls.new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._calls.fchmod(own.fileno(), _MODE)  # before it has a name
            own_folder.bind(self._calls, own, folder, name)
            self._calls.listen(own, backlog)
        except BaseException:
            own.close()
            raise
        return own.detach()

    def begin(self, run: Run, request: dict[str, Any]) -> None:
        """The run is there: its sockets go with it."""
        places = [each["place"] for each in _wanted(request)]
        if places:
            self._places[run] = places

    def places(self, run: Run) -> list[str]:
        """Return the names that *run* has."""
        return self._places.get(run, [])

    def resume(self, run: Run, places: list[str]) -> None:
        """Go on with the names of a run of the keeper before this one."""
        if places:
            self._places[run] = places

    def discard(self, request: dict[str, Any]) -> None:
        """Nobody could be started for them."""
        self._remove([each["place"] for each in _wanted(request)])

    def end(self, run: Run) -> None:
        """Nothing of its tree is alive."""
        self._remove(self._places.pop(run, []))

    def _remove(self, places: list[str]) -> None:
        if places:
            names = [os.path.basename(place) for place in places]
            own_folder.remove(self._calls, os.path.dirname(places[0]), names)


def _wanted(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in request.get("sockets", ()) if each["kind"] == "private"]
