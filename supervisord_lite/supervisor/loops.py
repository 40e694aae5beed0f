"""How long the daemon's own loops were away: what they measured, for status and metrics.

The keeper says with each ping what it has measured, and there is one for whoever connects; so what
is told is of now, and nobody wakes for it.
"""

from typing import Any

from supervisord_lite.base.stalls import Stalls


class Loops:
    """The longest turns of supervisor and keeper, each since it was started."""

    def __init__(self, own: Stalls) -> None:
        """Take those of this process; the keeper has said nothing yet."""
        self._own = own
        self._keepers: tuple[float, int] | None = None

    def take(self, message: dict[str, Any]) -> None:
        """Take what the keeper says of itself."""
        if "stalls" in message:
            longest_s, count = message["stalls"]
            self._keepers = float(longest_s), int(count)

    def told(self) -> list[dict[str, object]]:
        """Return them for the wire; a keeper of an earlier version does not measure."""
        loops = [_loop("supervisor", self._own.longest_s, self._own.count)]
        return loops if self._keepers is None else [*loops, _loop("keeper", *self._keepers)]


def _loop(process: str, longest_s: float, count: int) -> dict[str, object]:
    return {"process": process, "longest_stall_s": round(longest_s, 6), "stalls": count}
