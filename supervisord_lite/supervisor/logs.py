"""What the keeper has told of the workers' logs: what was lost, and what cannot be written now."""

from typing import Any

from supervisord_lite.base.newest import MOST_LOGS, remember


class Logs:
    """The present knowledge, by path."""

    def __init__(self, dropped: dict[str, list[int]], troubles: dict[str, str]) -> None:
        """Begin with what the keeper handed over.

        Args:
            dropped: Path -> (bytes, lines) lost since the daemon started.
            troubles: Path -> why nothing can be written there now.
        """
        self._dropped_bytes = {path: counts[0] for path, counts in dropped.items()}
        self._troubles = dict(troubles)

    def take(self, message: dict[str, Any]) -> None:
        """Take what a message of the keeper says of logs, if anything."""
        for path, count in message.get("dropped", {}).items():
            remember(self._dropped_bytes, path, count, most=MOST_LOGS)
        for path, reason in message.get("trouble", {}).items():
            if reason is None:
                self._troubles.pop(path, None)
            else:
                remember(self._troubles, path, reason, most=MOST_LOGS)

    def output(self, stdout: str, stderr: str) -> dict[str, object]:
        """Return how the output of one worker fares (the type Output of the varlink definition)."""
        paths = dict.fromkeys((stdout, stderr))
        return {
            "stdout": stdout,
            "stderr": stderr,
            "dropped_bytes": sum(self._dropped_bytes.get(path, 0) for path in paths),
            "trouble": next((self._troubles[p] for p in paths if p in self._troubles), None),
        }
