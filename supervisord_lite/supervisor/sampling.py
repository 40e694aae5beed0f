"""A child that looks at processes, for a supervisor that must not wait for the kernel to add up.

Measured: what `smaps_rollup` of a process takes grows with its memory (0.05 ms, and 4.6 ms for each
GB), and one pass over /proc takes 15 us for each process of the machine; psutil would be 22 ms of
import and 0.2 ms for each process, so only a kernel that is too old for `smaps_rollup` needs it. So
none of it happens in the loop, and none of it is resident: the child is started by the first
question, lingers for another one, and ends by the end of its socket, which the supervisor's death
is too.

A question is a memfd sent over the socket, whose size never blocks anybody; the answer is one line.
See `sampling_child.py` for both.
"""

import array
import json
import socket
from typing import Any

from supervisord_lite.base.calls import CALLS
from supervisord_lite.base.errand import Errand
from supervisord_lite.base.memory_files import memory_file

#: Whole machines answer in less; a process in a page fault that hangs may never.
LIMIT_S = 5.0


class Sampling(Errand):
    """One child, from its start until it is dismissed, for any number of questions.

    Attributes:
        answer: What came to the last question; None: nothing yet.
        problem: Why nothing will come; empty while it may.
    """

    _does = "samples"
    _late = "no answer within"

    def __init__(self, keeper_pid: int, *, now_s: float, limit_s: float = LIMIT_S) -> None:
        """Start the child.

        Args:
            keeper_pid: The parent of every leader.
            now_s: The clock, monotonic.
            limit_s: For each answer.

        Raises:
            OSError: No process could be started.
        """
        self.answer: list[list[Any] | None] | None = None
        self.problem = ""
        super().__init__("sampling", str(keeper_pid), environ={}, now_s=now_s, limit_s=limit_s)

    def ask(self, question: dict[str, Any], now_s: float) -> None:
        """Send a question; the one before must be answered.

        Raises:
            OSError: It cannot be sent: the child is gone, or there is no descriptor left.
        """
        self.answer = None
        self._allow_time(now_s)
        memory = memory_file(json.dumps(question).encode(), "question")
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))
            CALLS.sendmsg(self._socket, [b"?"], [rights])
        finally:
            CALLS.close(memory)

    def dismiss(self) -> None:
        """No more questions: it ends."""
        try:
            CALLS.shutdown(self._socket, socket.SHUT_WR)
        except OSError:
            return  # it has ended already

    def _take(self, line: bytes) -> None:
        self.answer = json.loads(line)

    def _conclude(self, why: str) -> None:
        self.problem = why
