"""Slots that must not start: something of theirs lives on that an earlier keeper has left.

`run` has tried to end it and could not (cli/left_behind.py): it sleeps in a disk call, it became
another user, or it does not show that it is ours. A second process of that slot would be worse than
none. So each start fails while one of them lives; who it is stands in the reason.
"""

from __future__ import annotations

from supervisord_lite.keeper.trees import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from supervisord_lite.keeper.calls import Calls


class Held:
    """Who is in whose way."""

    def __init__(self, calls: Calls, said: Iterable[Any]) -> None:
        """Begin.

        Args:
            calls: The seam.
            said: (pool, index, pid, when it was started in ticks) of each process.
        """
        self._calls = calls
        self._by_slot: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for pool, index, pid, started in said:
            self._by_slot.setdefault((pool, index), []).append((pid, started))

    def why_not(self, slot: tuple[str, int]) -> str:
        """Return why a slot must not start, for people; empty: it may."""
        if slot not in self._by_slot:
            return ""
        left = [each for each in self._by_slot[slot] if self._is_alive(*each)]
        if not left:
            del self._by_slot[slot]
            return ""
        self._by_slot[slot] = left
        pids = " ".join(str(pid) for pid, _ in left)
        return f"what a killed daemon has left of it lives on and cannot be ended: pid {pids}"

    def _is_alive(self, pid: int, started: int) -> bool:
        try:
            found = process(self._calls, pid)
        except OSError:
            return True  # nobody could look
        return found is not None and found.started == started and not found.zombie

    def pack(self) -> list[list[Any]]:
        """Return it as JSON."""
        return [[*slot, *each] for slot, found in self._by_slot.items() for each in found]
