"""When each worker wants to be asked again: a heap that forgets what was taken back."""

import heapq
from typing import Generic, TypeVar

#: A slot, or a run: a tuple, so that equal times are in order.
Key = TypeVar("Key", bound=tuple[str | int, ...])

#: Entries that were taken back may stand in the heap until they are due, which may be in days; so
#: many, and as many as there are workers, before it is made anew.
_MOST_STALE = 64


class Deadlines(Generic[Key]):
    """One time at most for each key, in seconds on the daemon's clock."""

    def __init__(self) -> None:
        """Begin with none."""
        self._heap: list[tuple[float, Key]] = []
        self._at_s: dict[Key, float | None] = {}

    def put(self, slot: Key, at_s: float | None) -> None:
        """Let this be the deadline of a slot; None: it has none."""
        if at_s == self._at_s.get(slot):
            return
        self._at_s[slot] = at_s
        if at_s is None:
            return
        heapq.heappush(self._heap, (at_s, slot))
        if len(self._heap) > 2 * len(self._at_s) + _MOST_STALE:
            self._heap = [(at_s, slot) for slot, at_s in self._at_s.items() if at_s is not None]
            heapq.heapify(self._heap)

    def forget(self, slot: Key) -> None:
        """The slot is gone."""
        self._at_s.pop(slot, None)

    def take_due(self, now_s: float) -> list[Key]:
        """Return whose time has come, the earliest first; they have no deadline then."""
        due = []
        while self._heap and self._heap[0][0] <= now_s:
            at_s, slot = heapq.heappop(self._heap)
            if self._at_s.get(slot) == at_s:
                self._at_s[slot] = None
                due.append(slot)
        return due

    def next_s(self) -> float | None:
        """Return the earliest deadline."""
        while self._heap:
            at_s, slot = self._heap[0]
            if self._at_s.get(slot) == at_s:
                return at_s
            heapq.heappop(self._heap)
        return None
