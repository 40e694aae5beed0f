"""Who this worker is, and what it has to do with the daemon: one object for the whole process.

`context` is that object. It is found through a context variable, so that a test can run two workers
in one process (supervisord_lite.testing); where none is set, as in every thread of a worker's own
process, it is the one of the process.
"""

from __future__ import annotations

import contextvars
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from supervisord_lite.worker.tally import Tally
from supervisord_lite.worker.teller import Teller
from supervisord_lite.worker.voice import Voice

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping

#: While it waits between two turns of `loop` it gives so many signs of life in the time in which
#: one is expected.
_BEATS = 3
#: Of that time, between two that are really sent; and at most that long.
_BEAT_SHARE = 0.01
_BEAT_EVERY_S = 0.1
_NOBODY = Voice(None)


class Context:
    """What a worker may know and say. Threads share it.

    Attributes:
        name: As people read it: "web", or "web-2" in a pool.
        pool: The worker's name without the number.
        instance: From 1.
        heartbeat_timeout_s: It must give a sign of life so often; None: it need not.
        stop_timeout_s: How long it has for its end once it must stop; None: nobody has said.
    """

    def __init__(
        self,
        name: str,
        pool: str,
        instance: int,
        *,
        voice: Voice = _NOBODY,
        says_ready: bool = False,
        heartbeat_timeout_s: float | None = None,
        stop_timeout_s: float | None = None,
        sockets: Mapping[str, int] | None = None,
    ) -> None:
        """Describe one worker; a test makes its own.

        Args:
            name: See above, like the next ones.
            pool: See above.
            instance: See above.
            voice: Takes what it says.
            says_ready: It says itself when it is ready; else it is when its target runs.
            heartbeat_timeout_s: See above.
            stop_timeout_s: See above.
            sockets: Descriptors of listening sockets, by name.
        """
        self.name = name
        self.pool = pool
        self.instance = instance
        self.heartbeat_timeout_s = heartbeat_timeout_s
        self.stop_timeout_s = stop_timeout_s
        self.is_watched = False
        self._voice = voice
        self._says_ready = says_ready
        self._sockets = Sockets(sockets or {})
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._beat_at_s = float("-inf")
        self._teller = Teller(voice)
        self._tally = Tally(voice)

    # -- the stop ----------------------------------------------------------------------------------

    @property
    def stopping(self) -> threading.Event:
        """Set once this worker must stop. Whoever has asked for it is never interrupted."""
        self.is_watched = True
        return self._stopping

    @property
    def must_stop(self) -> bool:
        """Return whether it is set, without asking for it."""
        return self._stopping.is_set()

    def sleep(self, seconds: float) -> bool:
        """Wait; return True when the time is over, False, and at once, when it must stop."""
        return not self.stopping.wait(seconds)

    def loop(self, every_s: float) -> Iterator[int]:
        """Yield 0, 1, 2 …: a turn each *every_s* seconds, until it must stop.

        The end of each turn is a sign of life, and so is waiting for the next one. A turn that
        takes longer than *every_s* is followed by the next at once; those missed are left out. A
        turn in which nothing was counted (`ran`) counts as one run.
        """
        turn, at_s = 0, time.monotonic()
        while not self.stopping.is_set():
            done = self._tally.done
            yield turn
            if self._tally.done == done:
                self._tally.add()
            self.heartbeat()
            turn, at_s = turn + 1, max(at_s + every_s, time.monotonic())
            if not self._wait_until(at_s):
                return

    def _wait_until(self, at_s: float) -> bool:
        timeout_s = self.heartbeat_timeout_s
        while True:
            left_s = at_s - time.monotonic()
            if left_s <= 0:
                return not self.must_stop
            if not self.sleep(left_s if timeout_s is None else min(left_s, timeout_s / _BEATS)):
                return False
            if timeout_s is not None:
                self.heartbeat()

    def stop_left_s(self) -> float:
        """Return how many seconds are left until it is killed; infinite while it need not stop."""
        return max(0.0, self._stop_at_s - time.monotonic())

    def stop(self) -> None:
        """Say that this worker must stop. Not for signal handlers: it takes a lock."""
        if not self._stopping.is_set() and self.stop_timeout_s is not None:
            self._stop_at_s = time.monotonic() + self.stop_timeout_s
        self._stopping.set()

    # -- what it says ------------------------------------------------------------------------------

    def ready(self) -> None:
        """Say that it can do its work; with `ready = "notify"` that is waited for."""
        self._voice.ready()

    def began(self) -> None:
        """Its target runs: with every other `ready` it is ready now, as far as it knows."""
        if not self._says_ready:
            self._voice.ready()

    def heartbeat(self) -> None:
        """Give a sign of life, for `heartbeat_timeout`: where a turn of work has really ended."""
        timeout_s, now_s = self.heartbeat_timeout_s, time.monotonic()
        if timeout_s is None:
            return
        # A loop may turn thousands of times in a second, and somebody wakes for each that is sent.
        if now_s >= self._beat_at_s + min(timeout_s * _BEAT_SHARE, _BEAT_EVERY_S):
            self._beat_at_s = now_s
            self._voice.alive()

    def status(self, text: str) -> None:
        """Say what it is doing; `status` shows the latest, cut to 300 characters.

        Raises:
            TypeError: It is no text.
        """
        self._teller.tell(_text(text))

    def progress(self, done: int, total: int) -> None:
        """Say how far it is; `status` shows "31 of 50"."""
        self._teller.tell(f"{done} of {total}")

    def ran(self, runs: int = 1) -> None:
        """Count units of work that are done, for `recycle.runs`."""
        self._tally.add(runs)

    def flush(self) -> None:
        """Let nothing of that wait any longer: the process ends."""
        self._teller.flush()

    # -- what it has -------------------------------------------------------------------------------

    @property
    def sockets(self) -> Sockets:
        """Its listening sockets by name: `sockets["http"]` is a `socket.socket`."""
        return self._sockets

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger named "worker.POOL" whose records have `worker`, `pool` and `instance`."""
        import logging

        about = {"worker": self.name, "pool": self.pool, "instance": self.instance}
        return logging.LoggerAdapter(logging.getLogger(f"worker.{self.pool}"), about)


def _text(text: object) -> str:
    """Return *text*; it is told by another thread, whose traceback would not say who said it."""
    if isinstance(text, str):
        return text
    message = f"context.status takes a text, not {type(text).__name__}"
    raise TypeError(message)


class Sockets:
    """Listening sockets by name; each is made once, when it is asked for."""

    def __init__(self, descriptors: Mapping[str, int]) -> None:
        """Take the descriptors by name."""
        self._descriptors = dict(descriptors)
        self._made: dict[str, socket.socket] = {}

    def __getitem__(self, name: str) -> socket.socket:
        """Return the socket *name*.

        Raises:
            KeyError: The worker has none of that name; the message says which there are.
        """
        if name not in self._made:
            if name not in self._descriptors:
                known = ", ".join(self._descriptors) or "none"
                message = f"there is no socket {name!r} (sockets.{name} = …); there are: {known}"
                raise KeyError(message)
            self._made[name] = socket.socket(fileno=self._descriptors[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._descriptors)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._descriptors)

    def __contains__(self, name: object) -> bool:
        """Return whether there is a socket of that name."""
        return name in self._descriptors


def _from_environment() -> Context:
    name = os.environ.get("SUPERVISORD_LITE_NAME", "worker")
    pool = os.environ.get("SUPERVISORD_LITE_POOL", name)
    number = os.environ.get("SUPERVISORD_LITE_INSTANCE", "1")
    return Context(name, pool, int(number) if number.isdecimal() else 1)


#: Set where several workers live in one process.
variable: contextvars.ContextVar[Context] = contextvars.ContextVar("supervisord_lite_context")
_process: list[Context] = []


def current() -> Context:
    """Return the context that holds here."""
    found = variable.get(None)
    if found is not None:
        return found
    if not _process:
        _process.append(_from_environment())
    return _process[0]


def put_in_force(own: Context) -> None:
    """Let *own* be the context of this process."""
    _process[:] = [own]


class _Current:
    """Whatever `current` returns, under a name that may be imported once."""

    def __getattr__(self, name: str) -> Any:
        return getattr(current(), name)

    def __repr__(self) -> str:
        return f"<context of {current().name}>"


#: Of the worker that this code runs in.
context = cast("Context", _Current())
