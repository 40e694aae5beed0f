"""What a test session leaves behind: found exactly, so that sessions side by side do not mix.

Everything that a session starts inherits its marker variable, and, where a cgroup may be made,
lives in the session's own cgroup, which a process cannot leave by clearing its environment. Mounts
and loop devices are ours when they belong to our folders; listening ports are ours when a process
of ours holds them.
"""

import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.support import cgroups
from tests.support.wait import wait_until

#: Its value is the path of the session's folder, which is unique.
MARKER = "SDL_TEST_SESSION"
CGROUP_PREFIX = "sdl-tests-"  # a pid follows
FOLDER_PREFIX = "sdl-"  # a pid follows
GRACE_S = 2.0  #: what is just ending may end


def short_folder() -> Path:
    """Return a new folder with a path so short that a socket's path below it fits (107 bytes)."""
    return Path(tempfile.mkdtemp(prefix="", dir=os.environ.get(MARKER, "/tmp")))


def describe(pid: int) -> str:
    """Return pid and command line, for people."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return f"{pid} (gone)"
    line = " ".join(w.decode(errors="replace") for w in words)
    return f"{pid} {line[:160] or f'[{name}]'}"


def is_alive(pid: int) -> bool:
    """Return whether *pid* is a process that has not ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def marked(name: str, value: str) -> set[int]:
    """Return the living processes, we excepted, that have *name*=*value* in their environment.

    Processes of other users, and undumpable ones without root, cannot be read and are not found.
    """
    wanted = f"{name}={value}".encode()
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and is_alive(int(entry)):
            found.add(int(entry))
    return found


def kill(pids: set[int]) -> None:
    """SIGKILL what a test left behind, each by a descriptor so that no stranger is hit."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)


def _enter_cgroup() -> tuple[Path, Path] | None:
    """Step into a cgroup made for this test run; return it and where we were, None if refused."""
    home = cgroups.own()
    if home is None:
        return None
    _sweep_dead_sessions(home)
    path = home / f"{CGROUP_PREFIX}{os.getpid()}"
    try:
        path.mkdir()
        (path / "cgroup.procs").write_text("0")
    except OSError:
        if path.is_dir():
            path.rmdir()
        return None
    return path, home


def _sweep_dead_sessions(home: Path) -> None:
    """Remove what a session that was itself killed could not remove."""
    for path in home.glob(f"{CGROUP_PREFIX}*"):
        if not Path("/proc", path.name.removeprefix(CGROUP_PREFIX)).exists():
            try:
                cgroups.remove(path)
            except OSError:  # another session sweeps it too
                continue


def _sweep_dead_folders() -> None:
    """Remove the folders of sessions that were themselves killed."""
    for path in Path("/tmp").glob(f"{FOLDER_PREFIX}*-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            _remove_folder(path)


def _remove_folder(path: Path) -> None:
    """Remove a folder, unless something is still mounted in it."""
    if not any(Path(point).is_relative_to(path) for point in _mount_points()):
        shutil.rmtree(path, ignore_errors=True)


def _remove_traces(folder: Path) -> None:
    """Remove what daemons in *folder* that were killed have left in memory."""
    for path in Path("/dev/shm").glob("supervisord-lite.*"):
        try:
            head = json.loads(path.read_bytes()[:1024])
        except (OSError, ValueError):
            continue
        if Path(head.get("in", "/")).is_relative_to(folder):
            path.unlink(missing_ok=True)


def _mount_points() -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line.split(" ")[4].encode().decode("unicode_escape") for line in lines}


def _loop_devices() -> Iterator[tuple[str, str]]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            yield f"/dev/{path.parts[3]}", path.read_text().strip()
        except OSError:  # detached in between
            continue


def _listening(pid: int) -> set[str]:
    try:
        connections = psutil.Process(pid).net_connections(kind="inet")
    except psutil.Error:
        return set()
    return {
        f"{c.laddr.ip}:{c.laddr.port}"
        for c in connections
        if c.status == psutil.CONN_LISTEN and c.type == socket.SOCK_STREAM
    }


class Session:
    """One pytest session: marks all that it starts, and finds what is left of it."""

    def __init__(self, *folders: Path) -> None:
        """Begin; *folders* are where, beside our own, tests put files, mounts and images."""
        _sweep_dead_folders()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._folders = (self.folder, *folders)
        self._inherited = os.environ.get(MARKER)
        os.environ[MARKER] = str(self.folder)
        self._cgroup = _enter_cgroup()
        self._mounts = _mount_points()
        self._loops = dict(_loop_devices())
        self._ports = _listening(os.getpid())

    def _is_ours(self, path: str) -> bool:
        return any(Path(path).is_relative_to(folder) for folder in self._folders)

    def processes(self) -> set[int]:
        """Return the pids that are left: by marker, by cgroup, and our own children.

        A child of ours that ended and was never waited for counts: it is a leak in a test.
        """
        found = marked(MARKER, str(self.folder)) | {c.pid for c in psutil.Process().children()}
        if self._cgroup:
            found |= {pid for pid in cgroups.members(self._cgroup[0]) if is_alive(pid)}
        return found - {os.getpid()}

    def find(self) -> list[str]:
        """Return a line for each thing that is left."""
        lines = []
        for pid in sorted(self.processes()):
            ports = "".join(f", listens on {port}" for port in sorted(_listening(pid)))
            lines.append(f"process {describe(pid)}{ports}")
        if self._cgroup:
            lines += [f"cgroup {path}" for path in cgroups.below(self._cgroup[0])]
        mounts = sorted(_mount_points() - self._mounts)
        lines += [f"mount {point}" for point in mounts if self._is_ours(point)]
        for device, file in _loop_devices():
            if self._loops.get(device) != file and self._is_ours(file):
                lines.append(f"loop device {device} of {file}")
        ports_of_ours = sorted(_listening(os.getpid()) - self._ports)
        return lines + [f"port {port}, held by the test process itself" for port in ports_of_ours]

    def end(self) -> list[str]:
        """Return what is left after a grace, and clear away its processes and cgroups."""
        try:
            wait_until(
                lambda: not self.find(), what="nothing left", timeout_s=GRACE_S, every_s=0.05
            )
            left = []
        except AssertionError:
            left = self.find()
        kill(self.processes())
        _remove_traces(self.folder)
        _remove_folder(self.folder)
        if self._cgroup:
            path, home = self._cgroup
            (home / "cgroup.procs").write_text("0")
            cgroups.remove(path)
        if self._inherited is None:
            del os.environ[MARKER]
        else:
            os.environ[MARKER] = self._inherited
        return left


def turn_sigterm_into_an_end(end: Callable[[], None]) -> None:
    """Make SIGTERM end this process through *end*, so that fixtures clean up.

    A child forked by a test keeps the default: the handler knows whose it is.
    """
    session_pid = os.getpid()

    def on_sigterm(number: int, _frame: object) -> None:
        if os.getpid() == session_pid:
            end()
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, on_sigterm)
