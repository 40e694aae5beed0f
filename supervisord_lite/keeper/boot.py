"""What `run` prepares and the keeper takes over: descriptors and the first saves.

`run` may read files, look up users and fail with good words; then it replaces itself by the keeper,
in the same process, and hands over one memfd that says the rest.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource

from supervisord_lite.base.memory_files import memory_content, memory_file
from supervisord_lite.keeper import succession
from supervisord_lite.keeper.calls import REAL, Calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

#: Descriptors below this are kept free for handing descriptors on: 3, 4, 5 … in a child.
_RESERVED = 10


class Boot:
    """Everything the keeper starts with.

    Attributes:
        name: Of this daemon, the same each time it is started on its folders.
        saves: First saves: the settings and the specs.
        listener: The control socket, listening.
        http: The socket on which health and metrics are served, listening; -1: none.
        scribe_memory: memfd that survives scribes.
        environment: The daemon's own.
        nofile_soft: Soft limit of descriptors before it was raised.
        has_terminal: Whether we were started from a terminal.
        remove: Paths to remove at the end.
        events: Path of the event journal's file; empty: none is kept.
        inherited: Sockets that systemd has handed on, by name.
        places: What must go on standing under its name in the file system (places.py).
        locks: Of files, held by a keeper before this one that had no places.
        owner: Readable once the process that the daemon belongs to has ended; None: nobody's.
        state: All that the keeper before this one knew; None: there was none.
        traces: The file of that name (traces.py); -1: there is none.
        held: What could not be ended that an earlier keeper has left (held.py).
    """

    traces = -1
    held: Sequence[Any] = ()

    def __init__(self, calls: Calls, descriptor: int) -> None:
        """Read the memfd *descriptor* that `prepare` or a former keeper wrote, and settle in.

        That of `prepare` is closed; the other one is the caller's to close.

        Raises:
            SuccessionError: A former keeper has written what this one does not know.
        """
        said = json.loads(memory_content(descriptor, calls))
        self.calls = calls
        self.environment = dict(os.environ)
        self.journal_reader = -1
        self.state = succession.understood(said) if succession.is_state(said) else None
        if self.state is None:
            calls.close(descriptor)
            self._begin(said)
        else:
            self._go_on(self.state["boot"])

    def _begin(self, said: dict[str, Any]) -> None:
        self.saves: dict[str, str] = said["saves"]
        self._take_texts(said)
        self.has_terminal = os.isatty(0) or os.isatty(2)
        self.places: list[dict[str, Any]] = said["places"]
        for each in self.places:
            each["descriptor"] = _move_up(each["descriptor"])
        self.locks: list[int] = []
        self.listener = _move_up(said["listener"])
        self.http = -1 if said["http"] < 0 else _move_up(said["http"])
        self.inherited = {name: _move_up(fd) for name, fd in said["inherited"].items()}
        if said["traces"] >= 0:
            self.traces = _move_up(said["traces"])
        self.held = said["held"]
        _reserve()
        keep_from_workers()
        self.nofile_soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        # The scribe sizes it.
        self.scribe_memory = self.calls.memfd_create("scribe", os.MFD_CLOEXEC)
        owner_pid: int | None = said["owner_pid"]
        self.owner = None if owner_pid is None else _watch_parent(self.calls, owner_pid)

    def _go_on(self, said: dict[str, Any]) -> None:
        keep_from_workers()
        _reserve()
        self.saves = {}
        self._take_texts(said)
        self.has_terminal = said.get("has_terminal", False)
        self.places = said.get("places", [])
        self.locks = [] if self.places else said["locks"]
        self.listener = said["listener"]
        self.http = said.get("http", -1)
        self.inherited = said.get("inherited", {})
        self.nofile_soft = said["nofile_soft"]
        self.scribe_memory = said["scribe_memory"]
        self.owner = said.get("owner")

    def _take_texts(self, said: dict[str, Any]) -> None:
        self.name: str = said["name"]
        self.log_style: str = said["log_style"]
        self.log_level: str = said["log_level"]
        self.remove: list[str] = said["remove"]
        self.events: str = said["events"]

    def _held(self) -> list[int]:
        held = (each["descriptor"] for each in self.places if each["kind"] in ("folder", "lock"))
        return [number for number in held if number >= 0]

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return what a successor begins with; *keep* is called with each descriptor."""
        return {
            "name": self.name,
            "log_style": self.log_style,
            "log_level": self.log_level,
            "remove": self.remove,
            "events": self.events,
            "has_terminal": self.has_terminal,
            # An earlier version knows only that these are held by being open.
            "locks": [keep(number) for number in (*self.locks, *self._held())],
            "places": [{**each, "descriptor": keep(each["descriptor"])} for each in self.places],
            "listener": keep(self.listener),
            "http": keep(self.http),
            "inherited": {name: keep(number) for name, number in self.inherited.items()},
            "nofile_soft": self.nofile_soft,
            "scribe_memory": keep(self.scribe_memory),
            "owner": None if self.owner is None else keep(self.owner),
        }


def place(kind: str, path: str, descriptor: int) -> dict[str, Any]:
    """Return one of `Boot.places`; *kind* as places.py has it; -1: there is no descriptor yet."""
    return {"kind": kind, "path": path, "descriptor": descriptor}


def prepare(
    *,
    name: str,
    saves: dict[str, str],
    listener: int,
    places: list[dict[str, Any]],
    log_style: str,
    log_level: str,
    remove: list[str],
    inherited: dict[str, int],
    http: int = -1,
    events: str = "",
    owner_pid: int | None = None,
    traces: int = -1,
    held: Sequence[Any] = (),
) -> int:
    """Write what `Boot` reads; return the memfd, inheritable like the descriptors named in it."""
    said = {
        "name": name,
        "saves": saves,
        "listener": listener,
        "http": http,
        "places": places,
        "log_style": log_style,
        "log_level": log_level,
        "remove": remove,
        "events": events,
        "inherited": inherited,
        "owner_pid": owner_pid,
        "traces": traces,
        "held": held,
    }
    memory = memory_file(json.dumps(said).encode(), "boot")
    kept = [each["descriptor"] for each in places]
    for number in (memory, listener, http, traces, *kept, *inherited.values()):
        if number >= 0:
            os.set_inheritable(number, True)
    return memory


def keep_from_workers(calls: Calls = REAL) -> None:
    """Let no descriptor that whoever started us had open (a lock, say) reach a worker."""
    for name in calls.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                calls.set_inheritable(int(name), False)
            except OSError:
                continue  # the listing's own


def _reserve(calls: Calls = REAL) -> None:
    """Take all low numbers that are free: they are for handing on."""
    null = calls.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    while null < _RESERVED:
        null = calls.fcntl(null, fcntl.F_DUPFD_CLOEXEC, 0)


def _watch_parent(calls: Calls, pid: int) -> int:
    """Return a descriptor that is readable once our parent *pid* has ended, also if it has already.

    No parent-death signal: that one comes when the *thread* that started us ends.
    """
    descriptor: int
    try:
        descriptor = calls.pidfd_open(pid)
    except OSError:  # none has that pid any more, or none can have it
        descriptor = -1
    # Still our parent after its pidfd was opened: so the pidfd is that of our parent.
    if descriptor >= 0 and os.getppid() == pid:
        return descriptor
    ended, writer = calls.pipe2(os.O_CLOEXEC)
    calls.close(writer)
    return int(ended)


def _move_up(number: int) -> int:
    """Move a descriptor out of the reserved numbers, close-on-exec."""
    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _RESERVED)
    os.close(number)
    return moved
