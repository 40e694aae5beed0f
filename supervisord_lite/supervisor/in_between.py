"""In the middle of a long turn: whoever only asks is answered, and everybody else waits.

What comes into force with ten thousand processes, or is ordered of all of them, is one step: nobody
may see half of it, and it is saved as a whole or not at all. That takes a second or two, and the
loop must not be away from its descriptors for so long. So a turn that takes its time looks up from
its work after each worker, when `EVERY_S` has passed:

* *The keeper* is listened to. A ping is answered, so the watchdog is fed and nobody takes us for
  hung. All else that it says (facts above all) is kept, in order, until this turn is over: nothing
  may change under the hands of whoever is at work.
* *Clients* are accepted and read. What only tells (`Verbs.handle` says which calls) is answered
  from what there is at that moment. Whatever changes something waits, in order, until the turn is
  over, and so does the next request of that client.
* *Deadlines, children, probes, signals* wait.

Nothing of the turn has been sent by then, or a part that means the same alone, as ever: a
supervisor that is killed in the middle of it has changed nothing, and one that is killed behind it
has changed all. So there is no state of its own to be saved, and none to be lost.

An answer may itself take long (a status of ten thousand), so looking up goes on while one is made,
`_DEEPEST` times at most; and only a few such answers are given in one turn, so that it comes to its
end whatever is asked. The others wait.

Nobody looks up before the first sleep: who has not taken over yet has nothing to tell, and must not
be believed to be well.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from supervisord_lite.base.stalls import Stalls

_T = TypeVar("_T")

#: Of the 100 ms that a loop may be away, with room for what cannot be interrupted.
EVERY_S = 0.02
#: Answers that wait for a later one to be made.
_DEEPEST = 8


def looking(these: Iterable[_T], look: Callable[[], None]) -> Iterator[_T]:
    """Yield each of *these*, and look up between them."""
    for each in these:
        yield each
        look()


class InBetween:
    """Looks up from a long turn.

    Attributes:
        depth: How many lookings-up are under way; 0: nobody is interrupted.
    """

    def __init__(
        self,
        stalls: Stalls,
        hear: Callable[[], None],
        serve: Callable[[], None],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        """Take what is done then.

        Args:
            stalls: Knows when the loop was at its descriptors last.
            hear: Takes in what the keeper says.
            serve: Serves clients.
            every_s: How long work goes on without looking up.
        """
        self.depth = 0
        self._stalls = stalls
        self._hear = hear
        self._serve = serve
        self._every_s = every_s

    def look(self) -> None:
        """Look up, if it is time; call it wherever what can be seen is true."""
        woke_s = self._stalls.woke_s
        if woke_s is None or self.depth >= _DEEPEST:
            return
        now_s = time.monotonic()
        if now_s - woke_s < self._every_s:
            return
        self._stalls.looks(now_s)
        self._stalls.woke(now_s)
        self.depth += 1
        try:
            self._hear()
            self._serve()
        finally:
            self.depth -= 1
