"""One heap of things to come, one clock, one source of chance: what both worlds run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush

from supervisord_lite.supervisor.changeover import HalfChangedError
from tests.support.simulator.drawn import Faults, chance
from tests.support.simulator.trace import Trace
from tests.support.simulator.violation import BrokenPromiseError

#: More happenings than this without any time between them: something goes round and round.
_MOST_AT_ONCE = 5000


class World:
    """A seed's history. Times are in seconds.

    Attributes:
        trace: Every event so far.
        rng: Where all chance comes from.
        faults: What goes wrong, and how often.
        is_calm: All faults have stopped.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.trace = Trace()
        self.now_s = 1000.0
        self.rng = chance(seed)
        self.faults = Faults(self.rng)
        self.is_calm = False
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = 0
        self._at_once = 0

    def at(self, in_s: float, happen: Callable[..., None], *about: object) -> None:
        """Let something happen later, in seconds from now."""
        self._number += 1
        heappush(self._heap, (self.now_s + in_s, self._number, happen, about))

    def run(self, most: int) -> None:
        """Let *most* events happen.

        Raises:
            BrokenPromiseError: Its message has the seed and the latest events.
        """
        with self.telling_the_seed():
            while self.trace.count < most:
                self._next()

    def pass_s(self, span_s: float) -> None:
        """Let so much time pass."""
        until_s = self.now_s + span_s
        while self._heap and self._heap[0][0] <= until_s:
            self._next()
        self.now_s = until_s

    def _next(self) -> None:
        at_s, _, happen, about = heappop(self._heap)
        if at_s > self.now_s:
            self.now_s = at_s
            self._at_once = 0
        self._at_once += 1
        if self._at_once > _MOST_AT_ONCE:
            message = "it goes round and round, and no time passes"
            raise BrokenPromiseError(message)
        happen(*about)

    @contextmanager
    def telling_the_seed(self) -> Iterator[None]:
        """Say of every error where it comes from, and what happened before it."""
        try:
            yield
        except (Exception, HalfChangedError) as error:
            message = f"seed {self.seed}, event {self.trace.count}: {error!r}\n{self.trace.last()}"
            raise BrokenPromiseError(message) from error
