"""What workers say of themselves, for people: the latest words of each run that lives.

Secrets that only the worker's own process knows are hidden by our runtime in that process, where it
has one (worker/masks.py). What any program says is shown without those that the configuration has
given it, as far as they are known to look like one (config/secrecy.py).
"""

from collections.abc import Callable, Iterable
from typing import Any

from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.secrecy import masked, secrets_of
from supervisord_lite.config.spec import Settings, Spec
from supervisord_lite.supervisor.outbox import Slot

#: Of one slot: while one takes over from the other there are two.
_RUNS = 2


class Words:
    """The present knowledge, by slot and run: of the latest ones that have said anything.

    Attributes:
        on_changed: Told of each slot whose words are others now.
    """

    def __init__(self, inventory: Iterable[dict[str, Any]]) -> None:
        """Begin with what the keeper handed over."""
        self.on_changed: Callable[[Slot], None] = lambda _slot: None
        self._words: dict[Slot, dict[int, dict[str, str]]] = {}
        for run in inventory:
            if run.get("words"):
                self._put((run["pool"], run["index"]), run["run"], run["words"])

    def take(self, message: dict[str, Any]) -> None:
        """Take what a message of the keeper tells of one worker's words, if anything."""
        if "words" in message:
            pool, index, run, words = message["words"]
            self._put((pool, index), run, words)

    def forget(self, slot: Slot) -> None:
        """The slot is gone."""
        self._words.pop(slot, None)

    def _put(self, slot: Slot, run: int, words: dict[str, str]) -> None:
        said = self._words.setdefault(slot, {})
        said[run] = words
        while len(said) > _RUNS:
            del said[min(said)]
        self.on_changed(slot)

    def _said(self, slot: Slot, run: int) -> dict[str, str]:
        return self._words.get(slot, {}).get(run, {})

    def runs(self, slot: Slot, run: int) -> int:
        """Return how many units of work this run has told of."""
        return int(self._said(slot, run).get("runs") or 0)

    def of(self, slot: Slot, run: int) -> str:
        """Return the latest words of this run, for people; empty: it has said nothing."""
        words = self._said(slot, run)
        return ": ".join(filter(None, (words.get("state"), words.get("status"))))


def without_secrets(said: str, spec: Spec, index: int, settings: Settings) -> str:
    """Return what a worker, or a program that looks after it, has said, as people may read it."""
    if not said:
        return ""
    given = {
        name: instance_text(value, index)
        for name, value in spec.launch.environment
        if value is not None
    }
    known = sorted({*secrets_of(given), *settings.secrets}, key=len, reverse=True)
    return str(masked(said, known))
