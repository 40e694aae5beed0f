"""A small keeper for tests of the scribe: pipes, a channel, a memory, and a real process."""

from __future__ import annotations

import gzip
import os
import re
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisord_lite.base import resident
from supervisord_lite.scribe.memory import _SLOTS, SCRIBE_MEMORY_BYTES
from supervisord_lite.wire import channel

if TYPE_CHECKING:
    pass

WAIT_S = 20.0


class Keeper:
    """Starts a scribe, gives it pipes, starts it again when it is killed.

    Attributes:
        said: Everything the scribes have said, in order.
        done: Numbers of streams that were read to their end.
    """

    def __init__(self, *, stdout: int | None = None, stderr: int | None = None) -> None:
        self.memory = os.memfd_create("scribe-test", os.MFD_CLOEXEC)
        os.ftruncate(self.memory, SCRIBE_MEMORY_BYTES)
        self.said: list[dict[str, Any]] = []
        self.done: set[int] = set()
        self._stdout = stdout
        self._stderr = stderr
        self._entries: dict[int, dict[str, Any]] = {}
        self._readers: dict[int, int] = {}
        self._retired: list[int] = []
        self._next = 1
        self._pings = 0
        self._socket: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.channel.close()
        for reader in self._readers.values():
            os.close(reader)
        os.close(self.memory)

    @property
    def channel(self) -> socket.socket:
        assert self._socket is not None
        return self._socket

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start a scribe and tell it all that is open."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = resident.arguments_for("scribe", str(theirs.fileno()), str(self.memory))
        self.process = subprocess.Popen(
            arguments,
            pass_fds=(theirs.fileno(), self.memory),
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            start_new_session=True,
        )
        theirs.close()
        self._socket = ours
        numbers = [number for number in self._entries if number not in self.done]
        for first in range(0, len(numbers), 16):
            self._attach(numbers[first : first + 16])
        if self._retired:
            self.tell({"do": "retire", "streams": self._retired})

    def kill(self) -> int:
        """SIGKILL, and start the next one. What the dead one had said still counts.

        Returns:
            The phase of the record that the dead one left.
        """
        assert self.process is not None
        self.process.kill()
        return self._replaced()

    def leave(self) -> int:
        """Let it make room in good order, and start the next one; return as `kill` does."""
        self.tell({"do": "leave"})
        assert self.process is not None
        assert self.process.wait(WAIT_S) == 0
        return self._replaced()

    def _replaced(self) -> int:
        assert self.process is not None
        self.process.wait()
        self.receive()
        self.channel.close()
        slot = os.pread(self.memory, 1, 0)[0] & 1
        phase = os.pread(self.memory, 1, _SLOTS[slot])[0]
        self.start()
        return phase

    def tell(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        socket.send_fds(self.channel, [channel.encode(message)], descriptors or [])

    def _attach(self, numbers: list[int]) -> None:
        self.tell(
            {"do": "attach", "streams": [self._entries[number] for number in numbers]},
            [self._readers[number] for number in numbers],
        )

    def attach(
        self,
        path: Path | str | None,
        *,
        fd: int = 2,
        max_size: int = 0,
        backups: int = 3,
        form: str = "raw",
        **more: Any,
    ) -> tuple[int, int]:
        """Make a pipe to *path*, or to the descriptor *fd* of the scribe; return number, writer.

        *more* goes into the entry that the scribe is told.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        number = self._next
        self._next += 1
        entry: dict[str, Any] = {"stream": number, "name": f"w-{number}"}
        if path is None:
            entry["fd"] = fd
        else:
            entry |= {"path": str(path), "max_size": max_size, "backups": backups}
            entry |= {"run": f"{number}.test", "format": form, **more}
        self._entries[number] = entry
        self._readers[number] = reader
        self._attach([number])
        return number, writer

    def retire(self, *numbers: int) -> None:
        self._retired += numbers
        self.tell({"do": "retire", "streams": list(numbers)})

    def receive(self, timeout_s: float = 0.0) -> bool:
        """Take what the scribe says; return whether there was anything."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        got = False
        while poll.poll(timeout_s * 1000):
            timeout_s = 0.0
            try:
                data = self.channel.recv(channel.MAX_MESSAGE_BYTES)
            except ConnectionResetError:
                continue
            if not data:
                break
            got = True
            message = channel.decode(data)
            self.said.append(message)
            if message["said"] == "done":
                number = message["stream"]
                self.done.add(number)
                if number in self._retired:
                    self._retired.remove(number)
                reader = self._readers.pop(number, None)
                if reader is not None:
                    os.close(reader)
        return got

    def wait_for(self, **expected: Any) -> dict[str, Any]:
        """Wait for a message with these fields, new or old; return it."""

        def find() -> dict[str, Any] | None:
            for message in self.said:
                if expected.items() <= message.items():
                    return message
            return None

        deadline_s = time.monotonic() + WAIT_S
        while (found := find()) is None:
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, f"not said: {expected}; said: {self.said[-20:]}"
            assert self.process is not None
            assert self.process.poll() is None or self.receive(), (
                f"ended: {self.process.returncode}"
            )
            self.receive(left_s)
        return found

    def ping(self) -> float:
        """Wait for the answer to a ping; return how long it took, in seconds."""
        self._pings += 1
        began_s = time.monotonic()
        self.tell({"do": "ping", "id": self._pings})
        self.wait_for(said="pong", id=self._pings)
        return time.monotonic() - began_s

    def last(self, said: str, path: Path | str) -> dict[str, Any] | None:
        """Return the last message of this kind about *path*."""
        found = None
        for message in self.said:
            if message["said"] == said and message.get("path") == str(path):
                found = message
        return found

    def finish(self) -> int:
        """Say finish; return the exit code."""
        assert self.process is not None
        self.tell({"do": "finish"})
        code = self.process.wait(WAIT_S)
        self.receive()
        return code


def segments(path: Path) -> list[Path]:
    """Return the files of one log, oldest first."""
    if not path.parent.is_dir():
        return []
    numbered = []
    for other in path.parent.iterdir():
        match = re.fullmatch(re.escape(path.name) + r"\.(\d+)(\.gz)?", other.name)
        if match:
            numbered.append((int(match[1]), other))
    # Of a number that has both, the plain one: they are the same.
    found = list(dict(sorted(numbered, reverse=True)).values())[::-1]
    return [*found, path] if path.exists() else found


def whole(path: Path) -> bytes:
    """Return all that is in one log, oldest first."""
    return b"".join(map(content, segments(path)))


def content(path: Path) -> bytes:
    """Return the lines of one file of a log, compressed or not."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data
