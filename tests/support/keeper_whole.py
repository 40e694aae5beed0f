"""A whole keeper in the test's own process, to which the test plays supervisor and scribe."""

import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.keeper.journal import Journal
from supervisord_lite.keeper.loop import Keeper
from supervisord_lite.keeper.notify import Notifier
from supervisord_lite.wire import channel
from tests.support.keeper import Fact, NoCgroupCalls, PlainBoot, close_runs
from tests.support.wait import wait_until


class SeamCalls(NoCgroupCalls):
    """Supervisor and scribe are sleeping processes; their ends of the channels come to the test.

    Attributes:
        peers: Role -> the other end of the keeper's channel.
        handovers: What each supervisor so far was given.
        codes: Interpreter and path that each of them was to be started from, and its role.
        trial: What a dry start does: a line of shell.
        can_start: Whether there is an interpreter at such a path.
    """

    def __init__(self, *, cgroups: bool = False) -> None:
        self._cgroups = cgroups
        self.peers: dict[str, PacketSocket] = {}
        self.handovers: list[dict[str, Any]] = []
        self.codes: list[tuple[str, str, str]] = []
        self.trial = "exit 0"
        self.can_start: Callable[[str], bool] = lambda _path: True
        self._theirs: socket.socket | None = None
        super().__init__()

    def do_open(self, path: str, flags: int) -> int:
        return os.open(path, flags) if self._cgroups else super().do_open(path, flags)

    def do_socketpair(self, *args: Any) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair(*args)
        if self._theirs is not None:
            self._theirs.close()
        self._theirs = theirs.dup()
        return ours, theirs

    def do_posix_spawn(self, path: str, argv: list[str], env: Any, **options: Any) -> int:
        if not any(word.endswith("resident.py") for word in argv):
            return os.posix_spawn(path, argv, env, **options)
        if not self.can_start(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if "trial" in argv:
            self.codes.append((argv[0], argv[3], "trial"))
            return os.posix_spawn("/bin/sh", ["sh", "-c", self.trial], {}, **options)
        role = argv[argv.index("supervisor" if "supervisor" in argv else "scribe")]
        options["file_actions"] = [
            action for action in options["file_actions"] if action[2] != 3
        ]  # the channel's end is the test's, so that a death is one end of file
        handover = next(action[1] for action in options["file_actions"] if action[2] == 4)
        pid = os.posix_spawn("/bin/sleep", ["sleep", "3600"], {}, **options)
        assert self._theirs is not None
        self.codes.append((argv[0], argv[3], role))
        self.drop(role)
        self.peers[role] = self.peer_of(self._theirs)
        self._theirs = None
        if role == "supervisor":
            self.note_handover(handover)
        return pid

    def peer_of(self, theirs: socket.socket) -> PacketSocket:
        """Return what the test speaks through."""
        return PacketSocket(theirs, channel.MAX_MESSAGE_BYTES)

    def note_handover(self, descriptor: int) -> None:
        """Remember what a supervisor is given."""
        text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        self.handovers.append(json.loads(text))

    def drop(self, role: str) -> None:
        """Close the test's end for *role*."""
        peer = self.peers.pop(role, None)
        if peer is not None:
            peer.close()

    def end(self) -> None:
        """Close the test's ends."""
        for role in list(self.peers):
            self.drop(role)
        if self._theirs is not None:
            self._theirs.close()


class WholeKeeper:
    """A `Keeper` whose loop the test turns, and to which it speaks as the supervisor."""

    def __init__(self, calls: SeamCalls, *, environment: dict[str, str] | None = None) -> None:
        self.calls = calls
        self.boot = PlainBoot(calls)
        self.journal = Journal(self.boot.journal_writer, "text", "debug")
        self.notifier = Notifier(environment or {}, os.getpid())
        self.keeper = Keeper(self.boot, self.journal, self.notifier)
        self.facts: dict[int, Fact] = {}
        self.probed: dict[int, dict[str, Any]] = {}
        self.pings = 0
        self.late_s = 0.0
        self.hurry_s = 0.0
        self.scribe_heard: list[dict[str, Any]] = []
        self.answers = True
        self.scribe_answers = True

    @property
    def now_s(self) -> float:
        return time.monotonic() + self.late_s

    @property
    def supervisor_pid(self) -> int:
        return self.keeper._supervisor.pid

    def turn(self) -> None:
        """Do one turn of the keeper's loop, then one of the supervisor's and the scribe's.

        Time passes faster for the keeper by `hurry_s` a turn.
        """
        self.late_s += self.hurry_s
        self.keeper._turn(self.now_s)
        self.keeper._poller.wait(0)
        self._be_supervisor()
        self._be_scribe()

    def _be_supervisor(self) -> None:
        peer = self.calls.peers.get("supervisor")
        if peer is None:
            return
        peer.flush()
        for fact in self.calls.handovers[-1]["facts"]:
            self.facts[fact["n"]] = fact
        for data, _ in peer.receive():
            message = channel.decode(data)
            for fact in message.get("facts", ()):
                self.facts[fact["n"]] = fact
            if "probed" in message:
                *_, number, self.probed[number] = message["probed"]
            if "ping" in message and self.answers:
                self.pings += 1
                self.say(pong=message["ping"])

    def _be_scribe(self) -> None:
        peer = self.calls.peers.get("scribe")
        if peer is None:
            return
        for data, descriptors in peer.receive():
            for descriptor in descriptors:
                os.close(descriptor)
            message = channel.decode(data)
            self.scribe_heard.append(message)
            if message["do"] == "ping" and self.scribe_answers:
                peer.send(channel.encode({"said": "pong", "id": message["id"]}))
            elif message["do"] == "retire":
                for number in message["streams"]:
                    peer.send(channel.encode({"said": "done", "stream": number}))

    def say(self, **message: Any) -> None:
        """Say something as the supervisor."""
        self.calls.peers["supervisor"].send(channel.encode(message))

    def lines(self) -> str:
        """Return what the keeper has logged since the last time."""
        try:
            return os.read(self.boot.journal_reader, 65536).decode()
        except BlockingIOError:
            return ""

    def until(self, predicate: Callable[[], Any], what: str) -> None:
        """Turn until *predicate* holds."""

        def look() -> bool:
            self.turn()
            return bool(predicate())

        wait_until(look, what=what, every_s=0.002, timeout_s=30, on_timeout=self._evidence)

    def _evidence(self) -> str:
        facts = "\n".join(map(str, self.facts.values()))
        return f"fails: {self.calls.fail}\n{facts}\n{self.lines()}"

    def fact(self, name: str, kind: str) -> Fact:
        """Turn until the supervisor has heard a fact of *kind* of *name*; return it."""

        def found() -> list[Fact]:
            facts = [self.facts[number] for number in sorted(self.facts)]
            return [f for f in facts if f.get("pool") == name and f["fact"] == kind]

        self.until(found, f"{kind} of {name}")
        return found()[0]

    def kill_supervisor(self) -> None:
        """Let the supervisor die between two messages."""
        os.kill(self.supervisor_pid, signal.SIGKILL)
        self.calls.drop("supervisor")

    def close(self) -> None:
        """End everything that the keeper keeps."""
        self.calls.fail = None
        keeper, runs = self.keeper, self.keeper._runs
        for child in (keeper._supervisor, keeper._scribe):
            child.start_at_s = None
            child.kill()
        runs.kill_all(self.now_s)
        wait_until(self._is_gone, what="the keeper's processes have ended", every_s=0.002)
        close_runs(runs)
        keeper._poller.close()
        os.close(keeper._woken)
        os.close(keeper._waker)
        if self.journal.descriptor >= 0:
            self.journal.close()
        if self.notifier._socket is not None:
            self.notifier._socket.close()
        self.boot.close()
        self.calls.end()

    def _is_gone(self) -> bool:
        now_s = self.now_s
        keeper = self.keeper
        for child in (keeper._supervisor, keeper._scribe):
            child.start_at_s = None
        keeper._reap(now_s)
        keeper._runs.turn(now_s)
        for child in (keeper._supervisor, keeper._scribe):
            child.start_at_s = None
        return keeper._runs.are_gone and not keeper._supervisor.pid and not keeper._scribe.pid
