"""What happened in a simulation: a hash of all of it, and the end of it for people."""

from __future__ import annotations

import hashlib
from collections import deque

#: Lines that a failing run prints.
KEPT = 50
_BATCH = 512


class Trace:
    """Every event of one simulation, in order.

    The lines hold numbers and names only, nothing that depends on addresses or on the hash of a
    text, so equal seeds give equal hashes in every process.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lines: list[str] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[tuple[object, ...]] = deque(maxlen=KEPT)

    def add(self, line: str, *details: object) -> None:
        """Take one event: *line* is hashed, and kept with *details* for people."""
        self.count += 1
        self._lines.append(line)
        self._last.append((line, *details))
        if len(self._lines) >= _BATCH:
            self._fold()

    def _fold(self) -> None:
        self._hash.update("\n".join(self._lines).encode())
        self._lines.clear()

    def digest(self) -> str:
        """Return the hash of everything so far."""
        self._fold()
        return self._hash.hexdigest()

    def last(self) -> str:
        """Return the latest events, one line each, oldest first."""
        return "\n".join("  ".join(map(str, each)) for each in self._last)
