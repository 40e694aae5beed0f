"""One cgroup for each run, where cgroups may be made.

They are made where a systemd unit delegates its cgroup to us (the delegate attribute), or where no
systemd runs and our own cgroup is writable; never in a session scope, which belongs to logind.

Layout below our own cgroup::

    daemon/                     keeper, supervisor, scribe (a cgroup with controllers for its
                                children may hold no process itself)
    workers/POOL.INDEX.RUN/     one run

Without systemd everything stands in `supervisord-lite.ID/` and the keeper stays where it was. ID is
made from the state folder, and whoever holds that folder's lock knows that an earlier keeper of it
is dead: what it left there is killed before anything is started.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from supervisord_lite.keeper.calls import Calls, read_text, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Longest wait for what a dead keeper left to be gone.
_TAKE_S = 10.0
_CONTROLLERS = ("cpu", "memory", "pids")


class Cgroups:
    """The cgroups of this daemon's runs.

    Attributes:
        workers: Path of the folder that holds a cgroup for each run.
        controllers: Which of cpu, memory and pids can be limited there.
        can_clone: The kernel lets processes be born in a cgroup; false once it has refused.
    """

    def __init__(
        self,
        calls: Calls,
        base: str,
        own: str,
        *,
        move: bool,
        before: dict[str, Any] | None = None,
    ) -> None:
        """Make the layout below *base*; *own* is where the keeper is now.

        *before* is what another one has packed: it all stands already, and runs live in it.

        Raises:
            OSError: It may not be made.
        """
        self._calls = calls
        self._base = base
        if before is not None:
            self._unpack(before)
            return
        self._made_base = not move
        if not move:
            self._take(base)
        self.workers = f"{base}/workers"
        home = own
        if move:
            home = f"{base}/daemon"
            _make(calls, home)
            write_text(calls, f"{home}/cgroup.procs", "0")
        _make(calls, self.workers)
        self._procs = calls.open(f"{home}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        self._inside = False
        self.can_clone = True
        self.controllers = self._enable()

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return the layout as JSON; *keep* is called with each descriptor."""
        return {
            "base": self._base,
            "made_base": self._made_base,
            "workers": self.workers,
            "procs": keep(self._procs),
            "can_clone": self.can_clone,
            "controllers": self.controllers,
        }

    def _unpack(self, said: dict[str, Any]) -> None:
        self._made_base = said["made_base"]
        self.workers = said["workers"]
        self._procs = said["procs"]
        self._inside = False
        self.can_clone = said.get("can_clone", True)
        self.controllers = tuple(said.get("controllers", ()))

    def _take(self, base: str) -> None:
        """Make *base*; when a dead keeper has left it, kill what is in it first."""
        self._inside = False
        end_s = time.monotonic() + _TAKE_S
        while not self.remove(base):
            self.kill(base)
            self.signal(base, signal.SIGKILL)  # whom cgroup.kill passes over, see `trees`
            if time.monotonic() > end_s:
                raise TimeoutError(errno.ETIMEDOUT, f"{base}: processes cannot be killed")
            time.sleep(0.005)
        self._calls.mkdir(base)

    def _enable(self) -> tuple[str, ...]:
        try:
            offered = read_text(self._calls, f"{self._base}/cgroup.controllers").split()
        except OSError:
            return ()
        enabled = []
        for name in _CONTROLLERS:
            if name not in offered:
                continue
            try:
                for folder in (self._base, self.workers):
                    write_text(self._calls, f"{folder}/cgroup.subtree_control", f"+{name}")
            except OSError:
                continue  # not delegated after all: said in `status` for each limit
            enabled.append(name)
        return tuple(enabled)

    def create(self, name: str) -> str:
        """Make the cgroup of one run; return its path.

        Raises:
            OSError: It cannot be made.
        """
        path = f"{self.workers}/{name}"
        try:
            self._calls.mkdir(path)
        except FileExistsError:
            self._calls.rmdir(path)  # of a keeper that was killed; refused if somebody lives there
            self._calls.mkdir(path)
        return path

    def limit(self, path: str, limits: dict[str, str]) -> None:
        """Set limits; those whose controller is not there are skipped (`status` says so).

        The keeper must not be inside: it would be counted, and could be killed for its memory.

        Raises:
            OSError: The kernel refused one.
        """
        for file, value in limits.items():
            if file.split(".")[0] in self.controllers:
                write_text(self._calls, f"{path}/{file}", value)

    def killed_for_memory(self, path: str) -> tuple[int, int | None, int | None] | None:
        """Return (how often the kernel has killed here for memory, the peak, the limit), or None.

        The kernel counts there whom it killed for a limit of this cgroup or of one above, and for
        the machine's memory too (cgroups(7), memory.events). Without the controller it counts
        nowhere that is ours alone, and a SIGKILL of the kernel looks like anybody's.
        """
        try:
            events = read_text(self._calls, f"{path}/memory.events").splitlines()
        except OSError:
            return None
        kills = next((int(line[9:]) for line in events if line.startswith("oom_kill ")), 0)
        if not kills:
            return None
        # What has been killed is not charged any more; the peak is known since Linux 5.19.
        return kills, self._bytes(f"{path}/memory.peak"), self._bytes(f"{path}/memory.max")

    def _bytes(self, path: str) -> int | None:
        try:
            text = read_text(self._calls, path).strip()
        except OSError:
            return None
        return int(text) if text.isdigit() else None  # "max": there is no limit

    def open(self, path: str) -> int:
        """Return a descriptor of the cgroup's folder, to be born into.

        Raises:
            OSError: No descriptor, or it has gone.
        """
        return self._calls.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def enter(self, path: str) -> None:
        """Step into a run's cgroup: what is spawned now is born there.

        Raises:
            OSError: The kernel refused.
        """
        descriptor = self._calls.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._inside = True
            self._calls.write(descriptor, b"0")
        finally:
            self._calls.close(descriptor)

    def admit(self, path: str, pid: int) -> None:
        """Put a process that has no children yet into a run's cgroup, if it was not born there.

        Raises:
            OSError: The kernel refused; ESRCH: it has ended.
        """
        procs = f"{path}/cgroup.procs"
        if str(pid) not in read_text(self._calls, procs).split():
            write_text(self._calls, procs, str(pid))

    def leave(self) -> bool:
        """Step back home; return whether we are there.

        Must be true before anything is killed or any other child is made; try again when it is not.
        """
        if self._inside:
            try:
                self._calls.write(self._procs, b"0")
            except OSError:
                return False
            self._inside = False
        return True

    def kill(self, path: str) -> None:
        """SIGKILL to every process in the cgroup and below it, as far as possible now."""
        if not self.leave():
            return  # it might be our own death
        try:
            write_text(self._calls, f"{path}/cgroup.kill", "1")
        except OSError:
            # Before Linux 5.14 there is no cgroup.kill: one by one, repeated by the caller.
            self.signal(path, signal.SIGKILL)

    def signal(self, path: str, number: int) -> bool:
        """Send a signal to every process in the cgroup and below it; return whether to any.

        Each is addressed by a pidfd that was checked, while open, to be in this cgroup.
        """
        sent = False
        for pid in self.members(path):
            try:
                descriptor = self._calls.pidfd_open(pid)
            except OSError:
                continue
            try:
                if pid in self.members(path):
                    self._calls.pidfd_send_signal(descriptor, number)
                    sent = True
            except OSError:
                continue  # gone, or it became another user
            finally:
                self._calls.close(descriptor)
        return sent

    def members(self, path: str) -> list[int]:
        """Return the pids in the cgroup and below it; empty when it is gone."""
        pids: list[int] = []
        for folder in self._folders(path):
            try:
                pids += map(int, read_text(self._calls, f"{folder}/cgroup.procs").split())
            except OSError:
                continue
        return pids

    def remove(self, path: str) -> bool:
        """Remove the cgroup when nothing lives in it; return whether it is gone."""
        if not self.leave():
            return False
        try:
            self._calls.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            return self._remove_below(path)
        return True

    def _remove_below(self, path: str) -> bool:
        # Busy: processes, or cgroups that the worker made below its own.
        try:
            if "populated 0" not in read_text(self._calls, f"{path}/cgroup.events"):
                return False
            for folder in reversed(self._folders(path)):
                self._calls.rmdir(folder)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _folders(self, path: str) -> list[str]:
        """Return the cgroup and all below it, parents first."""
        folders = [path]
        for folder in folders:
            try:
                names = self._calls.listdir(folder)
            except OSError:
                continue
            folders += [f"{folder}/{n}" for n in names if os.path.isdir(f"{folder}/{n}")]
        return folders

    def close(self) -> None:
        """Remove what was made, as far as it is empty; the daemon ends."""
        self.leave()
        self._calls.close(self._procs)
        for folder in [self.workers] + ([self._base] if self._made_base else []):
            try:
                for below in reversed(self._folders(folder)):
                    self._calls.rmdir(below)
            except OSError:
                continue  # somebody lives there still; systemd removes the unit's cgroup


def _make(calls: Calls, path: str) -> None:
    try:
        calls.mkdir(path)
    except FileExistsError:
        return


def place(calls: Calls, name: str) -> tuple[str, str] | None:
    """Return the path below which our cgroups are, and that of our own; None: nowhere.

    They are the same under systemd. Arguments as below.
    """
    own = _own_cgroup(calls)
    if own is None:
        return None
    if not os.path.isdir("/run/systemd/system"):
        return f"{own}/{folder_name(name)}", own
    return (own, own) if _is_delegated(calls, own) else None


def folder_name(name: str) -> str:
    """Return what our folder is called where no systemd runs."""
    return f"supervisord-lite.{name}"


def discover(calls: Calls, name: str) -> Cgroups | None:
    """Return the place for our cgroups, or None where none may be made.

    Args:
        calls: The seam.
        name: The daemon's own, the same each time it is started.
    """
    found = place(calls, name)
    if found is None:
        return None
    base, own = found
    try:
        return Cgroups(calls, base, own, move=base == own)
    except OSError:
        if base != own:
            _remove_made(calls, base)
        return None


def unpacked(calls: Calls, said: dict[str, Any] | None) -> Cgroups | None:
    """Return what a keeper before this one has packed; None: it had none."""
    if said is None:
        return None
    return Cgroups(calls, said["base"], "", move=False, before=said)


def _remove_made(calls: Calls, base: str) -> None:
    for folder in (f"{base}/workers", base):
        try:
            calls.rmdir(folder)
        except OSError:
            continue  # never made


def _own_cgroup(calls: Calls) -> str | None:
    try:
        lines = read_text(calls, "/proc/self/cgroup").splitlines()
        mounts = read_text(calls, "/proc/self/mountinfo").splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None or f"{path}/".startswith("/../"):
        return None
    for line in mounts:
        # proc(5): id parent dev root mount-point options [optional …] - type source options
        left, _, right = line.partition(" - ")
        if right.split(" ")[0] != "cgroup2":
            continue
        root, point = map(_unescaped, left.split(" ")[3:5])
        root = root.rstrip("/")
        if f"{path}/".startswith(f"{root}/"):
            return (point + path[len(root) :]).rstrip("/")
    return None


def _unescaped(field: str) -> str:
    r"""Return a field of mountinfo, in which \040 is a space, \011 a tab, \134 a backslash."""
    first, *rest = field.split("\\")
    return first + "".join(chr(int(piece[:3], 8)) + piece[3:] for piece in rest)


def _is_delegated(calls: Calls, own: str) -> bool:
    if own.rsplit("/", 1)[-1].startswith("session-"):
        return False
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if calls.getxattr(own, name) == b"1":
                return True
        except OSError:
            continue
    return False
