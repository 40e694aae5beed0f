"""What the keeper cannot keep in its place in the file system: told in the status."""

from typing import Any


class Places:
    """The present knowledge."""

    def __init__(self, troubles: dict[str, str] | None) -> None:
        """Begin with what the keeper handed over; one of an earlier version says nothing."""
        self._troubles = troubles or {}

    def take(self, message: dict[str, Any]) -> None:
        """Take what a message of the keeper says of it, if anything."""
        self._troubles = message.get("places", self._troubles)

    def warnings(self) -> list[str]:
        """Return a line for each, for people."""
        return [
            f"{path} is gone and cannot be made again: {reason}"
            for path, reason in self._troubles.items()
        ]
