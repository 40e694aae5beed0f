"""The folders and the socket of a daemon are its own: one at a time, closed to others."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

SLEEP = 'command = ["/bin/sleep", "1000"]\n'


def test_a_second_daemon_on_the_same_folders_is_refused() -> None:
    """Exit 77 with the holder's pid; the first one does not notice."""
    with Daemon(f"[worker.a]\n{SLEEP}") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]

        second = subprocess.run(
            [*daemon.argv, "run", "-c", str(daemon.config)],
            capture_output=True,
            text=True,
            env=daemon.environment,
            check=False,
        )

        assert second.returncode == 77
        assert str(daemon.keeper_pid) in second.stderr
        assert daemon.workers()["a"]["pid"] == pid


def test_fifty_daemons_started_at_once_leave_one() -> None:
    """Exactly one takes the folders, whoever comes first."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    crowd = [
        subprocess.Popen(
            [*daemon.argv, "run", "-c", str(daemon.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=daemon.environment,
            start_new_session=True,
        )
        for _ in range(50)
    ]

    def ended() -> list[int]:
        return [status for one in crowd if (status := one.poll()) is not None]

    wait_until(lambda: len(ended()) >= 49, what="49 have given up", timeout_s=60)
    survivors = [one for one in crowd if one.poll() is None]
    assert ended() == [77] * 49
    assert len(survivors) == 1
    wait_until(daemon.control_path.exists, what="it listens")
    survivors[0].send_signal(signal.SIGTERM)
    assert survivors[0].wait(20) == 0


def test_the_longest_path_that_a_socket_can_have_is_taken() -> None:
    """107 bytes, most of them the last name: the daemon opens it, and another finds it taken."""
    daemon = Daemon("")
    folder = f"{daemon.folder}/c/"
    daemon.control_path = Path(folder + "x" * (107 - len(folder)))
    daemon.write(f"[worker.a]\n{SLEEP}")
    with daemon:
        # Other folders, the same socket.
        text = daemon.config.read_text().replace('state"', 'state2"').replace('runtime"', 'run2"')
        (daemon.folder / "other.toml").write_text(text)
        second = subprocess.run(
            [*daemon.argv, "run", "-c", str(daemon.folder / "other.toml")],
            capture_output=True, text=True, env=daemon.environment, check=False,
        )  # fmt: skip
        assert (second.returncode, "belongs to a live daemon" in second.stderr) == (77, True)


def test_a_stale_socket_is_taken_over() -> None:
    """A socket that nobody answers on any more does not stand in the way."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    with daemon:
        daemon.wait_state("a", "running")
        os.kill(daemon.keeper_pid, signal.SIGKILL)
        assert daemon.process is not None
        daemon.process.wait(10)
        leftovers.kill(daemon.marked_pids())
        assert daemon.control_path.exists()

        daemon.start()

        daemon.wait_state("a", "running")


def test_what_outlives_the_main_process_for_a_moment_is_not_in_the_way() -> None:
    """Its supervisor hangs and still has the socket: nobody answers for that daemon any more."""
    with Daemon(f"[worker.a]\n{SLEEP}") as daemon:
        daemon.wait_state("a", "running")
        supervisor = daemon.supervisor_pid
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(daemon.keeper_pid, signal.SIGKILL)
        assert daemon.process is not None
        daemon.process.wait(10)
        leftovers.kill(daemon.marked_pids())

        daemon.start()

        daemon.wait_state("a", "running")
        assert not leftovers.is_alive(supervisor)


def test_a_lock_that_is_no_file_is_refused_with_a_word() -> None:
    """77 with the path, no traceback."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    (daemon.folder / "state").mkdir()
    os.mkfifo(daemon.folder / "state/lock")
    refused = subprocess.run(
        [*daemon.argv, "run", "-c", str(daemon.config)],
        capture_output=True, text=True, env=daemon.environment, check=False,
    )  # fmt: skip
    assert (refused.returncode, "is not a file" in " ".join(refused.stderr.split())) == (77, True)


def test_a_full_disk_keeps_no_daemon_from_starting() -> None:
    """What holds the folder is the lock, not what stands in it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small disk")
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    state = daemon.folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", state], check=True)
    try:
        with contextlib.suppress(OSError), (state / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with daemon:
            daemon.wait_state("a", "running")
            assert "warning: the lock cannot name its holder" in daemon.output()
    finally:
        subprocess.run(["umount", state], check=True)


def test_sockets_and_folders_are_closed_to_others() -> None:
    """The control socket is 0600 in a folder of 0700; the state folder is 0700."""
    with Daemon(f"[worker.a]\n{SLEEP}") as daemon:

        def mode(path: Path) -> int:
            return path.stat().st_mode & 0o777

        assert mode(daemon.control_path) == 0o600
        assert mode(daemon.control_path.parent) == 0o700
        assert mode(daemon.folder / "state") == 0o700
        assert mode(daemon.folder / "runtime") == 0o711
