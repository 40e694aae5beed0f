"""Reading the configuration in a child, for a process that must not wait for a disk.

Imported by the supervisor: no `re`, and nothing of the loader itself. The child is `__main__.py` of
this package; the two talk over one stream socket, a line at a time::

    child   settings JSON       the settings of the new configuration
            spec JSON           one line for each worker, in order
            good JSON           the end of a good answer: files, digests and warnings
            bad JSON            instead of all that: what is wrong
    parent  force JSON          it is in force now, with these settings: write effective.toml
            (end of file)       it is not: nothing more to do
    child   written JSON        null, or why effective.toml could not be written

Nobody here sends signals, so the child limits its own time with an alarm; the parent stops waiting
a little later all the same, for a child may hang before its first line of ours.
"""

from __future__ import annotations

import json
import os
import signal
import socket

from supervisord_lite import __version__
from supervisord_lite.base import resident
from supervisord_lite.base.record import record
from supervisord_lite.base.signals import describe_end
from supervisord_lite.config.spec import Configuration, settings_from_json, spec_from_json, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from supervisord_lite.config.spec import Settings, Spec

#: Ten thousand workers take two seconds; a disk that needs longer than this is not answering.
LIMIT_S = 30.0
#: How much later the parent gives up.
_GRACE_S = 1.0
_READ_BYTES = 64 * 1024
#: The longest line is the list of all errors.
_MAX_LINE_BYTES = 64 * 1024 * 1024


@record
class Loaded:
    """The file is good.

    Attributes:
        warnings: As people read them; empty when there are none.
        files: Every file that was read, as typed, in the order of force.
        digests: SHA-256 of what was read, by the absolute path of the file.
    """

    configuration: Configuration
    warnings: str
    files: tuple[str, ...]
    digests: dict[str, str]


@record
class Refused:
    """The file is not good, or could not be judged: nothing may change.

    Attributes:
        message: As people read it: every error, and how many there are.
        problems: Each with file, line, column, message, hint, source and length; none when it
            could not be judged, and of thousands the first ones.
        count: How many there are in all.
    """

    message: str
    problems: tuple[dict[str, Any], ...] = ()
    count: int = 0


class _OtherVersionError(Exception):
    """The code on the disk is not ours any more."""

    def __init__(self, version: str) -> None:
        super().__init__(
            f"the daemon is version {__version__}, and the code on the disk is {version}: "
            "restart the daemon"
        )


class Loading:
    """One reading of the configuration, from its start to the end of the child.

    Wait until `fileno` is readable or `deadline_s` has come, then call `receive`; go on until
    `is_over`, then call `close`. What came of it is in `answer` as soon as it is known.

    Attributes:
        answer: What the file means; None: not known yet.
        unwritten: After `put_in_force`: why effective.toml could not be written; empty: it was.
        is_over: Whether nothing more will come.
        deadline_s: When to call `receive` if nothing has come.
    """

    def __init__(
        self, path: str, *, environ: Mapping[str, str], now_s: float, limit_s: float = LIMIT_S
    ) -> None:
        """Start to read *path*.

        Args:
            path: Of the file; absolute, or relative to the current folder.
            environ: The daemon's environment.
            now_s: The clock, monotonic.
            limit_s: How long it may take to answer, and again to write.

        Raises:
            OSError: No process could be started.
        """
        self.answer: Loaded | Refused | None = None
        self.unwritten = ""
        self.is_over = False
        self.deadline_s = now_s + limit_s + _GRACE_S
        self._limit_s = limit_s
        self._settings: Settings | None = None
        self._specs: list[Spec] = []
        self._buffer = b""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        try:
            self._pid = _start(path, environ, theirs.fileno(), limit_s)
        except OSError:
            self._socket.close()
            raise
        finally:
            theirs.close()

    def fileno(self) -> int:
        """Return the descriptor to watch for reading."""
        return self._socket.fileno()

    def receive(self, now_s: float) -> None:
        """Take what has come, a bounded part of it at a time."""
        if now_s >= self.deadline_s:
            self._end(f"no answer within {self._limit_s:g} s")
            return
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(str(error))
            return
        if not data:
            self._end("")
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _MAX_LINE_BYTES:
            self._end("its answer does not end")
            return
        try:
            for line in lines:
                self._take(line.decode())
        except _OtherVersionError as error:
            self._give_up(str(error))
        except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
            # Code on the disk that was changed under us may say anything.
            self._give_up(f"its answer cannot be read: {error!r}")

    def put_in_force(self, settings: Settings, *, now_s: float) -> None:
        """Let the child write effective.toml, into the state folder of *settings*.

        Args:
            settings: Those in force, which may differ from the file's: some cannot change.
            now_s: The clock.
        """
        assert isinstance(self.answer, Loaded)
        self.deadline_s = now_s + self._limit_s + _GRACE_S
        self.unwritten = "the process that writes it has ended"
        try:
            self._socket.sendall(f"force {to_json(settings)}\n".encode())
        except OSError as error:
            self.unwritten = str(error)

    def dismiss(self) -> None:
        """Tell the child that its answer is not put in force: it ends."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it has ended already

    def close(self) -> None:
        """Let go of the descriptor, and of the child if it has ended."""
        self._socket.close()
        if self._pid:
            self._reap(os.WNOHANG)

    def _give_up(self, why: str) -> None:
        self.answer = None
        self._end(why)

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "version":
            if rest != __version__:
                raise _OtherVersionError(rest)
        elif word == "settings":
            self._settings = settings_from_json(rest)
        elif word == "spec":
            self._specs.append(spec_from_json(rest))
        elif word == "good":
            assert self._settings is not None
            said = json.loads(rest)
            configuration = Configuration(self._settings, tuple(self._specs))
            files = tuple(said["files"])
            self.answer = Loaded(configuration, said["warnings"], files, said["digests"])
            self._specs = []
        elif word == "bad":
            said = json.loads(rest)
            self.answer = Refused(said["message"], tuple(said["problems"]), said["count"])
        elif word == "written":
            self.unwritten = json.loads(rest) or ""

    def _end(self, why: str) -> None:
        """Nothing more will come; *why*: empty when the child has closed its end."""
        self.is_over = True
        if not why:
            # It closes by ending, so there is nothing to wait for but the kernel.
            why = f"the process that reads it ended with {self._reap(0)}"
        if self.answer is None:
            self.answer = Refused(f"the configuration could not be read: {why}")

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


def _start(path: str, environ: Mapping[str, str], descriptor: int, limit_s: float) -> int:
    command = resident.arguments_for("config", path, str(limit_s))
    return os.posix_spawn(
        command[0],
        command,
        dict(environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, number) for number in (0, 1)],
        setsigmask=(),
        setsigdef=set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP},
    )
