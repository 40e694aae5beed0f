"""A small loop, and a daemon that only has a control socket: real server, made-up answers."""

import json
import selectors
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from supervisord_lite.control.calls import Call, Peer
from supervisord_lite.control.server import Server
from tests.support import leftovers

MANAGER = "io.supervisordlite.Manager"
TOP_RANK = 3
Handler = Callable[[Call], None]


class Loop:
    """What a server needs of the supervisor's loop."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(
        self,
        fd: int,
        *,
        readable: Callable[[], None] | None = None,
        writable: Callable[[], None] | None = None,
    ) -> None:
        """Call back while *fd* is ready."""
        mask = selectors.EVENT_READ * (readable is not None)
        mask |= selectors.EVENT_WRITE * (writable is not None)
        if fd in self._selector.get_map():
            self._selector.modify(fd, mask, (readable, writable))
        else:
            self._selector.register(fd, mask, (readable, writable))

    def unwatch(self, fd: int) -> None:
        """Forget *fd*; one that is not watched is a mistake."""
        self._selector.unregister(fd)

    def is_watched(self, fd: int) -> bool:
        """Return whether anything of *fd* is waited for."""
        return fd in self._selector.get_map()

    def turn(self, timeout_s: float | None = 0.0) -> int:
        """Call back for what is ready; return how many descriptors were."""
        ready = self._selector.select(timeout_s)
        for key, mask in ready:
            readable, writable = key.data
            if mask & selectors.EVENT_READ and readable and self.is_watched(key.fd):
                readable()
            if mask & selectors.EVENT_WRITE and writable and self.is_watched(key.fd):
                writable()
        return len(ready)

    def close(self) -> None:
        """Forget everything."""
        self._selector.close()


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.s = 1000.0

    def now_s(self) -> float:
        """Return the made-up time."""
        return self.s


def listen() -> socket.socket:
    """Return a listening socket in a short folder of its own; its path is `getsockname()`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(leftovers.short_folder() / "control.sock"))
    listener.listen(512)
    return listener


def echo(call: Call) -> None:
    """Answer with what was asked."""
    call.reply({"method": call.method, "parameters": call.parameters})


class Bench:
    """A server, its loop and its clock in the test's own thread: every turn is the test's."""

    def __init__(
        self,
        handle: Handler | None = None,
        allowed: Callable[[Peer], bool] = lambda _peer: True,
        rank: Callable[[Peer], int] | None = None,
    ) -> None:
        self.clock = Clock()
        self.loop = Loop()
        self.listener = listen()
        self.calls: list[Call] = []
        self.faults: list[str] = []
        self._clients: list[socket.socket] = []
        self.server = Server(
            self.listener,
            self.loop,
            handle=handle or self.calls.append,
            rank=rank or (lambda peer: TOP_RANK if allowed(peer) else 0),
            top_rank=TOP_RANK,
            clock_now_s=self.clock.now_s,
            version="1.2.3",
            on_fault=lambda what, error: self.faults.append(f"{what}: {error}"),
        )

    @property
    def connection_count(self) -> int:
        """Return how many clients are connected."""
        return len(self.server._connections)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.close()
        for client in self._clients:
            client.close()
        self.listener.close()
        self.loop.close()

    def connect(self) -> socket.socket:
        """Return a new client, which is not accepted yet."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        client.connect(self.listener.getsockname())
        self._clients.append(client)
        return client

    def settle(self, *, most_turns: int = 2000) -> None:
        """Turn the loop until nothing is ready; a loop that never rests is a failure."""
        for _ in range(most_turns):
            due_s = self.server.next_deadline_s()
            if due_s is not None and due_s <= self.clock.s:
                self.server.expire(self.clock.s)
            elif not self.loop.turn():
                return
        message = f"busy: something was ready {most_turns} times in a row"
        raise AssertionError(message)

    def say(self, client: socket.socket, *messages: Mapping[str, Any]) -> None:
        """Send messages and let the server do what it does."""
        client.send(b"".join(json.dumps(message).encode() + b"\0" for message in messages))
        self.settle()

    def hear(self, client: socket.socket) -> list[dict[str, Any]]:
        """Return what the server has said so far."""
        data = b""
        while piece := self._receive(client):
            data += piece
            self.settle()
        return [json.loads(message) for message in data.split(b"\0")[:-1]]

    def is_closed(self, client: socket.socket) -> bool:
        """Return whether the server has hung up; what it had said is read and dropped."""
        while True:
            try:
                if not client.recv(1 << 20):
                    return True
            except BlockingIOError:
                return False
            except OSError:
                return True

    @staticmethod
    def _receive(client: socket.socket) -> bytes:
        try:
            return client.recv(1 << 20)
        except BlockingIOError:
            return b""


def ask(method: str, **parameters: object) -> dict[str, Any]:
    """Return a request of the daemon's interface."""
    return {"method": f"{MANAGER}.{method}", "parameters": parameters}


class FakeDaemon:
    """A control socket with made-up answers, served by a thread.

    Attributes:
        path: Of the socket.
        answers: By method: what to do with a call; a call without one waits for ever.
        asked: Methods and parameters, in the order in which they came.
        workers: What Status says.
        supervisor: What Status says of the daemon.
        now_s: The daemon's clock in Status.
        replaced: How often its supervisor has been.
    """

    def __init__(self, workers: Sequence[Mapping[str, Any]] = ()) -> None:
        self.listener = listen()
        self.path = str(self.listener.getsockname())
        self.workers = [dict(worker) for worker in workers]
        self.supervisor: dict[str, Any] = a_supervisor()
        self.now_s = 5000.0
        self.replaced = 0
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.answers: dict[str, Handler] = {
            "Status": self._on_status,
            "Version": lambda call: call.reply({"version": "9.8.7"}),
        }
        self._loop = Loop()
        self._near, self._far = socket.socketpair()
        self._orders: list[Callable[[], None]] = []
        self._failures: list[BaseException] = []
        self._ending = False
        self._server = self._serve()
        self._thread = threading.Thread(target=self._run, name="fake daemon")

    def __enter__(self) -> Self:
        self._loop.watch(self._near.fileno(), readable=self._on_order)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self.end()
        if self._failures and kind is None:
            raise self._failures[0]

    def end(self) -> None:
        """Stop listening and hang up on everybody, as a daemon that has ended."""
        if self._thread.is_alive():
            self._order(self._stop)
            self._thread.join(30)
        for each in (self._near, self._far, self.listener):
            each.close()
        self._loop.close()

    @property
    def connection_count(self) -> int:
        """Return how many clients are connected."""
        return len(self._server._connections)

    def replace_supervisor(self) -> None:
        """Hang up on everybody; the listening socket stays, a new server answers."""
        self._order(self._replace)

    def _order(self, what: Callable[[], None]) -> None:
        self._orders.append(what)
        self._far.send(b"x")

    def _on_order(self) -> None:
        self._near.recv(1)
        self._orders.pop(0)()

    def _stop(self) -> None:
        self._ending = True

    def _replace(self) -> None:
        self._server.close()
        self._server = self._serve()
        self.replaced += 1

    def _serve(self) -> Server:
        return Server(
            self.listener,
            self._loop,
            handle=self._handle,
            rank=lambda _peer: TOP_RANK,
            top_rank=TOP_RANK,
            clock_now_s=Clock().now_s,
            version="9.8.7",
            on_fault=lambda _what, error: self._failures.append(error),
        )

    def _handle(self, call: Call) -> None:
        self.asked.append((call.method, call.parameters))
        answer = self.answers.get(call.method)
        if answer is not None:
            answer(call)

    def _on_status(self, call: Call) -> None:
        names = call.parameters.get("names") or []
        assert isinstance(names, list)
        workers = [
            w
            for w in self.workers
            if not names or "all" in names or w["name"] in names or w["pool"] in names
        ]
        if names and not workers:
            call.error(f"{MANAGER}.NoSuchWorker", {"name": names[0], "suggestion": "web"})
            return
        call.reply({"now_s": self.now_s, "supervisor": self.supervisor, "workers": workers})

    def _run(self) -> None:
        try:
            while not self._ending:
                due_s = self._server.next_deadline_s()
                if due_s is not None and due_s <= Clock().s:
                    self._server.expire(Clock().s)
                else:
                    self._loop.turn(10.0)
        except BaseException as error:  # noqa: BLE001  # told by the test's thread
            self._failures.append(error)
        finally:
            self._server.close()


def a_supervisor(**changed: object) -> dict[str, Any]:
    """Return the daemon's own part of a status."""
    return {
        "version": "9.8.7",
        "pid": 101,
        "keeper_pid": 100,
        "state": "running",
        "started_at": "2026-11-18T12:00:00Z",
        "generation": 1,
        "config": "/etc/supervisord-lite/supervisord-lite.toml",
        "warnings": [],
    } | changed


def a_worker(name: str = "web", **changed: object) -> dict[str, Any]:
    """Return one instance as the daemon tells it: running, ready, nothing wrong."""
    pool, _, number = name.rpartition("-")
    in_pool = bool(pool) and number.isdecimal()
    return {
        "name": name,
        "pool": pool if in_pool else name,
        "instance": int(number) if in_pool else 1,
        "state": "running",
        "pid": 4211,
        "ready": True,
        "started_at_s": 1000.0,
        "restarts": 0,
        "recycles": 0,
        "failures_in_window": 0,
        "max_restarts": 5,
        "breaker": "closed",
        "next_start_at_s": None,
        "critical": False,
        "rss_bytes": 64 << 20,
        "pss_bytes": 61 << 20,
        "cpu_percent": 0.1,
        "fds": 12,
        "threads": 1,
        "processes": 1,
        "memory_bytes": 61 << 20,
        "sampled_at_s": 1000.0,
        "recycle": {"memory_bytes": None, "age_at_s": None, "runs": None},
        "circuit_window_s": 600.0,
        "run": 1,
        "last_exit": None,
        "note": None,
        "output": {"stdout": f"/log/{name}.log", "stderr": f"/log/{name}.log", "dropped_bytes": 0},
        "limits": [],
    } | changed


def an_outcome(name: str, outcome: str, **changed: object) -> dict[str, Any]:
    """Return what became of one worker of a request."""
    worker = a_worker(name)
    return {
        "name": name,
        "pool": worker["pool"],
        "outcome": outcome,
        "ok": outcome != "failed",
        "pid": None,
        "elapsed_s": 0.2,
        "detail": None,
    } | changed


def with_outcomes(*outcomes: Mapping[str, Any]) -> Handler:
    """Return a handler that tells *outcomes*, one reply each, then that it is done."""

    def handle(call: Call) -> None:
        for outcome in outcomes:
            call.reply({"outcome": outcome, "done": False}, continues=True)
        call.reply({"outcome": None, "done": True})

    return handle


def log_file(folder: Path, name: str, lines: Sequence[str]) -> Path:
    """Write a log and return its path."""
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
