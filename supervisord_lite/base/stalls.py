"""For how long a loop was away from its descriptors.

A loop that serves everybody must come back soon, whatever a worker, a client or a disk does. So the
loop itself measures each turn, from the moment that it wakes until it looks again; what it waited
for a processor meanwhile counts as well, for whoever wants an answer waits all the same.
"""

from __future__ import annotations

#: Somebody who waits for an answer notices this.
LONG_S = 0.1


class Stalls:
    """The turns of one loop.

    Attributes:
        longest_s: The longest turn so far.
        count: How many turns were longer than `LONG_S`.
        woke_s: When the present turn began; None: there was none yet.
    """

    __slots__ = ("count", "longest_s", "woke_s")

    def __init__(self) -> None:
        """Begin outside of any turn: what comes before the first sleep is no turn."""
        self.woke_s: float | None = None
        self.longest_s = 0.0
        self.count = 0

    def woke(self, now_s: float) -> None:
        """A turn begins."""
        self.woke_s = now_s

    def looks(self, now_s: float) -> None:
        """It ends: the loop looks at its descriptors again."""
        if self.woke_s is None:
            return
        took_s = now_s - self.woke_s
        if took_s > self.longest_s:
            self.longest_s = took_s
        if took_s > LONG_S:
            self.count += 1
