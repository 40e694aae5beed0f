"""How the clock of a place changes, as a table: made here, where time zones may be looked up.

The table reaches from 2020 to 2100, also where the rules are known for ever: it is the same each
time that a file is read, so a reload changes nothing, and a daemon that runs for years without one
needs no data of the machine. When the rules of a zone change, a reload brings the new ones.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from supervisord_lite.core.cron import Zone

if TYPE_CHECKING:
    from collections.abc import Callable

_FROM_S = 1_577_836_800
_UNTIL_S = 4_102_444_800
#: No clock has been changed twice in such a time; the shortest change and back takes a month.
_STEP_S = 7 * 86_400


class NoSuchZoneError(ValueError):
    """The machine knows no such time zone.

    Attributes:
        has_data: Whether it knows any.
        known: Those that it knows.
    """

    def __init__(self, known: frozenset[str]) -> None:
        """Note which zones there are."""
        super().__init__()
        self.has_data = bool(known)
        self.known = known


@lru_cache
def zone_named(name: str) -> Zone:
    """Return the table of a time zone; of the machine's own for the empty name.

    Raises:
        NoSuchZoneError: There is none of that name.
    """
    if not name:
        return _table("", lambda at_s: time.localtime(at_s).tm_gmtoff)
    if name == "UTC":
        return Zone(name)  # needs no data
    import zoneinfo
    from datetime import datetime

    try:
        zone = zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise NoSuchZoneError(frozenset(zoneinfo.available_timezones())) from None

    def offset_s(at_s: int) -> int:
        ahead = datetime.fromtimestamp(at_s, zone).utcoffset()
        return 0 if ahead is None else int(ahead.total_seconds())

    return _table(name, offset_s)


def _table(name: str, offset_s: Callable[[int], int]) -> Zone:
    changes = []
    before_s = base_s = offset_s(_FROM_S)
    for at_s in range(_FROM_S, _UNTIL_S, _STEP_S):
        ahead_s = offset_s(at_s)
        if ahead_s == before_s:
            continue
        low_s, high_s = at_s - _STEP_S, at_s
        while high_s - low_s > 1:
            middle_s = (low_s + high_s) // 2
            if offset_s(middle_s) == before_s:
                low_s = middle_s
            else:
                high_s = middle_s
        changes.append((high_s, ahead_s))
        before_s = ahead_s
    return Zone(name, base_s, tuple(changes))
