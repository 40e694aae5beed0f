"""A file written once, as a whole, for a process that must not wait for a disk.

The writer is a short-lived child (`note_child.py`). It gets everything in a memfd, so it finishes
also when whoever started it is killed; what it could do stands in a line each on one socket::

    written              the file is there, whole
    failed REASON        it is not
    (end of file)        the child has ended

How it is started, waited for and given up stands in base/errand.py.
"""

from __future__ import annotations

import json
import os

from supervisord_lite.base.errand import Errand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: In the state folder: why the service ended last with 75.
LAST_ESCALATION = "last-escalation.json"
#: A disk that needs longer for a page of text is not answering.
LIMIT_S = 5.0


class Note(Errand):
    """One writing, from its start to the end of the child.

    Attributes:
        is_written: Whether the file is there.
        problem: Why it is not, when it is over.
    """

    _does = "writes"
    _late = "the disk does not answer within"

    def __init__(
        self, path: str, content: dict[str, Any], *, now_s: float, limit_s: float = LIMIT_S
    ) -> None:
        """Start to write *content* as JSON to *path*.

        Where an object in `content["workers"]` has an `output` that is a path, the child adds
        `last_lines`: the end of that file, if it can be read.

        Args:
            path: Absolute; replaced at once as a whole, for its owner alone.
            content: What to write.
            now_s: The clock, monotonic.
            limit_s: How long it may take.

        Raises:
            OSError: No process could be started.
        """
        self._begin("note", path, content, now_s, limit_s)

    def _begin(self, role: str, path: str, content: object, now_s: float, limit_s: float) -> None:
        self.is_written = False
        self.problem = ""
        data = json.dumps(content).encode()
        super().__init__(role, path, environ={}, now_s=now_s, limit_s=limit_s, content=data)

    def _take(self, line: bytes) -> None:
        word, _, reason = line.decode(errors="replace").partition(" ")
        if word == "written":
            self.is_written = True
        elif word == "failed":
            self.problem = reason

    def _conclude(self, why: str) -> None:
        if not self.is_written:
            self.problem = self.problem or why


class BoundNote(Note):
    """One that ends with the process that started it: what comes after it is never older."""

    def __init__(
        self, path: str, content: dict[str, Any] | None, *, now_s: float, limit_s: float = LIMIT_S
    ) -> None:
        """Start to write *content* as JSON to *path*, or to remove what is there (None).

        Arguments and errors as for `Note`.
        """
        told = {"parent": os.getpid(), "content": content}
        self._begin("carry", path, told, now_s, limit_s)
