"""What the keeper knows of one forkserver; what it does about it stands in forkservers.py."""

from __future__ import annotations

import socket

from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.keeper.spawn import StageError
from supervisord_lite.keeper.table import Run
from supervisord_lite.wire import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.start import Start
    from supervisord_lite.keeper.starts import Starts

#: A server that forks at all answers within milliseconds.
HANG_S = 30.0


class Server:
    """One forkserver.

    Attributes:
        about: As the supervisor has described it.
        run: Its process and tree, which is in no table.
        channel: To talk to it.
        report: Read end of its set-up pipe, else -1; `told` is what has come of it.
        is_ready: Its imports are done.
        parked: Requests that wait for that.
        openings: Runs whose process has not said hello, by our end of the gate.
        deadline_s: It is hung when it has not answered by then; None: nothing is asked.
        problem: Why it ends; None: nothing is wrong.
        said: What it has told of itself.
        takes_cgroup: It can let a run be born in its cgroup; those of before cannot.
    """

    __slots__ = (
        "about", "began_s", "channel", "deadline_s", "is_ready", "is_wanted", "openings", "parked",
        "problem", "report", "run", "said", "start", "takes_cgroup", "told",
    )  # fmt: skip

    def __init__(self, about: dict[str, Any], start: Start, now_s: float) -> None:
        """Begin without a process."""
        self.about = about
        self.start = start
        self.run = Run(start.key, 0, start.request["marker"], None)
        self.channel: PacketSocket | None = None
        self.report = -1
        self.told = b""
        self.is_ready = False
        self.is_wanted = True
        self.parked: list[dict[str, Any]] = []
        self.openings: dict[int, tuple[Start, socket.socket]] = {}
        self.began_s = now_s
        self.deadline_s: float | None = now_s + about["timeout_s"]
        self.problem: StageError | None = None
        self.said: dict[str, Any] = {}
        self.takes_cgroup = False

    def pack(self, starts: Starts, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return it as JSON; *keep* is called with each descriptor."""
        openings = [
            {"gate": keep(gate), "start": starts.pack(start, keep)}
            for gate, (start, _) in self.openings.items()
        ]
        return {
            "about": self.about,
            "start": starts.pack(self.start, keep),
            "run": self.run.pack(),
            "channel": None if self.channel is None else self.channel.pack(keep),
            "report": keep(self.report),
            "told": self.told.decode("latin-1"),
            "is_ready": self.is_ready,
            "is_wanted": self.is_wanted,
            "parked": self.parked,
            "openings": openings,
            "began_s": self.began_s,
            "deadline_s": self.deadline_s,
            "problem": None if self.problem is None else self.problem.pack(),
            "said": self.said,
            "takes_cgroup": self.takes_cgroup,
        }

    @classmethod
    def unpacked(cls, said: dict[str, Any], starts: Starts, calls: Calls) -> Server:
        """Return what was packed."""
        server = cls(said["about"], starts.unpacked(said["start"]), said.get("began_s", 0.0))
        server.run = Run.unpacked(said["run"])
        if said.get("channel") is not None:
            most = channel.MAX_MESSAGE_BYTES
            server.channel = PacketSocket.unpacked(said["channel"], most, calls)
        server.report = said.get("report", -1)
        server.told = said.get("told", "").encode("latin-1")
        server.is_ready = said.get("is_ready", False)
        server.is_wanted = said.get("is_wanted", True)
        server.parked = said.get("parked", [])
        for each in said.get("openings", ()):
            gate = socket.socket(fileno=each["gate"])
            server.openings[gate.fileno()] = (starts.unpacked(each["start"]), gate)
        server.deadline_s = said.get("deadline_s")
        if said.get("problem") is not None:
            server.problem = StageError(**said["problem"])
        server.said = said.get("said", {})
        server.takes_cgroup = said.get("takes_cgroup", False)
        return server
