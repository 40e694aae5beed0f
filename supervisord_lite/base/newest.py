"""Tables that remember what was told last, and no more than so much."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _K = TypeVar("_K")
    _V = TypeVar("_V")

#: Log paths of which something is remembered. Two for each of the most processes that there may be,
#: so none is forgotten that is in use, unless as many others have been in trouble since.
MOST_LOGS = 40_000


def remember(table: dict[_K, _V], key: _K, value: _V, *, most: int) -> None:
    """Put the newest entry last; forget the oldest while there are more than *most*."""
    table.pop(key, None)
    table[key] = value
    while len(table) > most:
        del table[next(iter(table))]
