"""Who has a folder: another daemon keeps us out, a stranger who may only read it does not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from supervisord_lite.base import folder_lock
from tests.support.daemon import Daemon
from tests.support.leftovers import short_folder

pytestmark = pytest.mark.process

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be two users")
NOBODY = 65534
#: As some user: locks the folder, perhaps lets a child go on with it and ends, and says so.
HOLD = """
import fcntl, os, sys
user, path, how, *leaves = sys.argv[1:]
os.setuid(int(user))
folder = os.open(path, os.O_RDONLY)
fcntl.flock(folder, getattr(fcntl, how))
if leaves and os.fork():
    os._exit(0)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(folder: Path, *how: str, user: int) -> Iterator[int]:
    """Have somebody else hold the lock of *folder*; yield who has taken it."""
    with subprocess.Popen(
        [sys.executable, "-ISc", HOLD, str(user), str(folder), *(how or ("LOCK_EX",))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline()
        yield other.pid
        other.stdin.close()


@pytest.fixture
def folder() -> Iterator[int]:
    path = short_folder()
    path.chmod(0o755)
    own = folder_lock.open_folder(str(path))
    yield own
    os.close(own)


def path_of(own: int) -> Path:
    return Path(f"/proc/self/fd/{own}").readlink()


def test_another_of_us_has_it(folder: int) -> None:
    """With its pid; and it is free as soon as that one has ended."""
    with (
        held(path_of(folder), user=os.getuid()) as pid,
        pytest.raises(folder_lock.HeldError) as refused,
    ):
        folder_lock.hold_folder(folder)
    assert refused.value.pid == str(pid)
    assert folder_lock.hold_folder(folder) == 0


def test_the_lock_of_who_ends_while_we_look_is_ours(folder: int) -> None:
    """It is not taken for that of a stranger: nobody has it any more."""
    with held(path_of(folder), user=os.getuid()) as pid:

        def end_it(frame: FrameType, event: str, _about: object) -> None:
            if (event, frame.f_code.co_name) == ("call", "_is_stranger"):
                sys.setprofile(None)
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED)

        sys.setprofile(end_it)
        try:
            assert folder_lock.hold_folder(folder) == 0
        finally:
            assert sys.getprofile() is None, "it was looked at, and has ended"
            sys.setprofile(None)
        other = folder_lock.open_folder(str(path_of(folder)))
        with pytest.raises(folder_lock.HeldError, match=str(os.getpid())):
            folder_lock.hold_folder(other)
        os.close(other)


@NEEDS_ROOT
@pytest.mark.parametrize("how", ["LOCK_EX", "LOCK_SH"])
def test_a_stranger_keeps_nobody_out(folder: int, how: str) -> None:
    """Who may not write there is no daemon of that folder; where all may, it may be one."""
    with held(path_of(folder), how, user=NOBODY) as pid:
        assert folder_lock.hold_folder(folder) == pid
        path_of(folder).chmod(0o777)
        with pytest.raises(folder_lock.HeldError):
            folder_lock.hold_folder(folder)


@NEEDS_ROOT
def test_a_stranger_who_lets_a_child_hold_it_keeps_nobody_out(folder: int) -> None:
    """The kernel still names the one who has taken it, and that one has ended."""
    with held(path_of(folder), "LOCK_EX", "and end", user=NOBODY) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED)
        assert folder_lock.hold_folder(folder) == pid


@NEEDS_ROOT
def test_a_daemon_starts_though_a_stranger_has_locked_its_folder() -> None:
    """With a warning; the file keeps a second daemon out."""
    daemon = Daemon("[worker.a]\ncommand = ['/bin/sleep', '1000']\n")
    state = daemon.folder / "state"
    state.mkdir()
    with held(state, user=NOBODY) as pid, daemon:
        daemon.wait_state("a", "running")
        assert f"warning: pid {pid} has locked {state}" in daemon.output()
        second = subprocess.run(
            [*daemon.argv, "run", "-c", str(daemon.config)],
            capture_output=True, text=True, env=daemon.environment, check=False,
        )  # fmt: skip
        assert second.returncode == 77
        assert f"pid {daemon.keeper_pid}" in second.stderr
