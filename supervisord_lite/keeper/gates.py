"""The gate of a fork: a process that a forkserver has made waits there to stand in the table.

A hello comes with the pid that the kernel has added, and counts when that process is a child of
ours that we do not know. So that no pid can mean another process by then, every hello that was said
is read before an unknown child is reaped (`listen`).
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
import time

from supervisord_lite.keeper.fork_words import asked_for, understood
from supervisord_lite.keeper.server import HANG_S
from supervisord_lite.keeper.spawn import LIMITS, StageError, cause
from supervisord_lite.wire import channel
from supervisord_lite.wire.errors import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.server import Server
    from supervisord_lite.keeper.start import Start
    from supervisord_lite.keeper.starts import Starts
    from supervisord_lite.keeper.table import Key

    class Office(Protocol):
        """What `Runs` does for us."""

        def launch(self, start: Start) -> tuple[int, int]:
            """Start a process; return its pid and its set-up pipe, or -1."""

        def has_begun(self, pid: int) -> None:
            """Take it that its program runs, where there was a set-up pipe."""

        def is_born(self, start: Start, pid: int, left: dict[str, Any]) -> bool:
            """Enter the process of a run; return whether it may run.

            Args:
                start: What it has.
                pid: Its.
                left: "nice" and "rlimits" that it may not set itself.
            """

        def has_gone(self, key: Key, problem: StageError | None) -> None:
            """Tell that the process of a run was let in; or why it could not be, and end it."""

        def has_failed(self, key: Key, error: StageError) -> None:
            """Tell that a run could not be started."""


_CREDENTIALS = struct.Struct("3i")
_MOST_HELLO_BYTES = 8192


class Gates:
    """Those of all forkservers; each knows its own by number (`Server.openings`)."""

    def __init__(
        self,
        calls: Calls,
        starts: Starts,
        office: Office,
        known: set[int],
        watch: Callable[[int, int, Callable[[int], None]], None],
        unwatch: Callable[[int], None],
        heard: Callable[[Server], None],
    ) -> None:
        """Begin with none; *heard* is told when something came of a gate, others as of `Runs`."""
        self._calls = calls
        self._starts = starts
        self._office = office
        self._known = known
        self._watch = watch
        self._unwatch = unwatch
        self._heard = heard

    def open(self, server: Server, start: Start) -> None:
        """Ask the server for one fork.

        Raises:
            StageError: It cannot be asked; what was made for the start is the caller's to discard.
        """
        if server.channel is None:
            raise StageError("forkserver", "the forkserver has ended")
        self._starts.fill(start, "{}.{}.{}".format(*start.key))
        try:
            ours, theirs = self._calls.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise StageError("fork", cause(error)) from None
        descriptors = [theirs.detach()]
        try:
            files = self._starts.duplicates(start, descriptors)
            asked = _asked(start, files)
            asked["cgroup"] = server.takes_cgroup and self._starts.birthplace(start, descriptors)
            data = channel.encode(asked)
            self._calls.setsockopt(ours, socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        except Exception as error:  # whatever it is, nobody else knows of these descriptors
            ours.close()
            for descriptor in descriptors:
                self._calls.close(descriptor)
            if not isinstance(error, OSError | WireError):
                raise
            why = cause(error) if isinstance(error, OSError) else str(error)
            raise StageError("fork", why) from None
        ours.setblocking(False)
        gate = ours.fileno()
        server.openings[gate] = (start, ours)
        self._watch(gate, select.EPOLLIN, self._greeting(server, gate))
        server.channel.send(data, descriptors, owned=True)

    def _greeting(self, server: Server, gate: int) -> Callable[[int], None]:
        return lambda _mask: self._read(server, gate)

    def resume(self, server: Server) -> None:
        """Go on with the gates of a server that was unpacked."""
        for gate in server.openings:
            self._watch(gate, select.EPOLLIN, self._greeting(server, gate))

    def listen(self, server: Server) -> None:
        """Read every hello that was said until now."""
        for gate in list(server.openings):
            self._read(server, gate)

    def _read(self, server: Server, gate: int) -> None:
        if gate not in server.openings:
            return
        _, ours = server.openings[gate]
        space = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * 64)
        try:
            flags = socket.MSG_CMSG_CLOEXEC
            data, ancillary, _, _ = self._calls.recvmsg(ours, _MOST_HELLO_BYTES, space, flags)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        pid = 0
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(content)[0]
            elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(content[: len(content) - len(content) % 4])
                for descriptor in received:
                    self._calls.close(descriptor)
        server.deadline_s = time.monotonic() + HANG_S
        said = understood(data)
        if isinstance(said, StageError):
            self.drop(server, gate, said)
        elif not self._is_new_child(pid):
            reason = f"process {pid} is no child of the daemon; did a preloaded module adopt it?"
            self.drop(server, gate, StageError("forkserver", reason))
        else:
            if said["is_marked"] is not True:
                # Its children look like those of the server: nobody may be killed for such a mark.
                server.run.marker = os.urandom(16).hex()
            self._let_in(server, gate, pid, said["left"])
        if not server.openings:
            server.deadline_s = None
        self._heard(server)

    def _is_new_child(self, pid: int) -> bool:
        if pid in self._known:
            return False
        try:
            self._calls.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _let_in(self, server: Server, gate: int, pid: int, left: dict[str, Any]) -> None:
        start, ours = server.openings.pop(gate)
        self._unwatch(gate)
        try:
            if self._office.is_born(start, pid, asked_for(start.request, left)):
                self._office.has_gone(start.key, self._let_go(ours))
        finally:
            ours.close()

    def _let_go(self, ours: socket.socket) -> StageError | None:
        """Open a gate; return why whoever stands there cannot hear of it."""
        try:
            self._calls.send(ours, b"go")
        except ConnectionError:
            return None  # it has ended at the gate: that is told as its exit
        except OSError as error:
            return StageError("fork", cause(error))
        return None

    def drop(self, server: Server, gate: int, error: StageError) -> None:
        """Start a run no more that was asked of *server*: it has failed, with *error*."""
        self._office.has_failed(self.close(server, gate).key, error)

    def close(self, server: Server, gate: int) -> Start:
        """Close a gate: whoever stands at it ends. Return for which start it was."""
        start, ours = server.openings.pop(gate)
        self._unwatch(gate)
        ours.close()
        self._starts.discard(start)
        return start


def _asked(start: Start, files: list[int]) -> dict[str, Any]:
    """Return what a forkserver is told of a fork; *files*: where that finds each descriptor."""
    request = start.request
    same = ("environment", "umask", "directory", "marker", "title", "python", "nice")
    return {
        "fork": start.key[2],
        "files": files,
        "sockets": [
            {"fd": each["fd"], "name": each["name"]} for each in request.get("sockets", ())
        ],
        "rlimits": [[LIMITS[name], value] for name, value in request["rlimits"]],
        **{name: request[name] for name in same},
    }
