"""What a supervisor has of the world, moved by hand: clocks, timers, and the children it starts."""

import json
import os
import socket
from typing import Any

from supervisord_lite.config.loading import Loaded, Refused
from supervisord_lite.config.spec import Settings
from supervisord_lite.scribe.note import Note
from supervisord_lite.supervisor.sampling import Sampling


class HandClock:
    """A clock that only tests move, in seconds."""

    def __init__(self) -> None:
        self.s = 100.0
        #: How far the wall clock is ahead of it; people set that.
        self.wall_offset_s = 1_700_000_000.0

    def now_s(self) -> float:
        return self.s

    def wall_s(self) -> float:
        return self.wall_offset_s + self.s


class HandTimer:
    """A timer of the wall clock that only tests let go off."""

    def __init__(self) -> None:
        self.armed_s: float | None = None
        self._fd = os.eventfd(0)

    def fileno(self) -> int:
        return self._fd

    def arm(self, at_s: float | None) -> None:
        self.armed_s = at_s

    def drain(self) -> None:
        pass

    def close(self) -> None:
        os.close(self._fd)


class HeldSampling(Sampling):
    """A child that looks at processes, which the test plays.

    Attributes:
        questions: What it was asked, in order.
        child: The child's end.
        is_deaf: It does not end when it is told to.
    """

    def __init__(self, *, now_s: float) -> None:
        self.answer: list[list[Any] | None] | None = None
        self.problem = ""
        self.is_over = False
        self.questions: list[dict[str, Any]] = []
        self.is_deaf = False
        self._limit_s = 5.0
        self._allow_time(now_s)
        self._buffer = b""
        self._pid = 1
        self._socket, self.child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)

    def ask(self, question: dict[str, Any], now_s: float) -> None:
        super().ask(question, now_s)
        self.questions.append(question)

    def dismiss(self) -> None:
        super().dismiss()
        if not self.is_deaf:
            self.ends()

    def says(self, *answers: list[Any] | None) -> None:
        """Answer the question that was asked last."""
        self.child.sendall(json.dumps(answers).encode() + b"\n")

    def ends(self) -> None:
        """Let the child end."""
        self.child.close()

    def _reap(self, options: int) -> str:
        if not options & os.WNOHANG or self.child.fileno() < 0:
            self._pid = 0
        return "exit 0"


class HeldNote(Note):
    """A note whose child the test plays, through `child`."""

    def __init__(
        self, path: str, content: dict[str, Any] | None, *, now_s: float, limit_s: float
    ) -> None:
        self.path, self.content = path, content or {}
        self.is_written = self.is_over = False
        self.problem = ""
        self.deadline_s = now_s + limit_s + 1.0
        self._limit_s = limit_s
        self._buffer = b""
        self._pid = 0
        self._socket, self.child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)

    def _reap(self, options: int) -> str:
        return "exit 1"


class ReadyMade:
    """A reading of the configuration that is over before it has begun."""

    def __init__(self, answer: Loaded | Refused) -> None:
        self.answer: Loaded | Refused | None = answer
        self.unwritten = ""
        self.is_over = False
        self.deadline_s = float("inf")
        self.in_force: list[Settings] = []
        self._descriptor = os.eventfd(1)

    def fileno(self) -> int:
        return self._descriptor

    def receive(self, now_s: float) -> None:
        del now_s
        self.is_over = self.is_over or isinstance(self.answer, Refused)

    def put_in_force(self, settings: Settings, *, now_s: float) -> None:
        del now_s
        self.in_force.append(settings)
        self.is_over = True

    def dismiss(self) -> None:
        self.is_over = True

    def close(self) -> None:
        os.close(self._descriptor)

    def has_ended(self) -> bool:
        return True
