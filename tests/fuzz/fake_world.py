"""A keeper whose world is made up: processes are numbers that end when they are told to.

What it asks the kernel for that would touch anything else (processes, folders, the network) goes
nowhere; pipes, sockets between itself and the test, and memory are real, so that a descriptor that
is lost is lost.
"""

import errno
import itertools
import os
import shutil
import signal
import socket
import tempfile
from collections import deque
from types import SimpleNamespace
from typing import Any

from supervisord_lite.keeper.calls import Calls
from tests.support.keeper import open_descriptors
from tests.support.keeper_whole import SeamCalls, WholeKeeper


def _only_check(real: socket.socket, address: Any) -> None:
    """Refuse what no kernel would be asked for."""
    if real.family == socket.AF_UNIX:
        if len(os.fsencode(address)) > 107:
            raise OSError("AF_UNIX path too long")  # noqa: TRY003, EM101  # as Python says it
        return
    host, port = address
    if not 0 <= port <= 65535:
        raise OverflowError("bind(): port must be 0-65535.")  # noqa: TRY003, EM101
    socket.inet_pton(real.family, host)


class MadeUpCalls(SeamCalls):
    """System calls of a machine with nothing on it.

    Attributes:
        living: Pids.
        folder: Where every folder of a run is.
        others: The other end of each socket pair, by the number of ours.
    """

    def __init__(self) -> None:
        super().__init__()
        self.living: dict[int, None] = {os.getpid(): None}  # whoever greets is this process
        self.others: dict[int, socket.socket] = {}
        self.folder = tempfile.mkdtemp(dir="/dev/shm", prefix="sdl-fuzz.")
        self._pids = itertools.count(1_000_000)
        self._dead: deque[tuple[int, int | None, int | None]] = deque()
        names = [name for name in dir(self) if name.startswith("no_")]
        for name in names:  # uncounted: these are called most
            setattr(self, name[3:], getattr(self, name))
        real = Calls()
        for name in ("pipe2", "read", "write", "close", "fcntl", "memfd_create", "readable_bytes"):
            setattr(self, name, getattr(real, name))

    def do_socketpair(self, *args: Any) -> tuple[socket.socket, socket.socket]:
        ours, theirs = super().do_socketpair(*args)
        before = self.others.pop(ours.fileno(), None)
        if before is not None:
            before.close()
        self.others[ours.fileno()] = theirs.dup()
        return ours, theirs

    # -- processes ---------------------------------------------------------------------------------

    def _born(self) -> int:
        pid = next(self._pids)
        self.living[pid] = None
        return pid

    def ends(self, pid: int, code: int | None, by: int | None = None) -> None:
        """Let a process end."""
        if pid in self.living:
            del self.living[pid]
            self._dead.append((pid, code, by))

    def no_posix_spawn(self, path: str, argv: list[str], env: Any, **options: Any) -> int:
        os.fsencode(path)
        if any("\0" in each for each in (path, *argv, *env, *env.values())):
            raise ValueError("embedded null byte")  # noqa: TRY003  # as Python says it
        role = argv[4] if argv[1:3] == ["-I", "-S"] else ""
        if role not in ("supervisor", "scribe"):
            return self._born()
        assert self._theirs is not None
        self.drop(role)
        self.peers[role] = self.peer_of(self._theirs)
        self._theirs = None
        if role == "supervisor":
            handover = next(each[1] for each in options["file_actions"] if each[2] == 4)
            self.note_handover(handover)
        return self._born()

    def no_fork(self) -> int:
        return self._born()

    def no_fork_into(self, *_arguments: Any) -> int:
        return self._born()

    def no_kill(self, pid: int, number: int) -> None:
        if pid not in self.living:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if not 0 <= number <= 64:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if number == signal.SIGKILL:
            self.ends(pid, None, number)

    def no_waitid(self, kind: int, number: int, options: int) -> Any:
        if kind == os.P_ALL:
            if not self._dead:
                return None
            pid, code, by = self._dead[0]
            how = os.CLD_EXITED if by is None else os.CLD_KILLED
            return SimpleNamespace(si_pid=pid, si_code=how, si_status=code if by is None else by)
        if number not in self.living and all(number != pid for pid, _, _ in self._dead):
            raise ChildProcessError(errno.ECHILD, os.strerror(errno.ECHILD))
        if not options & os.WNOWAIT:
            self._dead = deque(each for each in self._dead if each[0] != number)
        return None

    def no_pidfd_open(self, _pid: int) -> int:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def no_execve(self, path: str, *_more: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def no_prlimit(self, _pid: int, number: int, limits: tuple[int, int]) -> None:
        assert isinstance(number, int)
        if not -(2**63) <= limits[0] < 2**63:
            raise OverflowError("int too big to convert")  # noqa: TRY003, EM101

    def no_setpriority(self, *_arguments: int) -> None:
        pass

    def no_set_inheritable(self, *_arguments: Any) -> None:
        pass

    # -- sockets -----------------------------------------------------------------------------------

    def no_bind(self, own: socket.socket, address: Any) -> None:
        """Bind what stands in the folder of a run; take every other address, and have none."""
        _only_check(own, address)
        if str(address).startswith("/proc/self/fd/"):
            own.bind(address)

    def no_listen(self, own: socket.socket, backlog: int) -> None:
        if own.family == socket.AF_UNIX and own.getsockname():
            own.listen(backlog)
        assert isinstance(backlog, int)

    # -- files -------------------------------------------------------------------------------------

    def no_chdir(self, path: str) -> None:
        if "\0" in path:
            raise ValueError("embedded null byte")  # noqa: TRY003
        if "missing" in path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def no_umask(self, mask: int) -> int:
        assert isinstance(mask, int)
        if not -(2**31) <= mask < 2**31:
            raise OverflowError("Python int too large to convert to C int")  # noqa: TRY003, EM101
        return 0o22

    def no_open(self, path: str, flags: int, *_more: Any) -> int:
        if path == "/dev/null":
            return os.open(path, flags)
        if flags & os.O_DIRECTORY and not os.fsencode(path).startswith(b"/sys"):
            return os.open(self.folder, flags)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def no_mkdir(self, path: str, mode: int) -> None:
        if "\0" in path or not isinstance(mode, int):
            raise ValueError("embedded null byte")  # noqa: TRY003

    def no_unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None and "/" not in path:
            os.unlink(path, dir_fd=dir_fd)

    def no_chown(self, _path: str, uid: int, gid: int, **_more: Any) -> None:
        assert isinstance(uid, int)
        assert isinstance(gid, int)

    def no_rmdir(self, _path: str) -> None:
        pass

    def no_chmod(self, _path: str, _mode: int) -> None:
        pass

    def no_listdir(self, _path: str) -> list[str]:
        return []

    def no_getxattr(self, *_arguments: Any) -> bytes:
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))


class World:
    """One keeper in it, from its start to its end."""

    def __init__(self) -> None:
        self.descriptors = open_descriptors()
        self.calls = MadeUpCalls()
        self.whole = WholeKeeper(self.calls)
        for _ in range(3):
            self.whole.turn()

    def end(self) -> None:
        """End the keeper; hold it to having closed what it had opened."""
        try:
            for pid in list(self.calls.living):
                if pid not in (self.whole.supervisor_pid, self.whole.keeper._scribe.pid):
                    self.calls.ends(pid, 0)
            self.whole.close()
            runs, upgrade = self.whole.keeper._runs, self.whole.keeper._upgrade
            runs._listeners.close()
            runs.feeds.close()
            if upgrade._trial is not None:
                upgrade._trial.close()
            for other in self.calls.others.values():
                other.close()
        finally:
            shutil.rmtree(self.calls.folder)
        # Others in this process may have left some that go meanwhile.
        left = open_descriptors()
        assert left.keys() <= self.descriptors.keys(), left
