"""The keys of a worker that say which privileges its process keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.base.capabilities import NAMES
from supervisord_lite.config.values import shown
from supervisord_lite.config.words import did_you_mean

if TYPE_CHECKING:
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader

_PREFIX = "CAP_"
_SHORT = tuple(name.removeprefix(_PREFIX) for name in NAMES)


def read_capabilities(reader: Reader, table: Table) -> tuple[str, ...] | None:
    """Return the capabilities that are kept, in the order of the kernel; None: nothing is said.

    "NET_BIND_SERVICE" is "CAP_NET_BIND_SERVICE", as both are written elsewhere.
    """
    if "capabilities" not in table:
        return None
    kept = set()
    for name, node in reader.texts(table, "capabilities"):
        short = name.removeprefix(_PREFIX)
        if short in _SHORT:
            kept.add(f"{_PREFIX}{short}")
            continue
        word = name.upper().removeprefix(_PREFIX)
        begun = [each for each in _SHORT if each.startswith(word)]
        near = begun[0] if len(begun) == 1 else did_you_mean(word, _SHORT)
        hint = f'did you mean "{_PREFIX}{near}"?' if near else 'such as "CAP_NET_BIND_SERVICE"'
        reader.at_value(node, f"{shown(name)} is not a capability", hint)
    return tuple(name for name in NAMES if name in kept)
