"""What workers say of themselves, for people: the latest words of each run that lives."""

from collections.abc import Iterable
from typing import Any

from supervisord_lite.supervisor.outbox import Slot


class Words:
    """The present knowledge, by slot; a run's words end with it."""

    def __init__(self, inventory: Iterable[dict[str, Any]]) -> None:
        """Begin with what the keeper handed over."""
        self._words: dict[Slot, tuple[int, dict[str, str]]] = {
            (run["pool"], run["index"]): (run["run"], run["words"])
            for run in inventory
            if run.get("words")
        }

    def take(self, message: dict[str, Any]) -> None:
        """Take what a message of the keeper tells of one worker's words, if anything."""
        if "words" in message:
            pool, index, run, words = message["words"]
            self._words[pool, index] = (run, words)

    def runs(self, slot: Slot, run: int) -> int:
        """Return how many units of work this run has told of."""
        said_by, words = self._words.get(slot, (run, {}))
        return int(words.get("runs") or 0) if said_by == run else 0

    def of(self, slot: Slot, run: int) -> str:
        """Return the latest words of this run, for people; empty: it has said nothing."""
        said_by, words = self._words.get(slot, (run, {}))
        if said_by != run:
            del self._words[slot]  # of one that is over
            return ""
        return ": ".join(filter(None, (words.get("state"), words.get("status"))))
