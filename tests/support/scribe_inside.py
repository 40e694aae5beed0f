"""Scribes in the test's own process, that die or meet a failing disk at any call."""

from __future__ import annotations

import errno
import os
import select
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from supervisord_lite.scribe.calls import Calls
from supervisord_lite.scribe.compress_child import compress
from supervisord_lite.scribe.loop import Scribe
from supervisord_lite.scribe.memory import SCRIBE_MEMORY_BYTES
from supervisord_lite.wire import channel

if TYPE_CHECKING:
    from pathlib import Path


#: How often a scribe may turn before it sleeps, while time stands still.
MOST_TURNS = 20_000


class Killed(BaseException):
    """The scribe dies here."""


#: Calls that ask a disk for something; the others are of pipes and memory.
DISK_CALLS = (
    "lstat", "fstat", "open", "pwrite", "ftruncate", "rename", "unlink", "mkdir", "listdir",
    "fsync", "close",
)  # fmt: skip


class FaultyCalls(Calls):
    """The seam with faults: dies before, in or after a call, or lets a disk call fail.

    Attributes:
        count, disk_count: Calls so far, of all kinds and of the disk.
        names: What they were.
    """

    def __init__(
        self,
        *,
        die_at: int = 0,
        die: str = "before",
        fail_at: int = 0,
        fail_times: int = 1,
        error: int = errno.ENOSPC,
    ) -> None:
        self.count = 0
        self.disk_count = 0
        self.names: list[str] = []
        self._die_at = die_at
        self._die = die
        self._failing = range(fail_at, fail_at + fail_times) if fail_at else range(0)
        self._error = error
        for name in dir(Calls):  # its own and those of its bases
            if not name.startswith("_"):
                setattr(self, name, self._wrap(name, getattr(Calls, name)))

    def _wrap(self, name: str, call: Any) -> Any:
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            self.count += 1
            self.names.append(name)
            if name in DISK_CALLS:
                self.disk_count += 1
                if self.disk_count in self._failing:
                    if name == "pwrite" and self._die == "half":
                        self._half(call, arguments)
                    if name == "close":
                        call(*arguments, **keywords)  # refused or not, it is closed
                    raise OSError(self._error, os.strerror(self._error))
            if self.count == self._die_at:
                try:
                    if self._die == "half" and name == "pwrite":
                        self._half(call, arguments)
                    elif self._die != "before":
                        call(*arguments, **keywords)
                finally:
                    raise Killed
            return call(*arguments, **keywords)

        return wrapped

    @staticmethod
    def _half(call: Any, arguments: Any) -> None:
        descriptor, data, offset = arguments
        call(descriptor, data[: (len(data) + 1) // 2], offset)


class InsideCompression:
    """A child that compresses in this process, when it is asked what it has to say.

    It dies with the scribe, whose calls it makes.
    """

    def __init__(self, calls: Calls, path: str, *, now_s: float) -> None:
        del now_s
        self._calls = calls
        self._path = path
        self._descriptor = os.eventfd(1, os.EFD_CLOEXEC)
        self.deadline_s = float("inf")
        self.is_over = False
        self.problem = ""

    def fileno(self) -> int:
        return self._descriptor

    def receive(self, now_s: float) -> None:
        del now_s
        try:
            compress(self._path, self._calls)
        except OSError as error:
            self.problem = str(error.strerror)
        self.is_over = True

    def close(self) -> None:
        os.close(self._descriptor)

    def has_ended(self) -> bool:
        return True


class Inside:
    """Scribes in this process, one after the other, on one memory; no threads, no real time.

    Attributes:
        now_s: Both clocks, moved by hand.
        deaths, starts: How many scribes have died, and were started.
    """

    def __init__(self) -> None:
        self.memory = os.memfd_create("scribe-test", os.MFD_CLOEXEC)
        os.ftruncate(self.memory, SCRIBE_MEMORY_BYTES)
        self.now_s = 1000.0
        self.deaths = 0
        self.starts = 0
        self.said: list[dict[str, Any]] = []
        self.done: set[int] = set()
        self._entries: dict[int, dict[str, Any]] = {}
        self._readers: dict[int, int] = {}
        self._next = 1
        self._scribe: Scribe | None = None
        self._channel: socket.socket | None = None

    def attach(
        self,
        path: Path,
        *,
        max_size: int = 0,
        backups: int = 1000,
        form: str = "raw",
        **more: Any,
    ) -> tuple[int, int]:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        number = self._next
        self._next += 1
        self._entries[number] = {
            "stream": number, "name": "w", "path": str(path),
            "max_size": max_size, "backups": backups, "run": f"{number}.test",
            "format": form, **more,
        }  # fmt: skip
        self._readers[number] = reader
        if self._channel is not None:
            self._tell_attach([number])
        return number, writer

    def _tell_attach(self, numbers: list[int]) -> None:
        assert self._channel is not None
        message = {"do": "attach", "streams": [self._entries[number] for number in numbers]}
        descriptors = [self._readers[number] for number in numbers]
        socket.send_fds(self._channel, [channel.encode(message)], descriptors)

    def move(self, number: int, path: Path, *, form: str = "raw", **more: Any) -> None:
        """Let a stream go to another file, or in another form, as the keeper does."""
        entry = self._entries[number]
        moved = {**entry, "path": str(path), "format": form, **more}
        self._entries[number] = moved
        if entry["path"] != str(path):
            moved["was"] = entry["path"]
        if self._channel is not None:
            message = {"do": "move", "streams": [self._entries[number]]}
            self._channel.send(channel.encode(message))

    def reopen(self) -> None:
        """Let it open its files anew, as the keeper does."""
        if self._channel is not None:
            self._channel.send(channel.encode({"do": "reopen"}))
        self.settle()

    def settle(self, *lives: Calls) -> None:
        """Let scribes work until nothing is left to do; one that dies is replaced.

        Args:
            lives: The calls of the scribes that are started, one after the other.
        """
        waiting = list(lives)
        while True:
            try:
                if self._scribe is None:
                    self._start(waiting.pop(0) if waiting else None)
                self._work()
            except Killed:
                self.deaths += 1
                self.stop()
                continue
            self._receive()
            return

    def _work(self) -> None:
        """Let it turn until it would sleep; one that never would is a busy loop."""
        assert self._scribe is not None
        for _ in range(MOST_TURNS):
            looking = select.poll()  # select() cannot count beyond 1024
            looking.register(self._scribe.descriptor, select.POLLIN)
            is_woken = bool(looking.poll(0))
            if not is_woken and self._scribe.wait_s() != 0:
                return
            self._scribe.turn(0)
        message = f"it does not come to rest in {MOST_TURNS} turns"
        raise AssertionError(message)

    def wait_s(self) -> float:
        """Return how long the scribe would sleep; -1: until something comes."""
        assert self._scribe is not None
        return self._scribe.wait_s()

    def _start(self, calls: Calls | None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.starts += 1
        self._channel = ours
        ours.setblocking(False)
        self._scribe = Scribe(
            theirs.detach(), self.memory, calls=calls, now_s=self._now_s, wall_s=self._now_s,
            start_compression=partial(InsideCompression, calls or Calls()),
        )  # fmt: skip
        self._tell_attach([number for number in self._entries if number not in self.done])
        self._scribe.recover()

    def _now_s(self) -> float:
        return self.now_s

    def _receive(self) -> None:
        assert self._channel is not None
        while True:
            try:
                data = self._channel.recv(channel.MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # said once, before what is still there
            if not data:
                return
            message = channel.decode(data)
            self.said.append(message)
            if message["said"] == "done":
                self.done.add(message["stream"])

    def stop(self) -> None:
        """The scribe is gone; what it had said still counts."""
        if self._scribe is not None:
            self._scribe.close()
            self._scribe = None
        if self._channel is not None:
            self._receive()
            self._channel.close()
            self._channel = None

    def close(self) -> None:
        self.stop()
        for reader in self._readers.values():
            os.close(reader)
        os.close(self.memory)

    def dropped_bytes(self, path: Path) -> int:
        """Return what was lost of the file, as the keeper was told at last."""
        self.now_s += 2.0
        self.settle()
        last = 0
        for message in self.said:
            if message["said"] == "dropped" and message["path"] == str(path):
                assert message["bytes"] >= last
                last = message["bytes"]
        return last
