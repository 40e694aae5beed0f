"""Events of which there may be storms: the first is told at once, then their sum once a minute.

A client that is refused a thousand times a second, or a log that loses every line, must be heard
of, and must not fill the journal with it.
"""

from collections.abc import Callable, Mapping

from supervisord_lite.base.clock import Clock

#: Between two that are alike, in seconds.
EVERY_S = 60.0
#: Kinds that are told apart; the others of that time are one kind.
_MOST_KINDS = 64

Tell = Callable[[Mapping[str, object]], None]


class _Kind:
    """What is untold of one kind: sums by name, and the last that was said about it."""

    __slots__ = ("about", "next_s", "sums")

    def __init__(self) -> None:
        self.sums: dict[str, int] = {}
        self.about: Mapping[str, object] = {}
        self.next_s = float("-inf")


class Coalesced:
    """Every kind that was told in the last minute."""

    def __init__(self, clock: Clock, tell: Tell, *, most_kinds: int = _MOST_KINDS) -> None:
        """Begin with nothing told.

        Args:
            clock: Now.
            tell: Told what was said about the latest one, and the sums.
            most_kinds: That are told apart.
        """
        self._clock = clock
        self._tell = tell
        self._most_kinds = most_kinds
        self._kinds: dict[object, _Kind] = {}

    def add(
        self, key: object, about: Mapping[str, object], sums: Mapping[str, int] | None = None
    ) -> None:
        """Note one.

        Args:
            key: What is told apart.
            about: The evidence.
            sums: What is added up over those that are told as one; default: a "count" of 1.
        """
        if key not in self._kinds and len(self._kinds) >= self._most_kinds:
            key = None
        kind = self._kinds.setdefault(key, _Kind())
        kind.about = about
        for name, number in ({"count": 1} if sums is None else sums).items():
            kind.sums[name] = kind.sums.get(name, 0) + number
        if self._clock.now_s() >= kind.next_s:
            self._say(kind)

    @property
    def deadline_s(self) -> float | None:
        """When `expire` has something to do; None: never."""
        return min((kind.next_s for kind in self._kinds.values() if kind.sums), default=None)

    def expire(self, now_s: float) -> None:
        """Tell what has come since, and forget kinds of which nothing came any more."""
        for key, kind in list(self._kinds.items()):
            if now_s < kind.next_s:
                continue
            if kind.sums:
                self._say(kind)
            else:
                del self._kinds[key]

    def tell_all(self) -> None:
        """Tell what has come since, though its time has not: nobody here would later."""
        for kind in self._kinds.values():
            if kind.sums:
                self._say(kind)

    def _say(self, kind: _Kind) -> None:
        sums, kind.sums = kind.sums, {}
        kind.next_s = self._clock.now_s() + EVERY_S
        self._tell({**kind.about, **sums})
