"""What a worker of an answer to Status has where it says nothing: null.

The daemon leaves out what is null, which is half of what there would be to say of most workers, and
of many thousands of them megabytes. Whoever wants to index an answer puts it back here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Fields of the type Worker of the definition that may be null, and of the types of its fields.
NULLABLE = (
    "pid", "started_at_s", "next_start_at_s", "rss_bytes", "pss_bytes", "cpu_percent", "fds",
    "threads", "processes", "memory_bytes", "sampled_at_s", "last_exit", "note", "file_pool_size",
    "forkserver", "schedule",
)  # fmt: skip
NULLABLE_IN = {
    "recycle": ("memory_bytes", "age_at_s", "runs"),
    "last_exit": ("code", "signal"),
    "output": ("trouble",),
}


def with_nulls(worker: Mapping[str, Any]) -> dict[str, Any]:
    """Return a worker of an answer to Status with every field that an answer may have."""
    whole = {**dict.fromkeys(NULLABLE), **worker}
    for name, fields in NULLABLE_IN.items():
        if whole.get(name) is not None:
            whole[name] = {**dict.fromkeys(fields), **whole[name]}
    return whole
