"""Reading the event journal, for a process that must not wait for a disk.

The reader is a short-lived child (`reading_child.py`). It gets the question in a memfd; its answer
is a line each, on one socket::

    event JSON           an event, the oldest first
    done                 that was all; "late" after it: what was told last is not on the disk yet
    tail JSON            after that, if asked for: the last lines of a worker's log
    failed REASON        instead of all that

How it is started, waited for and given up stands in base/errand.py.
"""

from __future__ import annotations

import json

from supervisord_lite.base.errand import Errand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: A disk that needs longer than this is not answering.
LIMIT_S = 5.0


class Reading(Errand):
    """One question, from its start to the end of the child.

    Attributes:
        events: Lines of the journal, each a JSON object without its end.
        tails: The last lines of logs, each {"name", "path", "lines"}.
        problem: Why the journal could not be read, or not to its end; empty: it was.
    """

    _does = "reads"
    _late = "the disk does not answer within"

    def __init__(
        self, path: str, question: dict[str, Any], *, now_s: float, limit_s: float = LIMIT_S
    ) -> None:
        """Start to read.

        Args:
            path: Of the journal's file.
            question: As `reading_child.main` takes it.
            now_s: The clock, monotonic.
            limit_s: How long it may take.

        Raises:
            OSError: No process could be started.
        """
        self.events: list[bytes] = []
        self.tails: list[dict[str, Any]] = []
        self.problem = ""
        self._is_done = False
        content = json.dumps(question).encode()
        super().__init__("reading", path, environ={}, now_s=now_s, limit_s=limit_s, content=content)

    def _take(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"event":
            self.events.append(rest)
        elif word == b"tail":
            self.tails.append(json.loads(rest))
        elif word == b"done":
            self._is_done = True
            if rest:
                self.problem = "the disk has not taken the latest events yet"
        elif word == b"failed":
            self._is_done = True
            self.problem = rest.decode(errors="replace")

    def _conclude(self, why: str) -> None:
        if not self._is_done:
            self.problem = why
