"""Which processes a keeper that was killed has left, and what proves that they are ours.

See left_behind.py. What the traces say (keeper/traces.py) is where to look; a process is ours when
it shows that by itself:

========  =========================================================================================
cgroup    it is in the cgroup of a run, which is a real one and has our name
marker    its environment has the marker of a tree that has no cgroup
pipe      its output is a pipe that was made for that run, and pid and time of birth are those of
          the leader, or its session is the leader's, or nobody knows the leader's pid: programs
          that write a title for `ps` write over their environment
itself    of the daemon's own processes: pid, time of birth, and the command line of that role
below     its parent is ours by one of these
========  =========================================================================================

A leader whose pid and time of birth are right and that shows nothing of all that is *unproved*:
nobody signals it, and its slot must not start.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from supervisord_lite.base.record import record, replace
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.trees import Process, process

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MARKER = re.compile(r"[0-9a-f]{32}")
#: POOL.INDEX.RUN, or that of a probe; forkserver-N.
_FOLDER = re.compile(r"(?:(?P<pool>[^.]+)\.(?P<index>\d+)\.(?P<run>\d+)(?P<probe>\.probe\d+)?)")
_OWN = ("supervisor", "scribe")
_KINDS = ("run", "server", "probe", *_OWN)


@record
class Trace:
    """One tree, as the keeper has written it down, or as its cgroup says.

    Attributes:
        what: "run", "server", "probe", "supervisor" or "scribe".
        slot: Pool and index; None: of no slot.
        run: Number of the run; 0: none.
        pid: Of the leader; 0: not known.
        from_ns, to_ns: It was born in between; `to_ns` is 0 while the pid is not known.
        marker: In the environment of its processes.
        pipes: Numbers of pipes to the log.
        cgroup: Path; None: it has none.
        called: What people call its slot; empty: not known.
    """

    what: str
    slot: tuple[str, int] | None
    run: int
    pid: int
    from_ns: int
    to_ns: int
    marker: str
    pipes: tuple[int, ...]
    cgroup: str | None
    called: str = ""

    @property
    def name(self) -> str:
        """Return what to call it, for people."""
        if self.slot is None:
            return f"the {'forkserver' if self.what == 'server' else self.what}"
        # How many there are of its pool is not known.
        whole = self.called or f"instance {self.slot[1]} of {self.slot[0]}"
        return f"a probe of {whole}" if self.what == "probe" else whole


@record
class Left:
    """One process that is left.

    Attributes:
        found: As /proc has it.
        trace: Of its tree.
        is_leader: Of that tree.
        is_ours: That is proved.
    """

    found: Process
    trace: Trace
    is_leader: bool
    is_ours: bool


def trace_of(said: dict[str, Any]) -> Trace | None:
    """Return what a line says; None: it makes no sense."""
    what, key = said.get("what"), said.get("key", [])
    numbers = [said.get(name, 0) for name in ("pid", "from", "to")]
    marker, pipes, cgroup = said.get("marker", ""), said.get("pipes", []), said.get("cgroup")
    called = said.get("name", "")
    is_sound = (
        what in _KINDS
        and isinstance(key, list)
        and all(type(each) is int and 0 <= each < 1 << 63 for each in numbers)
        and isinstance(marker, str)
        and (what in _OWN or _MARKER.fullmatch(marker) is not None)
        and isinstance(pipes, list)
        and all(type(each) is int for each in pipes)
        and (cgroup is None or isinstance(cgroup, str))
        and isinstance(called, str)
    )
    if not is_sound:
        return None
    slot, run = None, 0
    is_key = len(key) == 3 and isinstance(key[0], str) and key[0]
    if is_key and type(key[1]) is int and type(key[2]) is int:
        slot, run = (key[0], key[1]), key[2]
    assert isinstance(what, str)
    assert isinstance(marker, str)
    pid, from_ns, to_ns = numbers
    return Trace(what, slot, run, pid, from_ns, to_ns, marker, tuple(pipes), cgroup, called)


class Search:
    """Looks for what is left, as often as is wanted."""

    def __init__(self, traces: Iterable[Trace], folders: Iterable[str]) -> None:
        """Begin.

        Args:
            traces: What the keeper has written down; their cgroups are only believed where they
                are of *folders*.
            folders: Where the cgroups of runs are.
        """
        self._calls = Calls()
        self._cgroups = {path: _trace_of_cgroup(path) for path in _cgroups_in(folders)}
        self._traces: list[Trace] = []
        for trace in traces:
            if trace.cgroup in self._cgroups:
                assert trace.cgroup is not None
                self._cgroups[trace.cgroup] = trace
            elif trace.cgroup is None or not os.path.isdir(trace.cgroup):  # noqa: PTH112
                self._traces.append(trace)
            else:  # it may be anybody's: what is in there must show that it is ours
                self._traces.append(replace(trace, cgroup=None))
        self._by_pid = {trace.pid: trace for trace in self.traces if trace.pid}
        # A run with a cgroup has nothing outside of it, whatever inherits its marker.
        self._by_marker = {
            each.marker: each for each in self._traces if each.cgroup is None and each.marker
        }
        # Killed before it could write down the pid.
        self._unborn = [each for each in self._traces if not each.pid and each.pipes]

    @property
    def traces(self) -> list[Trace]:
        """Return all that is looked for."""
        return [*self._traces, *self._cgroups.values()]

    @property
    def cgroups(self) -> list[str]:
        """Return the cgroups that there were."""
        return list(self._cgroups)

    def look(self) -> dict[int, Left]:
        """Return what is alive, by pid.

        Raises:
            OSError: Nothing can be looked at now.
        """
        if not self.traces:
            return {}
        seen = {}
        for name in os.listdir("/proc"):  # noqa: PTH208
            if name.isdigit() and (found := process(self._calls, int(name))) is not None:
                seen[found.pid] = found
        left: dict[int, Left] = {}
        for path, trace in self._cgroups.items():
            for pid in members(path):
                if pid in seen:
                    left[pid] = Left(seen[pid], trace, pid == trace.pid, True)
        for found in seen.values():
            if found.pid not in left and (own := self._judged(found, seen)) is not None:
                left[found.pid] = own
        self._add_below(seen, left)
        return {pid: each for pid, each in left.items() if not each.found.zombie}

    def _judged(self, found: Process, seen: dict[int, Process]) -> Left | None:
        """Return what a process is by its own marks; None: none of ours."""
        trace = self._by_pid.get(found.pid)
        if trace is not None and _is_born_in(found, trace):
            return Left(found, trace, True, self._is_proved(found, trace))
        if found.zombie:
            return None
        own = self._by_marker.get(marker_of(found.pid)) if self._by_marker else None
        if own is not None and found.started >= _ticks(own.from_ns):
            return Left(found, own, not own.pid, True)
        for trace in self._unborn:
            if found.started >= _ticks(trace.from_ns) and _has_pipe(found.pid, trace):
                return Left(found, trace, True, True)
        leader = self._by_pid.get(found.session)
        head = seen.get(found.session)
        is_headless = head is None or head.zombie
        if leader is None or not is_headless or found.started < _ticks(leader.from_ns):
            return None  # the session of a leader that lives is found from there
        return Left(found, leader, False, True) if _has_pipe(found.pid, leader) else None

    def _is_proved(self, found: Process, trace: Trace) -> bool:
        if trace.what in _OWN:
            return has_role(found.pid, trace.what)
        is_marked = bool(trace.marker) and marker_of(found.pid) == trace.marker
        return is_marked or _has_pipe(found.pid, trace)

    def _add_below(self, seen: dict[int, Process], left: dict[int, Left]) -> None:
        """Add the descendants of what is ours, and the sessions of leaders that are."""
        below: dict[int, list[Process]] = {}
        for found in seen.values():
            below.setdefault(found.parent, []).append(found)
            leader = left.get(found.session)
            if leader is not None and leader.is_leader and leader.is_ours:
                left.setdefault(found.pid, Left(found, leader.trace, False, True))
        stack = [each for each in left.values() if each.is_ours and each.trace.cgroup is None]
        while stack:
            at = stack.pop()
            for child in below.get(at.found.pid, ()):
                if child.pid not in left:
                    left[child.pid] = Left(child, at.trace, False, True)
                    stack.append(left[child.pid])


def _cgroups_in(folders: Iterable[str]) -> list[str]:
    """Return the cgroups right below *folders*: those are real, whatever stands in a file."""
    found = []
    for folder in folders:
        try:
            found += [entry.path for entry in os.scandir(folder) if entry.is_dir()]
        except OSError:
            continue
    return sorted(found)


def _trace_of_cgroup(path: str) -> Trace:
    """Return what the name of a cgroup says of its run."""
    match = _FOLDER.fullmatch(Path(path).name)
    if match is None:
        return Trace("server", None, 0, 0, 0, 0, "", (), path)
    slot = (match["pool"], int(match["index"]))
    what = "probe" if match["probe"] else "run"
    return Trace(what, slot, int(match["run"]), 0, 0, 0, "", (), path)


def members(cgroup: str) -> list[int]:
    """Return the pids in a cgroup and below it."""
    pids: list[int] = []
    for folder, _, _ in os.walk(cgroup):
        try:
            pids += map(int, Path(folder, "cgroup.procs").read_text().split())
        except (OSError, ValueError):
            continue
    return pids


def _ticks(ns: int) -> int:
    return ns * _TICKS_PER_S // 1_000_000_000


def _is_born_in(found: Process, trace: Trace) -> bool:
    return _ticks(trace.from_ns) <= found.started <= _ticks(trace.to_ns)


def marker_of(pid: int) -> str:
    """Return the marker that a process shows, empty: none, or it may not be read."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    for entry in environment.split(b"\0"):
        if entry.startswith(b"INVOCATION_ID="):
            return entry[14:].decode("ascii", "replace")
    return ""


def _has_pipe(pid: int, trace: Trace) -> bool:
    """Return whether the output of a process is a pipe that was made for that run."""
    wanted = {f"pipe:[{number}]" for number in trace.pipes}
    for number in (1, 2):
        try:
            if os.readlink(f"/proc/{pid}/fd/{number}") in wanted:  # noqa: PTH115
                return True
        except OSError:
            continue
    return False


def has_role(pid: int, role: str) -> bool:
    """Return whether this is one of our own processes; others of our user can read no more."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    places = [at for at, word in enumerate(words[:6]) if word.endswith(b"/base/resident.py")]
    return bool(places) and words[places[0] + 1 : places[0] + 2] == [role.encode()]
