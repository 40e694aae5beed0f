"""A short-lived child that does one thing, for a process that must not wait for a disk.

The two talk over one stream socket, a line at a time, and the child closes it by ending. Nobody
here sends signals, so the child limits its own time with an alarm. The parent stops waiting a
little later all the same, for a child may hang before its first line of ours, or in a disk call
that even SIGKILL does not end.
"""

from __future__ import annotations

import errno
import os
import signal
import socket

from supervisord_lite import __version__
from supervisord_lite.base import resident
from supervisord_lite.base.calls import CALLS
from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.base.signals import describe_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: How much later than the child's own alarm the parent gives up.
_GRACE_S = 1.0
_READ_BYTES = 64 * 1024
#: The longest line is the list of all errors of a configuration.
_MAX_LINE_BYTES = 64 * 1024 * 1024
#: What a child says, and nothing else, when it is of another version than who has started it.
_OTHER = b"version "
#: How all ends that is said of the package's files, and would be put right by an upgrade.
_WAY_OUT = ": supervisord-lite upgrade"
#: Of an interpreter that cannot open the script it was given; no child of ours ends so.
_NO_SCRIPT = 2


def other_version(installed: str) -> str:
    """Return what to tell people when the package has been replaced under the daemon."""
    return f"version {installed} is installed, {__version__} runs{_WAY_OUT}"


def no_version() -> str:
    """Return what to tell people when the package, or its interpreter, is not there any more."""
    return f"the files of version {__version__}, which runs, are gone or cannot be read{_WAY_OUT}"


def is_about_version(why: str) -> bool:
    """Return whether that is why a child did nothing: it says nothing of what it was about."""
    return why.endswith(_WAY_OUT)


class Errand:
    """One child, from its start to its end; a subclass says what its lines mean.

    Wait until `fileno` is readable or `deadline_s` has come, then call `receive`; go on until
    `is_over`, then call `close`; and `has_ended` until it is so, or a child that was given up
    becomes a zombie.

    Attributes:
        is_over: Whether nothing more will come.
        deadline_s: When to call `receive` if nothing has come.
    """

    #: What the child does with its file, for people.
    _does = "does"
    #: Before the limit, for people.
    _late = "no answer within"

    def __init__(
        self,
        role: str,
        path: str,
        *,
        environ: Mapping[str, str],
        now_s: float,
        limit_s: float,
        content: bytes | None = None,
    ) -> None:
        """Start the child; its arguments are *path* and *limit_s*.

        Args:
            role: One of `resident.ROLES`.
            path: What it is about.
            environ: All of its environment.
            now_s: The clock, monotonic.
            limit_s: How long it may take.
            content: What it reads on 0, whole, also when this process is killed meanwhile; None:
                it reads what is sent on the socket.

        Raises:
            OSError: No process could be started.
        """
        self.is_over = False
        self._limit_s = limit_s
        self._allow_time(now_s)
        self._buffer = b""
        self._has_spoken = False
        self._socket, theirs = CALLS.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            command = resident.arguments_for(role, path, str(limit_s))
            self._pid = _start(command, environ, theirs.fileno(), content)
        except OSError as error:
            self._socket.close()
            if error.errno == errno.ENOENT:
                raise OSError(errno.ENOENT, no_version()) from error
            raise
        finally:
            theirs.close()

    def fileno(self) -> int:
        """Return the descriptor to watch for reading."""
        return self._socket.fileno()

    def receive(self, now_s: float) -> None:
        """Take what has come, a bounded part of it at a time.

        What came in time counts, also when it is taken too late: this process may have been
        stopped meanwhile.
        """
        try:
            data = CALLS.recv(self._socket, _READ_BYTES)
        except BlockingIOError:
            if now_s >= self.deadline_s:
                self._end(f"{self._late} {self._limit_s:g} s")
            return
        except OSError as error:
            self._end(str(error))
            return
        if not data:
            # It closes by ending, so there is nothing to wait for but the kernel.
            how = self._reap(0)
            is_gone = how == describe_end(_NO_SCRIPT, None) and not self._has_spoken
            self._end(
                no_version() if is_gone else f"the process that {self._does} it ended with {how}"
            )
            return
        self._has_spoken = True
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _MAX_LINE_BYTES:
            self._end("its answer does not end")
            return
        for line in lines:
            if line.startswith(_OTHER):
                self._end(other_version(line.removeprefix(_OTHER).decode(errors="replace")[:100]))
            elif not self.is_over:
                self._take(line)

    def close(self) -> None:
        """Let go of the descriptor, and of the child if it has ended."""
        self._socket.close()
        self.has_ended()

    def has_ended(self) -> bool:
        """Return whether the child has ended, also when it had been given up before."""
        if self._pid:
            self._reap(os.WNOHANG)
        return not self._pid

    def _take(self, line: bytes) -> None:
        """Understand one line, without its end."""
        raise NotImplementedError

    def _conclude(self, why: str) -> None:
        """Nothing more will come; *why*, for people, is the answer where there was none."""
        raise NotImplementedError

    def _allow_time(self, now_s: float) -> None:
        """Let the child have its whole time, from now on."""
        self.deadline_s = now_s + self._limit_s + _GRACE_S

    def _end(self, why: str) -> None:
        self.is_over = True
        self._conclude(why)

    def _reap(self, options: int) -> str:
        try:
            pid, status = CALLS.waitpid(self._pid, options)
        except ChildProcessError:
            pid, status = self._pid, 0
        if not pid:
            return ""  # it hangs in the kernel; whoever is its parent at the end reaps it
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        return describe_end(code, None) if code >= 0 else describe_end(None, -code)


def _start(
    command: list[str], environ: Mapping[str, str], descriptor: int, content: bytes | None
) -> int:
    memory = -1 if content is None else memory_file(content, "errand")
    try:
        return CALLS.posix_spawn(
            command[0],
            command,
            dict(environ),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, descriptor if memory < 0 else memory, 0),
                (os.POSIX_SPAWN_DUP2, descriptor, 1),
            ],
            setsigmask=(),
            setsigdef=set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP},
        )
    finally:
        if memory >= 0:
            CALLS.close(memory)
