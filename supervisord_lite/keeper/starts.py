"""What a run has before it has a process: pipes, a voice, sockets, a cgroup."""

from __future__ import annotations

import fcntl
import json

from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.keeper import own_folder, secret_stage
from supervisord_lite.keeper.spawn import StageError, cause
from supervisord_lite.keeper.start import Start
from supervisord_lite.keeper.table import key_of
from supervisord_lite.keeper.voices import Voice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.cgroups import Cgroups
    from supervisord_lite.keeper.feeds import Feeds
    from supervisord_lite.keeper.listeners import Listeners
    from supervisord_lite.keeper.privates import Privates
    from supervisord_lite.keeper.streams import Streams
    from supervisord_lite.keeper.traces import Traces
    from supervisord_lite.keeper.voices import Voices

#: Descriptors below this are for what is handed on.
_RESERVED = 10
_WIDE_BYTES = 1 << 20


class Starts:
    """Makes what a process is started with."""

    def __init__(
        self,
        calls: Calls,
        streams: Streams,
        voices: Voices,
        feeds: Feeds,
        listeners: Listeners,
        privates: Privates,
        cgroups: Cgroups | None,
        null: int,
        hand_on: Callable[[dict[str, Any]], int],
        traces: Traces,
    ) -> None:
        """Take what it comes from.

        *null* is /dev/null; *hand_on* returns the descriptor from which a fork takes its secrets.
        """
        self._calls = calls
        self._streams = streams
        self._voices = voices
        self._feeds = feeds
        self._listeners = listeners
        self._privates = privates
        self._cgroups = cgroups
        self._null = null
        self._hand_on = hand_on
        self._traces = traces

    def fill(self, start: Start, cgroup: str) -> None:
        """Make everything that the request of *start* wants; *cgroup* is a name for its cgroup.

        Raises:
            StageError: Something cannot be had; `discard` what there is.
        """
        request = start.request
        outputs = self._outputs(start)
        private = self._privates.open(request, start.writers)
        start.voice = self._voices.create(request)
        self._make_secret_folder(request)
        start.cgroup = self._make_cgroup(cgroup)
        start.files = {**self._listeners.open(request.get("sockets", ())), **private}
        if start.voice is not None and start.voice.writer >= 0:
            start.files[request["ready_fd"]] = start.voice.writer
        start.files.update({1: outputs[0], 2: outputs[1]})
        if request.get("listens"):
            start.files[0] = self._feed(start)
        if request.get("python") is not None and "server" not in request:
            start.files[request["record_fd"]] = record = self._record(request["python"])
            start.writers.append(record)
        if request.get("secrets") and "server" in request:
            number = max(2, *start.files) + 1
            start.files[number] = descriptor = self._hand_on(request)
            start.writers.append(descriptor)
            start.request = {**request, "python": {**request["python"], "secrets": number}}
        self._traces.asked(start)

    def pack(self, start: Start, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return one start as JSON, once its process has its files; *keep*: each descriptor."""
        return {
            "key": start.key,
            "request": start.request,
            "streams": self._streams.names(start.streams),
            "voice": None if start.voice is None else start.voice.pack(keep),
            "cgroup": start.cgroup,
        }

    def unpacked(self, said: dict[str, Any]) -> Start:
        """Return what was packed."""
        start = Start(key_of(said["key"]), said["request"])
        start.streams = self._streams.named(said.get("streams", []))
        if said.get("voice") is not None:
            start.voice = Voice.unpacked(said["voice"])
        start.cgroup = said.get("cgroup")
        return start

    def discard(self, start: Start) -> None:
        """There is no process for it."""
        self._traces.gone(start.request["marker"])
        for stream in start.streams:
            self._streams.discard(stream)
        if start.cgroup is not None and self._cgroups is not None:
            self._cgroups.remove(start.cgroup)
        if start.voice is not None:
            self._voices.discard(start.voice)
        self._feeds.end(start.key)
        self._privates.discard(start.request)
        if secret_stage.file_names(start.request):
            own_folder.remove(self._calls, start.request["folder"], ())

    def retire(self, start: Start) -> None:
        """Its process has gone, and had a voice of its own, if any."""
        for stream in start.streams:
            self._streams.retire(stream)

    def widen(self, start: Start) -> None:
        """Let its pipes hold what is written before anybody reads."""
        for stream in start.streams:
            try:
                self._calls.fcntl(stream.descriptor, fcntl.F_SETPIPE_SZ, _WIDE_BYTES)
            except OSError:
                continue  # the user's pipes hold too much already: 64 KiB it is

    def duplicates(self, start: Start, into: list[int]) -> list[int]:
        """Append copies of all descriptors to *into*; return where the process finds each.

        Raises:
            OSError: No descriptor to be had.
        """
        files = {0: -1, **start.files}
        for descriptor in files.values():
            own = self._null if descriptor < 0 else descriptor
            into.append(self._calls.fcntl(own, fcntl.F_DUPFD_CLOEXEC, _RESERVED))
        return list(files)

    def birthplace(self, start: Start, into: list[int]) -> bool:
        """Append a descriptor of its cgroup to *into*; return False where it has none.

        Raises:
            OSError: No descriptor, or the cgroup has gone.
        """
        if start.cgroup is None or self._cgroups is None:
            return False
        into.append(self._cgroups.open(start.cgroup))
        return True

    def close_writers(self, start: Start) -> None:
        """The process has them, or there is none."""
        for descriptor in start.writers:
            self._calls.close(descriptor)
        start.writers = []

    def _outputs(self, start: Start) -> tuple[int, int]:
        """Return descriptors for stdout and stderr."""
        request = start.request
        outputs: list[int] = []
        for number, target in enumerate((request["stdout"], request["stderr"]), start=1):
            kind = target["to"]
            if kind == "stdout":
                outputs.append(outputs[0])
            elif kind == "inherit":
                outputs.append(number)
            elif kind == "null":
                outputs.append(-1)
            else:
                # The number alone begins anew with each daemon. A forkserver's is 0: it is no run.
                run = f"{start.key[2] if start.key[0] else 0}.{request['marker'][:8]}"
                entry = {"name": request["name"], "run": run, "invocation": request["marker"]}
                entry.update(target["stream"])
                try:
                    stream, writer = self._streams.create(entry)
                except OSError as error:
                    raise StageError(stage="log", reason=cause(error)) from None
                start.streams.append(stream)
                start.writers.append(writer)
                outputs.append(writer)
        return outputs[0], outputs[1]

    def _feed(self, start: Start) -> int:
        try:
            return self._feeds.open(start.key, start.request["name"])
        except OSError as error:
            raise StageError(stage="events", reason=cause(error)) from None

    def _record(self, record: dict[str, Any]) -> int:
        """Return a memory file with what a Python worker is told; nobody else can read it."""
        try:
            return memory_file(json.dumps(record).encode("ascii"), "record", self._calls)
        except OSError as error:
            raise StageError(stage="target", reason=cause(error)) from None

    def _make_secret_folder(self, request: dict[str, Any]) -> None:
        if not secret_stage.file_names(request):
            return
        try:
            own_folder.make(self._calls, request["folder"])
            if owner := request["identity"]:
                self._calls.chown(
                    request["folder"], owner["uid"], owner["gid"], follow_symlinks=False
                )
        except OSError as error:
            reason = f"{cause(error)}: {request['folder']}"
            raise StageError("secret", reason) from None

    def _make_cgroup(self, name: str) -> str | None:
        if self._cgroups is None:
            return None
        try:
            return self._cgroups.create(name)
        except OSError as error:
            reason = f"{cause(error)}: {self._cgroups.workers}"
            raise StageError(stage="cgroup", reason=reason) from None
