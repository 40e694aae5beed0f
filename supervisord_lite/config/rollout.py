"""How a pool is restarted: how many instances may be away, and how many there may be too many.

Behind sockets that the daemon holds, a new process can serve beside the old one, so there the
default is one more first and none away. Of a singleton there are never two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.config.values import own
from supervisord_lite.core.scale import MAX_POOL_SIZE

if TYPE_CHECKING:
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader


def default_rollout(*, has_sockets: bool, singleton: bool) -> tuple[int, int]:
    """Return `max_unavailable` and `max_surge` where nobody has said anything."""
    return (0, 1) if has_sockets and not singleton else (1, 0)


def read_rollout(reader: Reader, table: Table, header: Node, *, singleton: bool) -> tuple[int, int]:
    """Return `max_unavailable` and `max_surge` of a worker; *table* has its keys, merged."""
    has_sockets = any(map(_is_held, reader.table(table, "sockets").values()))
    default = default_rollout(has_sockets=has_sockets, singleton=singleton)
    away = reader.whole(table, "max_unavailable", default[0], least=0, most=MAX_POOL_SIZE)
    surge = reader.whole(table, "max_surge", default[1], least=0, most=MAX_POOL_SIZE)
    if singleton:
        if surge and (node := own(table, "max_surge")):
            message = "max_surge: it is a singleton, and there are never two of it"
            reader.clash(node, message, "take max_surge out: a singleton is stopped, then started")
            return 1, 0
        surge, away = 0, away if own(table, "max_unavailable") else max(1, away)
    if not away and not surge:
        where = table.get("max_unavailable") or table.get("max_surge") or header
        hint = "max_unavailable = 1 stops one and then starts it"
        if not singleton:
            hint += "; max_surge = 1 starts one more first"
        message = "max_unavailable and max_surge are both 0: nothing could ever be restarted"
        reader.clash(where, message, hint)
    return away, surge


def _is_held(node: Node) -> bool:
    """Whether a socket is one that a new process finds as the old one has it: no private one is."""
    inner = node.table()
    listen = node if inner is None else inner.get("listen")
    return listen is None or listen.value != "private"
