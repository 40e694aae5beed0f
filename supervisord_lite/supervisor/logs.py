"""What the keeper has told of the workers' logs: what was lost, and what cannot be written now."""

from collections.abc import Callable
from typing import Any

from supervisord_lite.base.newest import MOST_LOGS, remember


class Logs:
    """The present knowledge, by path.

    Attributes:
        on_dropped: Told of what was lost since it was told last: path, bytes, lines, why.
        changes: Counts what was taken in: while it is the same, `output` is.
    """

    def __init__(self, dropped: dict[str, list[int]], troubles: dict[str, str]) -> None:
        """Begin with what the keeper handed over.

        Args:
            dropped: Path -> (bytes, lines) lost since the daemon started.
            troubles: Path -> why nothing can be written there now.
        """
        self.on_dropped: Callable[[str, int, int, str], None] = _nobody
        self.changes = 0
        self._dropped = {path: (counts[0], counts[1]) for path, counts in dropped.items()}
        self._troubles = dict(troubles)

    def take(self, message: dict[str, Any]) -> None:
        """Take what a message of the keeper says of logs, if anything."""
        if "trouble" in message or "dropped" in message:
            self.changes += 1
        for path, reason in message.get("trouble", {}).items():
            if reason is None:
                self._troubles.pop(path, None)
            else:
                remember(self._troubles, path, reason, most=MOST_LOGS)
        for path, (lost_bytes, lost_lines) in message.get("dropped", {}).items():
            bytes_before, lines_before = self._dropped.get(path, (0, 0))
            remember(self._dropped, path, (lost_bytes, lost_lines), most=MOST_LOGS)
            # Of the daemon's own output the scribe counts anew when it is replaced.
            more_bytes = lost_bytes - bytes_before if lost_bytes >= bytes_before else lost_bytes
            more_lines = lost_lines - lines_before if lost_lines >= lines_before else lost_lines
            if more_bytes > 0:
                why = self._troubles.get(path, "they could not be written in time")
                self.on_dropped(path, more_bytes, more_lines, why)

    def output(
        self, stdout: str, stderr: str, places: tuple[str, str] | None = None
    ) -> dict[str, object]:
        """Return how the output of one worker fares (the type Output of the varlink definition).

        Args:
            stdout: Where it goes, for people.
            stderr: The same.
            places: The files where that is kept, if these are others.
        """
        paths = dict.fromkeys(places or (stdout, stderr))
        return {
            "stdout": stdout,
            "stderr": stderr,
            "dropped_bytes": sum(self._dropped.get(path, (0, 0))[0] for path in paths),
            "trouble": next((self._troubles[p] for p in paths if p in self._troubles), None),
        }


def _nobody(_path: str, _bytes: int, _lines: int, _why: str) -> None:
    """Nobody wants to know."""
