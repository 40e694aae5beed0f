"""What happened in a simulation: a hash of all of it, and the end of it for people."""

from __future__ import annotations

import hashlib
import marshal
from collections import deque

#: Lines that a failing run prints.
KEPT = 50
_BATCH = 512

_Fact = float | int | str | None


class Trace:
    """Every event of one simulation, in order.

    What is hashed is numbers and names only, nothing that depends on addresses or on the hash of a
    text, so equal seeds give equal hashes in every process.
    """

    def __init__(self) -> None:
        self.count = 0
        self._facts: list[tuple[_Fact, ...]] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[tuple[tuple[_Fact, ...], *tuple[object, ...]]] = deque(maxlen=KEPT)

    def add(self, facts: tuple[_Fact, ...], *details: object) -> None:
        """Take one event: *facts* are hashed, and kept with *details* for people."""
        self.count += 1
        self._facts.append(facts)
        self._last.append((facts, *details))
        if len(self._facts) >= _BATCH:
            self._fold()

    def _fold(self) -> None:
        # Version 2 has no references, so equal values are equal bytes whoever else holds them.
        self._hash.update(marshal.dumps(self._facts, 2))
        self._facts.clear()

    def digest(self) -> str:
        """Return the hash of everything so far."""
        self._fold()
        return self._hash.hexdigest()

    def last(self) -> str:
        """Return the latest events, one line each, oldest first."""
        return "\n".join(
            "  ".join([" ".join(map(str, facts)), *map(str, details)])
            for facts, *details in self._last
        )
