"""A file written once, as a whole, for a process that must not wait for a disk.

The writer is a short-lived child (`note_child.py`). It gets everything in a memfd, so it finishes
also when whoever started it is killed; what it could do stands in a line each on one socket::

    written              the file is there, whole
    failed REASON        it is not
    (end of file)        the child has ended

It limits its own time with an alarm. Where even that does not end it (a frozen file system), the
parent stops waiting a little later.
"""

from __future__ import annotations

import json
import os
import signal
import socket

from supervisord_lite.base import resident
from supervisord_lite.base.signals import describe_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: In the state folder: why the service ended last with 75.
LAST_ESCALATION = "last-escalation.json"
#: A disk that needs longer for a page of text is not answering.
LIMIT_S = 5.0
#: How much later the parent gives up.
_GRACE_S = 1.0


class Note:
    """One writing, from its start to the end of the child.

    Wait until `fileno` is readable or `deadline_s` has come, then call `receive`; go on until
    `is_over`, then call `close`.

    Attributes:
        is_written: Whether the file is there.
        problem: Why it is not, when it is over.
        is_over: Whether nothing more will come.
        deadline_s: When to call `receive` if nothing has come.
    """

    def __init__(
        self, path: str, content: dict[str, Any] | None, *, now_s: float, limit_s: float = LIMIT_S
    ) -> None:
        """Start to write *content* as JSON to *path*; None removes what is there.

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
        self.is_written = False
        self.problem = ""
        self.is_over = False
        self.deadline_s = now_s + limit_s + _GRACE_S
        self._limit_s = limit_s
        self._said = b""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._pid = _start(path, content, theirs.fileno(), limit_s)
        except OSError:
            self._socket.close()
            raise
        finally:
            theirs.close()

    def fileno(self) -> int:
        """Return the descriptor to watch for reading."""
        return self._socket.fileno()

    def receive(self, now_s: float) -> None:
        """Take what has come."""
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            if now_s >= self.deadline_s:
                self._end(f"the disk does not answer within {self._limit_s:g}s")
            return
        except OSError as error:
            self._end(str(error))
            return
        if not data:
            self._end("")
            return
        self._said += data
        self.is_written = self._said.startswith(b"written\n")

    def close(self) -> None:
        """Let go of the descriptor, and of the child if it has ended."""
        self._socket.close()
        self.has_ended()

    def has_ended(self) -> bool:
        """Return whether the child has ended, also when it had been given up before."""
        if self._pid:
            self._reap(os.WNOHANG)
        return not self._pid

    def _end(self, why: str) -> None:
        self.is_over = True
        if not why:
            # It closes by ending, so there is nothing to wait for but the kernel.
            how = self._reap(0)
            word, _, reason = self._said.decode(errors="replace").strip().partition(" ")
            why = reason if word == "failed" else f"the process that writes it ended with {how}"
        if not self.is_written:
            self.problem = why

    def _reap(self, options: int) -> str:
        try:
            pid, status = os.waitpid(self._pid, options)
        except ChildProcessError:
            pid, status = self._pid, 0
        if not pid:
            return ""  # it hangs in the kernel; whoever is its parent at the end reaps it
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        return describe_end(code, None) if code >= 0 else describe_end(None, -code)


def _start(path: str, content: dict[str, Any] | None, descriptor: int, limit_s: float) -> int:
    memory = os.memfd_create("note", os.MFD_CLOEXEC)
    try:
        data = memoryview(json.dumps(content).encode())
        while data:
            data = data[os.write(memory, data) :]
        os.lseek(memory, 0, os.SEEK_SET)
        command = resident.arguments_for("note", path, str(limit_s))
        return os.posix_spawn(
            command[0],
            command,
            {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, memory, 0),
                (os.POSIX_SPAWN_DUP2, descriptor, 1),
            ],
            setsigmask=(),
            setsigdef=set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP},
        )
    finally:
        os.close(memory)
