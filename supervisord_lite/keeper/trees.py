"""Ending whole process trees, and knowing when nothing of them is left.

`Trees` is told which runs to clear (their leader has ended, or SIGKILL is wanted); `turn()` does
one round over all of them and returns those that are empty now. Rounds are cheap and shared: one
pass over /proc serves every run that has no cgroup.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from supervisord_lite.base import procfs
from supervisord_lite.keeper.calls import Calls, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisord_lite.keeper.cgroups import Cgroups
    from supervisord_lite.keeper.table import Run

_FIRST_ROUND_S = 0.002
_LAST_ROUND_S = 1.0
#: For so long runs that have a cgroup are cleared in one turn; there may be thousands.
_ROUND_S = 0.02
#: Names told of what was left behind.
_MOST_NAMED = 50
#: Errors that say nothing about the process asked for: it may well be there.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Process:
    """A line of /proc: what is needed to recognise a process.

    Attributes:
        zombie: Every thread of it has ended.
        is_executing: It has no environment to be read just now: in the middle of exec, or of exit.
    """

    __slots__ = ("is_executing", "name", "parent", "pid", "session", "started", "zombie")

    def __init__(self, pid: int, stat: str) -> None:
        """Take apart /proc/PID/stat."""
        left, _, right = stat.rpartition(")")
        fields = right.split()
        self.pid = pid
        self.name = left.partition("(")[2]
        # The main thread may have ended and others live on: then it says Z as well.
        self.zombie = fields[procfs.STATE] in "ZX" and int(fields[procfs.THREADS]) <= 1
        self.parent = int(fields[procfs.PARENT])
        self.session = int(fields[procfs.SESSION])
        self.started = int(fields[procfs.STARTED_TICKS])
        self.is_executing = fields[procfs.ENVIRONMENT_START] == "0"


def process(calls: Calls, pid: int) -> Process | None:
    """Return what /proc says of one process; None when it is gone.

    Raises:
        OSError: Nothing can be looked at now, for want of descriptors or memory.
    """
    try:
        return Process(pid, read_text(calls, f"/proc/{pid}/stat"))
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise
        return None
    except (IndexError, ValueError):
        return None


def send(calls: Calls, member: Process, number: int) -> None:
    """Signal one process through a pidfd, verified again while the pidfd is open."""
    try:
        descriptor = calls.pidfd_open(member.pid)
    except OSError:
        return
    try:
        again = process(calls, member.pid)
        if again is not None and again.started == member.started:
            calls.pidfd_send_signal(descriptor, number)
    except OSError:
        return  # gone, or another user's by now, or no descriptor left to verify it
    finally:
        calls.close(descriptor)


def wait_for_any(calls: Calls, pids: Iterable[int], limit_s: float) -> None:
    """Wait until one of *pids* has ended, for *limit_s* at most."""
    descriptors = []
    poll = select.poll()
    for pid in pids:
        try:
            descriptors.append(calls.pidfd_open(pid))
        except OSError:
            continue
        poll.register(descriptors[-1], select.POLLIN)
    poll.poll(limit_s * 1000)
    for descriptor in descriptors:
        calls.close(descriptor)


class _Claims:
    """What a process is recognised by as one of some runs' trees.

    Attributes:
        is_unsure: A process could not be judged: it was in the middle of exec.
    """

    def __init__(self, calls: Calls, runs: list[Run], known: set[int]) -> None:
        """Collect the marks of *runs*."""
        self._calls = calls
        self._by_marker = {run.marker: run for run in runs}
        # A session's number is not given to another process while the session has a member; when
        # it is the pid of another leader now, no member is left.
        self._by_session = {run.pid: run for run in runs if not (run.ended and run.pid in known)}
        self._recorded = {
            (pid, started): run for run in runs for pid, started in run.recorded.items()
        }
        self.is_unsure = False

    def owner(self, found: Process) -> Run | None:
        """Return the run that *found* belongs to by its own marks."""
        run = self._by_session.get(found.session) or self._recorded.get((found.pid, found.started))
        if run is None and not found.zombie:
            run = self._by_marker.get(self._marker(found.pid))
        return run

    def _marker(self, pid: int) -> str:
        for _ in range(2):
            try:
                environment = read_text(self._calls, f"/proc/{pid}/environ")
            except OSError as error:
                if error.errno in _SHORTAGES:
                    raise
                return ""
            for entry in environment.split("\0"):
                if entry.startswith("INVOCATION_ID="):
                    return entry[14:]
            if environment:
                return ""
            # Empty: cleared for good, or between two programs; then there is one to come.
            again = process(self._calls, pid)
            if again is None or again.is_executing:
                self.is_unsure = True
                return ""
        return ""


class Trees:
    """The runs that are being cleared."""

    def __init__(self, calls: Calls, cgroups: Cgroups | None, known: set[int]) -> None:
        """Begin with nothing to clear.

        Args:
            calls: The seam.
            cgroups: None where none may be made.
            known: The pids of leaders and of the daemon's own processes; the keeper keeps it
                current.
        """
        self._calls = calls
        self._cgroups = cgroups
        self._known = known
        self._clearing: dict[Run, int] = {}  # and how often it was killed already
        self._pause_s = _FIRST_ROUND_S
        self.next_round_s: float | None = None

    def clear(self, run: Run, now_s: float) -> None:
        """Kill what is left of the run, round after round, until nothing is."""
        if run not in self._clearing:
            self._clearing[run] = 0
            self._pause_s = _FIRST_ROUND_S
        self.next_round_s = now_s

    def kills(self, run: Run) -> int | None:
        """Return how often what is left of *run* was killed; None: it is not being cleared."""
        return self._clearing.get(run)

    def resume(self, run: Run, kills: int | None) -> None:
        """Go on with a run that the keeper before this one has begun to clear, or not."""
        if kills is not None:
            self._clearing[run] = kills
            self.next_round_s = 0.0

    def signal(self, run: Run, number: int) -> None:
        """Send a signal to every process of the run's tree; the leader included."""
        if run.cgroup is not None and self._cgroups is not None:
            if not self._cgroups.signal(run.cgroup, number):
                self.signal_leader(run, number)
            return
        try:
            members = self._members([run])[run]
        except OSError:
            members = []  # the leader at least
        for member in members:
            self._send(run, member, number)
        self.signal_leader(run, number)

    def signal_leader(self, run: Run, number: int) -> None:
        """Send a signal to the run's leader, while it is ours to signal."""
        if run.ended:
            return
        try:
            self._calls.kill(run.pid, number)
        except OSError:
            return  # it became another user; a cgroup still ends it

    def record(self, runs: list[Run]) -> None:
        """Remember the descendants of runs that are about to be stopped and have no cgroup."""
        without = [run for run in runs if run.cgroup is None and not run.ended]
        if not without:
            return
        try:
            found = self._members(without)
        except OSError:
            return  # marker and session are left to go by
        for run, members in found.items():
            run.recorded.update((member.pid, member.started) for member in members)

    def turn(self, now_s: float) -> list[Run]:
        """Do one round; return the runs whose tree is empty now."""
        if not self._clearing:
            self.next_round_s = None
            return []
        without = [run for run in self._clearing if run.cgroup is None]
        try:
            left = self._sweep(without) if without else set()
        except OSError:
            left = set(without)  # nothing could be looked at, so nothing is known to be gone
        empty = []
        until_s = time.monotonic() + _ROUND_S
        is_over = True
        for run in list(self._clearing):
            kills = self._clearing.pop(run)
            self._clearing[run] = kills  # behind the others, for a round that is not finished
            gone = run not in left if run.cgroup is None else self._clear_cgroup(run)
            if gone and run.ended:
                del self._clearing[run]
                empty.append(run)
            if run.cgroup is not None and time.monotonic() >= until_s:
                is_over = False
                break
        self.next_round_s = None
        if self._clearing and not is_over:
            self.next_round_s = now_s  # the others come at once
        elif self._clearing:
            self.next_round_s = now_s + self._pause_s
            self._pause_s = min(self._pause_s * 2, _LAST_ROUND_S)
        return empty

    # -- with a cgroup ----------------------------------------------------------------------------

    def _clear_cgroup(self, run: Run) -> bool:
        assert self._cgroups is not None
        assert run.cgroup is not None
        if run.ended and self._cgroups.remove(run.cgroup):
            return True
        if run.ended and not run.killed:
            self._name_left(run, self._cgroups.members(run.cgroup)[:_MOST_NAMED])
        self._cgroups.kill(run.cgroup)
        self.signal_leader(run, signal.SIGKILL)  # it may have left its cgroup
        if self._clearing[run]:
            # cgroup.kill passes over a process whose main thread has ended while others live.
            self._cgroups.signal(run.cgroup, signal.SIGKILL)
        self._clearing[run] += 1
        return run.ended and self._cgroups.remove(run.cgroup)

    def _name_left(self, run: Run, pids: list[int]) -> None:
        for pid in pids:
            try:
                found = process(self._calls, pid)
            except OSError:
                continue  # it is killed without a name
            if found is not None and not found.zombie:
                run.killed.append(f"{pid} {found.name}")

    # -- without one: marker, session, recorded descendants ---------------------------------------

    def _sweep(self, runs: list[Run]) -> set[Run]:
        """Kill what is found of *runs*; return those of which something may be alive.

        Raises:
            OSError: Nothing could be looked at.
        """
        if all(run.ended for run in runs) and not self._strangers():
            return set()
        seen = self._scan()
        claims = _Claims(self._calls, runs, self._known)
        left = set()
        for run, members in self._members(runs, seen, claims).items():
            for member in members:
                left.add(run)
                if run.recorded.get(member.pid) != member.started:
                    self._pause_s = _FIRST_ROUND_S  # it grows: keep up with it
                label = f"{member.pid} {member.name}"
                if run.ended and len(run.killed) < _MOST_NAMED and label not in run.killed:
                    run.killed.append(label)
                self._send(run, member, signal.SIGKILL)
            if not run.ended:
                left.add(run)
                self.signal_leader(run, signal.SIGKILL)
        if len(left) < len(runs) and (self._came_late(seen, claims) or claims.is_unsure):
            return set(runs)
        return left

    def _came_late(self, seen: dict[int, Process], claims: _Claims) -> bool:
        """Return whether a process may have come into being behind the back of the scan.

        One that was forked too late to be listed, by a parent that had ended when it was looked
        at, is our child by now, or hangs below one that is.
        """
        for pid in self._strangers():
            if pid not in seen:
                found = process(self._calls, pid)
                if found is None or found.zombie or claims.owner(found) is not None:
                    return True
        return False

    def _strangers(self) -> list[int]:
        """Return our children that are neither leaders nor the daemon's own.

        When a leader has ended, every survivor of its tree hangs below such a child.
        """
        me = os.getpid()
        try:
            listed = read_text(self._calls, f"/proc/{me}/task/{me}/children").split()
        except FileNotFoundError:  # a kernel without it
            children = [found.pid for found in self._scan().values() if found.parent == me]
        else:
            children = [int(pid) for pid in listed]
        return [pid for pid in children if pid not in self._known]

    def _scan(self) -> dict[int, Process]:
        found = {}
        for name in self._calls.listdir("/proc"):
            if name.isdigit() and (seen := process(self._calls, int(name))) is not None:
                found[seen.pid] = seen
        return found

    def _members(
        self,
        runs: list[Run],
        seen: dict[int, Process] | None = None,
        claims: _Claims | None = None,
    ) -> dict[Run, list[Process]]:
        """Return the live processes of each run's tree, without its leader.

        Raises:
            OSError: Nothing could be looked at.
        """
        seen = self._scan() if seen is None else seen
        claims = claims or _Claims(self._calls, runs, self._known)
        below: dict[int, list[Process]] = {}
        for found in seen.values():
            below.setdefault(found.parent, []).append(found)
        members: dict[Run, list[Process]] = {run: [] for run in runs}
        by_leader = {run.pid: run for run in runs if not run.ended}
        stack: list[tuple[Process, Run | None]] = []
        for child in below.get(os.getpid(), []):
            if child.pid in by_leader:
                stack += [(found, by_leader[child.pid]) for found in below.get(child.pid, [])]
            elif child.pid not in self._known:
                stack.append((child, None))
        while stack:
            at, owner = stack.pop()
            owner = claims.owner(at) or owner
            if owner is not None and not at.zombie:
                members[owner].append(at)
            stack.extend((child, owner) for child in below.get(at.pid, []))
        return members

    def _send(self, run: Run, member: Process, number: int) -> None:
        run.recorded[member.pid] = member.started
        send(self._calls, member, number)

    def everything(self, spared: set[int]) -> list[str]:
        """SIGKILL to every descendant of the keeper but *spared*: the daemon ends. Name them."""
        below: dict[int, list[Process]] = {}
        try:
            for found in self._scan().values():
                below.setdefault(found.parent, []).append(found)
        except OSError:
            return []
        stack = list(below.get(os.getpid(), []))
        names = []
        while stack:
            at = stack.pop()
            stack.extend(below.get(at.pid, []))
            if not at.zombie and at.pid not in spared:
                names.append(f"{at.pid} {at.name}")
                send(self._calls, at, signal.SIGKILL)
        return names
