"""One daemon for many faults: each is one more worker, or one more client, and all else stays well.

The house has a worker that says a numbered line all the time, and a witness that hears what systemd
would hear. A fault happens inside `row`; when it is over, the neighbour is the same process and has
said every line, control answers, the watchdog was fed, and no loop of the daemon was away for long,
as the daemon itself has measured.
"""

import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from supervisord_lite.base.stalls import LONG_S
from tests.support import cgroups
from tests.support.daemon import MODULE, Daemon
from tests.support.flood import segments
from tests.support.wait import wait_until

Loops = dict[str, tuple[int, int, float, float]]

WATCHDOG_S = 9.0
_MANAGER = "io.supervisordlite.Manager"
#: Of one process, so that it needs no other one where these are scarce.
_SCRIPT = """
import itertools, time
for n in itertools.count(1):
    print('calm', n)
    time.sleep(0.05)
"""
#: What nearly every worker of a row wants: to be there at once, and to be gone at once.
QUICK = (
    "ready = 'spawned'\nmax_restarts = 1000\nbackoff.min = '20ms'\nbackoff.max = '20ms'\n"
    "stop_timeout = '500ms'\n"
)
SLEEP = "command = ['/bin/sleep', '1000']\n"


def sh(script: str) -> str:
    """Return the `command = […]` line of a shell script without apostrophes in threes."""
    return f"command = ['/bin/sh', '-c', '''{script}''']\n"


def python(script: str) -> str:
    """Return the `command = […]` line of a Python script, which starts fast."""
    return f'command = [\'{sys.executable}\', \'-ISuc\', """{script}"""]\n'


_NEIGHBOUR = f"[worker.calm]\nready = 'spawned'\n{python(_SCRIPT)}"


class Witness:
    """Stands where systemd would, and hears the watchdog."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("")
        self._socket.settimeout(0.2)
        self.address = "@" + self._socket.getsockname()[1:].decode()
        self._heard_s = time.monotonic()
        self._longest_silence_s = 0.0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                if b"WATCHDOG=1" in self._socket.recv(4096):
                    with self._lock:
                        self._longest_silence_s = self._silence_s()
                        self._heard_s = time.monotonic()

    def _silence_s(self) -> float:
        return max(self._longest_silence_s, time.monotonic() - self._heard_s)

    def longest_silence_s(self) -> float:
        """Return for how long systemd has heard nothing, at most, since the beginning."""
        with self._lock:
            return self._silence_s()

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._thread.join()
        self._socket.close()


class PidsCgroup:
    """A cgroup in which processes can be made scarce; `path` is None where there is none."""

    def __init__(self) -> None:
        self.path: Path | None = None
        for folder in (Path("/sys/fs/cgroup/pids"), cgroups.own()):  # v1, v2
            if self.path is None and folder is not None:
                self._make(folder / f"sdl-pids-{os.getpid()}")

    def _make(self, path: Path) -> None:
        try:
            path.mkdir()
        except OSError:
            return
        if (path / "pids.max").exists():
            self.path = path
        else:
            path.rmdir()

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that starts a daemon in here."""
        if self.path is None:
            return MODULE
        return ("/bin/sh", "-c", f'echo $$ >{self.path}/cgroup.procs; exec "$@"', "sh", *MODULE)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let nobody in here start another process."""
        assert self.path is not None
        limit = self.path / "pids.max"
        limit.write_text("1")
        try:
            yield
        finally:
            limit.write_text("max")

    def close(self) -> None:
        """Remove it; its processes have ended."""
        if self.path is not None:
            self.path.rmdir()


class House:
    """The daemon with its neighbour and its witness."""

    def __init__(self) -> None:
        self.witness = Witness()
        self.pids = PidsCgroup()
        environment = {
            "NOTIFY_SOCKET": self.witness.address,
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
        }
        self.daemon = Daemon(_NEIGHBOUR, environment=environment)
        self.daemon.run_argv = self.pids.argv

    def __enter__(self) -> Self:
        self.daemon.__enter__()
        self.daemon.wait_state("calm", "running")
        return self

    def __exit__(self, *failure: Any) -> None:
        try:
            self.daemon.__exit__(*failure)
        finally:
            self.witness.close()
            self.pids.close()

    @contextmanager
    def row(self, workers: str = "") -> Iterator[Daemon]:
        """Have *workers* beside the neighbour for the time of a fault, and judge when it is over.

        Raises:
            AssertionError: Somebody was not well.
        """
        before, pid = self._loops(), self.daemon.workers()["calm"]["pid"]
        if workers:
            self.reload(workers)
        try:
            yield self.daemon
            self._assert_well(before, pid)
        finally:
            if workers:
                self.reload("")
                self._be_calm()

    def _be_calm(self) -> None:
        wait_until(
            lambda: list(self.daemon.workers()) == ["calm"],
            what="it is calm again",
            on_timeout=self._evidence,
        )

    def reload(self, workers: str) -> dict[str, Any]:
        """Put *workers* in force beside the neighbour."""
        self.daemon.write(_NEIGHBOUR + workers)
        return self.daemon.call(f"{_MANAGER}.Reload", dry_run=False, timeout_s=60)

    def _loops(self) -> Loops:
        """Return of each loop: its process, its long turns, the longest one, how it starved."""
        self.daemon.workers()  # the keeper says what it has measured when somebody connects
        told = self.daemon.call(f"{_MANAGER}.Status", names=["calm"])["supervisor"]
        pids = {"supervisor": told["pid"], "keeper": told["keeper_pid"]}
        return {
            loop["process"]: (
                pids[loop["process"]],
                loop["stalls"],
                loop["longest_stall_s"],
                starved_s(pids[loop["process"]]),
            )
            for loop in told["loops"]
        }

    def _assert_well(self, before: Loops, pid: int) -> None:
        assert self.daemon.workers()["calm"]["pid"] == pid, "the neighbour is not the same"
        count = len(self._lines())
        wait_until(lambda: len(self._lines()) > count, what="the neighbour speaks")
        lines = self._lines()
        assert lines == [f"calm {n}" for n in range(1, len(lines) + 1)], "it is heard in full"
        assert self.witness.longest_silence_s() < WATCHDOG_S, "the watchdog was fed"
        after = self._loops()
        assert set(after) == {"supervisor", "keeper"}
        for process, (process_pid, stalls, longest_s, starved_s) in after.items():
            old_pid, old_stalls, _, old_starved_s = before[process]
            is_same = old_pid == process_pid
            is_new = stalls > (old_stalls if is_same else 0)
            # What the kernel had it wait for a processor is not the daemon's doing.
            allowed_s = LONG_S + starved_s - (old_starved_s if is_same else 0.0)
            assert not is_new or longest_s <= allowed_s, f"{process} was away for {longest_s:.3f} s"

    def _lines(self) -> list[str]:
        text = self.daemon.log("calm")
        return text[: text.rfind("\n") + 1].splitlines()

    # What rows ask.

    def kill(self, name: str) -> int:
        """SIGKILL a worker that runs; return its pid."""
        pid = self.wait_running(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_running(self, name: str) -> int:
        """Wait until a worker runs; return its pid."""
        worker = wait_until(
            lambda: (found := self.daemon.workers()[name])["state"] == "running" and found,
            what=f"{name} runs",
            on_timeout=self._evidence,
        )
        assert isinstance(worker, dict)
        return int(worker["pid"])

    def state_of(self, name: str) -> str:
        """Return the state of one worker, and ask about no other."""
        (worker,) = self.daemon.call(f"{_MANAGER}.Status", names=[name], timeout_s=30)["workers"]
        return str(worker["state"])

    def reason(self, name: str) -> str:
        """Return why the latest run of *name* ended, empty while none has."""
        return str((self.daemon.workers()[name]["last_exit"] or {}).get("reason", ""))

    def wait_reason(self, name: str, words: str) -> None:
        """Wait until the latest run of *name* has ended with *words*."""
        what = f"{name} ended with {words!r}"
        wait_until(lambda: words in self.reason(name), what=what, on_timeout=self._evidence)

    def _evidence(self) -> str:
        return "\n".join([*self.daemon.output().splitlines()[-20:], str(self.daemon.workers())])

    def restarts_quickly(self, name: str) -> None:
        """Kill a worker and have it back: starts work."""
        old = self.kill(name)
        wait_until(
            lambda: self.daemon.workers()[name]["pid"] not in (None, old), what=f"{name} is back"
        )

    def stop(self, name: str) -> None:
        """Stop a worker and wait for the answer, as a client does."""
        self.daemon.call(f"{_MANAGER}.Stop", names=[name], wait=False)
        self.daemon.wait_state(name, "stopped")

    def whole_log(self, name: str) -> bytes:
        """Return the log of a worker with all its rotated segments."""
        path = self.daemon.folder / "log" / f"{name}.log"
        return b"".join(each.read_bytes() for each in segments(path))


@contextmanager
def limited(pid: int, what: int, soft: int) -> Iterator[None]:
    """Give a living process less of something for a while."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def lowest_free_descriptor(pid: int) -> int:
    """Return the lowest descriptor that is free: with this as its limit a process gets none."""
    taken = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    return next(number for number in range(len(taken) + 1) if number not in taken)


def cpu_s(pid: int) -> float:
    """Return how long a process has run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def starved_s(pid: int) -> float:
    """Return for how long a process was ready to run and had no processor, 0 if nobody counts."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0
