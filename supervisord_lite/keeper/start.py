"""A run that has no process yet, and what was made for it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.keeper.streams import Stream
    from supervisord_lite.keeper.table import Key
    from supervisord_lite.keeper.voices import Voice


class Start:
    """One run that is being started.

    Attributes:
        files: Where the process finds a descriptor -> ours; -1 means /dev/null.
        writers: Those of them that are the process's alone: closed here once it has them.
        cgroup: Path, or None.
    """

    __slots__ = ("cgroup", "files", "key", "request", "streams", "voice", "writers")

    def __init__(self, key: Key, request: dict[str, Any]) -> None:
        """Begin with nothing."""
        self.key = key
        self.request = request
        self.streams: list[Stream] = []
        self.writers: list[int] = []
        self.voice: Voice | None = None
        self.cgroup: str | None = None
        self.files: dict[int, int] = {}
