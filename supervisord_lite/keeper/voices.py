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

A socket whose name is deleted, moved or replaced gives way to another one of that name (`restore`,
called by places.py). Who was connected to the first one, as Python workers are, is still heard.
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
    from typing import Any, Protocol

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.table import Run, Table
else:
    Protocol = object

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

    __slots__ = (
        "extended_at_s", "first", "folder", "has_said", "inode", "is_judged", "owner", "reader",
        "run", "watch", "writer",
    )  # fmt: skip

    def __init__(self, reader: int, writer: int = -1, folder: str = "") -> None:
        """Take over both ends, or a socket and the folder that it stands in."""
        self.reader = reader
        self.writer = writer
        self.folder = folder
        # Of the name of the socket; None: a keeper before this one has not told.
        self.inode: tuple[int, int] | None = None
        self.owner: tuple[int, int] | None = None
        self.first = -1  # the socket that had the name in the beginning, if it is not `reader`
        self.watch = -1
        self.run: Run | None = None
        self.has_said = False
        self.is_judged = False
        self.extended_at_s = 0.0

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return it as JSON; *keep* is called with each descriptor."""
        named = {"inode": self.inode, "owner": self.owner, "first": keep(self.first)}
        return {
            **(named if self.inode is not None else {}),
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
        if "inode" in said:
            voice.inode = said["inode"][0], said["inode"][1]
            voice.first = said.get("first", -1)
            uid, gid = said.get("owner") or (-1, -1)
            voice.owner = (uid, gid) if uid >= 0 else None
        voice.has_said = said.get("has_said", False)
        voice.is_judged = said.get("is_judged", False)
        voice.extended_at_s = said.get("extended_at_s", 0.0)
        return voice

    @property
    def readers(self) -> tuple[int, ...]:
        """Return all that is to be listened to."""
        return (self.reader,) if self.first < 0 else (self.first, self.reader)


class Names(Protocol):
    """Who hears of what befalls a name (places.py)."""

    def watch(self, path: str) -> int:
        """Return the number of a watch, -1 where there is none."""

    def forget(self, number: int) -> None:
        """End that watch."""


class Voices:
    """Every voice, by run.

    Attributes:
        names: Hears of what befalls the names of sockets, once there is somebody.
    """

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
        self.names: Names | None = None

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
        voice = Voice(-1, folder=folder)
        if identity:
            voice.owner = identity["uid"], identity["gid"]
        self._name(voice)
        return voice

    def _name(self, voice: Voice) -> None:
        """Give *voice* another socket, with the name in its folder.

        Raises:
            OSError: It cannot be had; nothing is another then.
        """
        folder = voice.folder
        own_folder.make(self._calls, folder)
        own = self._calls.new_socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            # Before it has a name: nobody can put a link in its place. The folder keeps others out.
            self._calls.fchmod(own.fileno(), 0o666)
            inode = own_folder.bind(self._calls, own, folder, _NAME)
            try:
                if voice.owner is not None:
                    self._calls.chown(folder, *voice.owner, follow_symlinks=False)
            except BaseException:
                own_folder.remove(self._calls, folder, [_NAME])
                raise
        except BaseException:
            own.close()
            raise
        voice.inode, voice.reader = inode, own.detach()

    def begin(self, run: Run, voice: Voice) -> None:
        """The run is there: listen to it."""
        voice.run = run
        self._close_writer(voice)
        self._voices[run] = voice
        self._listen_to(voice)
        self._watch_name(voice)

    def _listen_to(self, voice: Voice) -> None:
        for reader in voice.readers:
            self._watch(reader, select.EPOLLIN, lambda _mask: self._hear(voice))

    def _watch_name(self, voice: Voice) -> None:
        if self.names is not None and voice.folder:
            if voice.watch >= 0:
                self.names.forget(voice.watch)
            voice.watch = self.names.watch(f"{voice.folder}/{_NAME}")

    def watch_names(self, names: Names) -> None:
        """From now on *names* hears of what befalls them."""
        self.names = names
        for voice in self._voices.values():
            self._watch_name(voice)

    def restore(self, most: int) -> tuple[int, dict[str, str]]:
        """Let sockets have their names that have lost them.

        Returns:
            How many of the first *most* have them again, and why others cannot, by path.
        """
        lost = [voice for voice in self._voices.values() if voice.folder and not _stands(voice)]
        troubles = {}
        for voice in lost[:most]:
            before = voice.reader
            try:
                self._name(voice)
            except OSError as error:
                troubles[f"{voice.folder}/{_NAME}"] = str(error.strerror)
                continue
            if voice.first < 0:
                voice.first = before
            else:
                self._unwatch(before)
                self._calls.close(before)
            self._listen_to(voice)
            self._watch_name(voice)
        return len(lost[:most]) - len(troubles), troubles

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
            for reader in voice.readers:
                self._unwatch(reader)
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
        for reader in voice.readers:
            self._hear_from(reader, voice, most)

    def _hear_from(self, reader: int, voice: Voice, most: int) -> None:
        for _ in range(most):
            try:
                data = self._calls.read(reader, _MOST_BYTES)
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
        if voice.watch >= 0 and self.names is not None:
            self.names.forget(voice.watch)  # before it is told of what we do ourselves
        for reader in voice.readers:
            self._calls.close(reader)
        if voice.folder:
            own_folder.remove(self._calls, voice.folder, [_NAME])


def _stands(voice: Voice) -> bool:
    """Return whether the name is that of the socket."""
    try:
        found = os.stat(f"{voice.folder}/{_NAME}", follow_symlinks=False)
    except OSError:
        return False
    if voice.inode is None:
        voice.inode = found.st_dev, found.st_ino
    return voice.inode == (found.st_dev, found.st_ino)
