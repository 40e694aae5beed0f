"""A keeper in a process of its own, to which the test is the supervisor; its scribe is a real one.

This file is also the code of that keeper, and may take its own place: run as
`python -I -S keeper_alone.py ROLE ARGUMENT…`, as base/resident.py is. What it starts as supervisor
hands the descriptors that it got to the test, and lives until the test lets it go.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

CHECKOUT = Path(__file__).absolute().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT))

from supervisord_lite.base.memory_files import memory_content  # noqa: E402
from supervisord_lite.base.packets import PacketSocket  # noqa: E402
from supervisord_lite.keeper import boot  # noqa: E402
from supervisord_lite.keeper.__main__ import main  # noqa: E402
from supervisord_lite.keeper.calls import Calls  # noqa: E402
from supervisord_lite.wire import channel  # noqa: E402
from tests.support.wait import wait_until  # noqa: E402

OFFICE = "SDL_TEST_OFFICE"
NO_CGROUP = "SDL_TEST_NO_CGROUP"
HERE = os.path.abspath(__file__)


def _spawn(path: str, argv: list[str], env: dict[str, str], **options: Any) -> int:
    """Start a process; what is to be the supervisor is one of ours."""
    if "supervisor" in argv[:5] and argv[3].endswith(".py"):
        argv = [*argv[:3], HERE, *argv[4:]]
        env = {**env, OFFICE: os.environ[OFFICE]}
    return os.posix_spawn(path, argv, env, **options)


def _open(path: str, flags: int, *more: Any, **options: Any) -> int:
    """Open a file; nobody may make cgroups where the test wants none."""
    if path == "/proc/self/cgroup" and NO_CGROUP in os.environ:
        raise FileNotFoundError(errno.ENOENT, path)
    return os.open(path, flags, *more, **options)


def _calls() -> Calls:
    calls: Any = Calls()
    calls.posix_spawn, calls.open = _spawn, _open
    made: Calls = calls
    return made


def _be_supervisor(numbers: list[int]) -> NoReturn:
    """Hand the channel and the handover to the test; leave as it says, or when it is gone."""
    office = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    office.connect(os.environ[OFFICE])
    socket.send_fds(office, [b"%d" % os.getpid()], numbers[:2])
    for number in numbers:
        os.close(number)
    said = office.recv(16)
    if said.isdigit():
        os._exit(int(said))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _main() -> int:
    role, *arguments = sys.argv[1:]
    if role == "supervisor":
        _be_supervisor([int(each) for each in arguments])
    if role == "keeper":
        return main(arguments, _calls())
    entrance = __import__(f"supervisord_lite.{role}.__main__", fromlist=["main"])
    status: int = entrance.main(arguments)
    return status


class AloneKeeper:
    """The test's side.

    Attributes:
        facts: Every one that was told, by number.
        handovers: What each supervisor so far was given.
        answers: Whether we are live.
        on_fact: Called with each fact, once.
    """

    def __init__(
        self, folder: Path, *, cgroups: bool = True, environment: dict[str, str] | None = None
    ) -> None:
        """Start a keeper, with more in its environment.

        *folder* holds its sockets and what it writes; its path is short.
        """

        self.folder = folder
        self.facts: dict[int, dict[str, Any]] = {}
        self.handovers: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.on_fact: Callable[[dict[str, Any]], None] = lambda _fact: None
        self.supervisor_pid = 0
        self._peer: PacketSocket | None = None
        self._desk: socket.socket | None = None
        self._office = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._office.bind(f"{folder}/office")
        self._office.listen()
        self._office.setblocking(False)
        self.listeners = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
        for each, name in zip(self.listeners, ("control", "http", "systemd"), strict=True):
            each.bind(f"{folder}/{name}")
            each.listen(64)
        control, http, systemd = (each.fileno() for each in self.listeners)
        lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.traces = os.memfd_create("traces")
        memory = boot.prepare(
            name=f"alone-{os.getpid()}-{folder.name}", saves={"settings": "{}"}, listener=control,
            http=http, inherited={"systemd": systemd},
            places=[boot.place("lock", f"{folder}/lock", lock)], log_style="json",
            log_level="debug", remove=[], events=f"{folder}/events.jsonl", owner_pid=os.getpid(),
            traces=self.traces,
        )  # fmt: skip
        own = {**os.environ, **(environment or {}), OFFICE: f"{folder}/office"}
        if not cgroups:
            own[NO_CGROUP] = "1"
        with (folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", HERE, "keeper", str(memory)],
                pass_fds=(memory, control, http, systemd, lock, self.traces), env=own,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/",
                start_new_session=True,
            )  # fmt: skip
        os.close(memory)
        os.close(lock)

    @property
    def pid(self) -> int:
        """Of the keeper."""
        return self.process.pid

    @property
    def has_supervisor(self) -> bool:
        """Whether something can be said."""
        return self._peer is not None

    def server_pid(self, name: str) -> int:
        """Return the pid of a forkserver that has told of itself; it did so once."""
        told = [note["servers"][name] for note in self.notes if name in note.get("servers", ())]
        (pid,) = {each["pid"] for each in told}
        return int(pid)

    def turn(self) -> None:
        """Do one turn of a supervisor's loop, or be replaced."""
        self._take_over()
        peer = self._peer
        if peer is None:
            return
        peer.flush()

        for data, descriptors in peer.receive():
            for descriptor in descriptors:
                os.close(descriptor)
            message = channel.decode(data)
            for fact in message.pop("facts", ()):
                self._take(fact)
            if "ping" in message:
                self.say(pong=message.pop("ping"))
            if message:
                self.notes.append(message)

    def _take_over(self) -> None:

        try:
            desk, _ = self._office.accept()
        except BlockingIOError:
            return
        said, (own, handover), _, _ = socket.recv_fds(desk, 16, 4)
        self._leave()
        self._desk, self.supervisor_pid = desk, int(said)
        self._peer = PacketSocket(socket.socket(fileno=own), channel.MAX_MESSAGE_BYTES)
        self.handovers.append(json.loads(memory_content(handover)))
        os.close(handover)
        for fact in self.handovers[-1]["facts"]:
            self._take(fact)

    def _take(self, fact: dict[str, Any]) -> None:
        known = self.facts.get(fact["n"])
        assert known in (None, fact), f"told before: {known}; now: {fact}"
        if known is None:
            self.facts[fact["n"]] = fact
            self.on_fact(fact)

    def _leave(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        if self._desk is not None:
            self._desk.close()
            self._desk = None

    def say(self, **message: Any) -> None:
        """Say something as the supervisor."""

        assert self._peer is not None
        self._peer.send(channel.encode(message))

    def until(self, predicate: Callable[[], Any], what: str, timeout_s: float = 30.0) -> None:
        """Turn until *predicate* holds."""

        def look() -> bool:
            assert self.process.poll() is None, f"the keeper has ended\n{self.output()}"
            self.turn()
            return bool(predicate())

        wait_until(look, what=what, every_s=0.001, timeout_s=timeout_s, on_timeout=self.output)

    def begin(self) -> None:
        """Wait until it has a supervisor."""
        self.until(lambda: self._peer is not None, "there is a supervisor")

    def replace(
        self, resident: str | None = None, *, meanwhile: Callable[[], object] = lambda: None
    ) -> float:
        """Let other code take the keeper's place; return how long there was no supervisor, in s.

        *meanwhile* is called again and again until there is one.
        """
        count = len(self.handovers)
        began_s = time.monotonic()
        order = {"interpreter": sys.executable, "resident": resident or HERE}
        self.say(replace={**order, "version": "1", "keeper": True})
        self._leave()

        def is_over() -> bool:
            meanwhile()
            return len(self.handovers) > count

        self.until(is_over, "there is another supervisor")
        return time.monotonic() - began_s

    def output(self) -> str:
        """Return what the daemon itself has printed."""
        return (self.folder / "output").read_text(errors="replace")

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the daemon's own lines of this event."""
        lines = [json.loads(line) for line in self.output().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == event]

    def close(self) -> int:
        """End it and all that it keeps; return its exit status."""
        if self.process.poll() is None:
            if self._desk is None:
                self.process.kill()
            else:
                self._desk.sendall(b"0")
        status = self.process.wait(30)
        self._leave()
        self._office.close()
        os.close(self.traces)
        for each in self.listeners:
            each.close()
        return status


if __name__ == "__main__":
    sys.exit(_main())
