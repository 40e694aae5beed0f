"""Which events somebody wants to see: the same words for those of before and those to come."""

from __future__ import annotations

from fnmatch import fnmatchcase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Selection:
    """Names of events, and names of workers; what is left empty means all."""

    def __init__(self, events: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        """Take globs.

        Args:
            events: Of events: "worker.failed", "config.*".
            names: Of workers or pools; "all" is every worker.
        """
        self._events = tuple(events)
        self._names = tuple(names)

    def has(self, event: dict[str, Any]) -> bool:
        """Return whether *event* is meant."""
        if self._events and not _is_one(str(event.get("event")), self._events):
            return False
        if not self._names:
            return True
        pool = event.get("pool")
        if pool is None:
            return False  # about no worker
        name = str(event.get("name", pool))
        return "all" in self._names or _is_one(name, self._names) or _is_one(str(pool), self._names)


def _is_one(word: str, globs: Sequence[str]) -> bool:
    return any(word == glob or fnmatchcase(word, glob) for glob in globs)
