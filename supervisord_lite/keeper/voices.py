"""What workers say of themselves: notification sockets and ready descriptors.

A run whose spec wants it to speak gets a voice: a datagram socket of its own in a folder that only
its user may enter (NOTIFY_SOCKET, sd_notify(3)), or the write end of a pipe at a descriptor on
which a newline says that it is ready.

=====================  =============================================================================
word                   what becomes of it
=====================  =============================================================================
READY=1, a newline     fact "said", the first time in a run
EXTEND_TIMEOUT_USEC=   fact "extended"
WATCHDOG=trigger       fact "judged", likewise
WATCHDOG=1             the time of the last one, told to a supervisor that asks
X_SUPERVISORD_LITE_END a Python worker says why it is about to end: goes into the fact of its end
X_RUNS=                how many units of work it has done: told as often as that is news
STATUS=, STOPPING=1,   the latest of each: told unnumbered, and to each new supervisor in the
RELOADING=1            inventory
=====================  =============================================================================

A voice lives as long as anything of its run's tree. What a leader had said before it ended is read
before its end is told. Nobody else's word counts: the folder keeps other users out.
"""

from __future__ import annotations

import os
import select
import socket
import time

from supervisord_lite.keeper import own_folder
from supervisord_lite.keeper.spawn import StageError, cause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.table import Run, Table

_NAME = "notify"
#: Of one datagram; the last words of a Python worker have a traceback in them.
_MOST_BYTES = 1 << 16
#: Of one voice in one turn: nobody may keep the keeper from the others.
_MOST_WORDS = 64
#: Of a run whose leader has ended: more than a kernel keeps for one socket.
_MOST_LAST_WORDS = 4096
_MOST_CHARACTERS = 300
#: A worker that asks for more time without end fills no table with it.
_EXTENDED_EVERY_S = 0.05


class Voice:
    """The ear for one run: `reader` is a socket or pipe; `writer` is the worker's end of a pipe."""

    __slots__ = ("extended_at_s", "folder", "has_said", "is_judged", "reader", "run", "writer")

    def __init__(self, reader: int, writer: int = -1, folder: str = "") -> None:
        """Take over both ends, or a socket and the folder that it stands in."""
        self.reader = reader
        self.writer = writer
        self.folder = folder
        self.run: Run | None = None
        self.has_said = False
        self.is_judged = False
        self.extended_at_s = 0.0

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return it as JSON; *keep* is called with each descriptor."""
        return {
            "reader": keep(self.reader),
            "writer": keep(self.writer),
            "folder": self.folder,
            "has_said": self.has_said,
            "is_judged": self.is_judged,
            "extended_at_s": self.extended_at_s,
        }

    @classmethod
    def unpacked(cls, said: dict[str, Any]) -> Voice:
        """Return what was packed; it is nobody's yet."""
        voice = cls(said["reader"], said.get("writer", -1), said.get("folder", ""))
        voice.has_said = said.get("has_said", False)
        voice.is_judged = said.get("is_judged", False)
        voice.extended_at_s = said.get("extended_at_s", 0.0)
        return voice


class Voices:
    """Every voice, by run."""

    def __init__(
        self,
        calls: Calls,
        table: Table,
        watch: Callable[[int, int, Callable[[int], None]], None],
        unwatch: Callable[[int], None],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        """Begin with none; *tell* takes what a supervisor need not know for certain."""
        self._calls = calls
        self._table = table
        self._watch = watch
        self._unwatch = unwatch
        self._tell = tell
        self._voices: dict[Run, Voice] = {}
        self._news: dict[Run, None] = {}

    def create(self, request: dict[str, Any]) -> Voice | None:
        """Return the voice that a spawn request wants; None: it wants none.

        Raises:
            StageError: It cannot be made.
        """
        try:
            if request.get("notify"):
                return self._bind(request["notify"], request["identity"])
            if request.get("ready_fd"):
                reader, writer = self._calls.pipe2(os.O_CLOEXEC)
                os.set_blocking(reader, False)
                return Voice(reader, writer)
        except OSError as error:
            reason = f"{cause(error)}: {request.get('notify') or 'pipe'}"
            raise StageError("notify", reason) from None
        return None

    def _bind(self, folder: str, identity: dict[str, Any] | None) -> Voice:
        own_folder.make(self._calls, folder)
        own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            # Before it has a name: nobody can put a link in its place. The folder keeps others out.
            os.fchmod(own.fileno(), 0o666)
            own_folder.bind(self._calls, own, folder, _NAME)
            if identity:
                self._calls.chown(folder, identity["uid"], identity["gid"], follow_symlinks=False)
            return Voice(own.detach(), folder=folder)
        except OSError:
            own.close()
            raise

    def begin(self, run: Run, voice: Voice) -> None:
        """The run is there: listen to it."""
        voice.run = run
        self._close_writer(voice)
        self._voices[run] = voice
        self._watch(voice.reader, select.EPOLLIN, lambda _mask: self._hear(voice))

    def pack(self, run: Run, keep: Callable[[int], int]) -> dict[str, Any] | None:
        """Return the voice of *run* as JSON; None: it has none."""
        voice = self._voices.get(run)
        return None if voice is None else voice.pack(keep)

    def discard(self, voice: Voice) -> None:
        """Nobody could be started for it."""
        self._close_writer(voice)
        self._close(voice)

    def listen(self, run: Run, *, to_the_end: bool = False) -> None:
        """Take what *run* has said until now; *to_the_end*: its leader has ended, so all of it."""
        voice = self._voices.get(run)
        if voice is not None:
            self._hear(voice, _MOST_LAST_WORDS if to_the_end else _MOST_WORDS)

    def end(self, run: Run) -> None:
        """Nothing of its tree is alive."""
        voice = self._voices.pop(run, None)
        self._news.pop(run, None)
        if voice is not None:
            self._unwatch(voice.reader)
            self._close(voice)

    def answer(self, run: Run) -> None:
        """Tell when *run* has given its last sign of life."""
        self.listen(run)
        self._tell({"beats": [[*run.key, run.beat_s]]})

    def tell(self) -> None:
        """Tell the latest words of whoever has spoken."""
        if self._news:
            news, self._news = self._news, {}
            for run in news:
                self._tell({"words": [*run.key, run.words]})

    # -- hearing -----------------------------------------------------------------------------------

    def _hear(self, voice: Voice, most: int = _MOST_WORDS) -> None:
        for _ in range(most):
            try:
                data = self._calls.read(voice.reader, _MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if voice.folder:
                self._take(voice, data)
            elif not data or b"\n" in data:
                self._fall_silent(voice, said=bool(data))
                return

    def _fall_silent(self, voice: Voice, *, said: bool) -> None:
        """A pipe says one word at most."""
        run = voice.run
        assert run is not None
        if said:
            self._ready(voice, run)
        self._voices.pop(run)
        self._unwatch(voice.reader)
        self._close(voice)

    def _take(self, voice: Voice, data: bytes) -> None:
        run = voice.run
        assert run is not None
        for line in data.decode("utf-8", "replace").split("\n"):
            name, _, value = line.partition("=")
            match name:
                case "READY" if value == "1":
                    self._ready(voice, run)
                    self._say(run, "state", "")
                case "WATCHDOG" if value == "1":
                    run.beat_s = time.monotonic()
                case "WATCHDOG" if value == "trigger" and not voice.is_judged:
                    voice.is_judged = True  # once is enough, however often it says so
                    reason = "it said so itself (WATCHDOG=trigger)"
                    self._table.fact("judged", time.monotonic(), run.key, reason=reason)
                case "X_SUPERVISORD_LITE_END":
                    run.last_words = value
                case "X_RUNS" if value.isascii() and value.isdigit():
                    self._count(run, int(value[:18]))
                case "STATUS":
                    self._say(run, "status", value[:_MOST_CHARACTERS])
                case "RELOADING" | "STOPPING" if value == "1":
                    self._say(run, "state", name.lower())
                case "EXTEND_TIMEOUT_USEC" if value.isascii() and value.isdigit():
                    self._extend(voice, run, int(value[:18]) / 1e6)
                case _:
                    continue

    def _ready(self, voice: Voice, run: Run) -> None:
        if not voice.has_said:
            voice.has_said = True
            self._table.fact("said", time.monotonic(), run.key)

    def _extend(self, voice: Voice, run: Run, by_s: float) -> None:
        now_s = time.monotonic()
        if now_s >= voice.extended_at_s + _EXTENDED_EVERY_S:
            voice.extended_at_s = now_s
            self._table.fact("extended", now_s, run.key, until_s=now_s + by_s)

    def _count(self, run: Run, count: int) -> None:
        """Tell a count when it has grown by a hundredth: nobody wakes for each of a million."""
        told = int(run.words.get("runs") or 0)
        if count > told + told // 100:
            self._say(run, "runs", str(count))

    def _say(self, run: Run, kind: str, text: str) -> None:
        if run.words.get(kind, "") != text:
            run.words[kind] = text
            self._news[run] = None

    def _close_writer(self, voice: Voice) -> None:
        if voice.writer >= 0:
            self._calls.close(voice.writer)
            voice.writer = -1

    def _close(self, voice: Voice) -> None:
        self._calls.close(voice.reader)
        if voice.folder:
            own_folder.remove(self._calls, voice.folder, [_NAME])
