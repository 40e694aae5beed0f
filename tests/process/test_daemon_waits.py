"""`wait` against the real daemon: jobs, boots and stops that somebody else began."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

SLEEP = "command = ['/bin/sleep', '1000']\n"
#: Ends, with what stands in the file, when the file is there.
JOB = """command = ["sh", "-c", "until [ -e @DIR@/go ]; do sleep 0.02; done; exit $(cat @DIR@/go)"]
ready = "exit"
restart = "never"
"""


@contextmanager
def waiting(daemon: Daemon, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start `wait` and yield it when it has connected."""
    before = sockets(daemon)
    argv = [*daemon.argv, "wait", "--socket", str(daemon.control_path), *words]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=daemon.environment
    )
    try:
        wait_until(lambda: sockets(daemon) - before, what="it has connected")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def sockets(daemon: Daemon) -> set[str]:
    """Return the sockets of the supervisor: one more for each client."""
    folder = Path(f"/proc/{daemon.supervisor_pid}/fd")
    found = set()
    for each in folder.iterdir():
        with suppress(FileNotFoundError):  # it was the one that looks, or is closed by now
            found.add(str(each.readlink()))
    return {target for target in found if target.startswith("socket:")}


def test_a_job_is_waited_for_through_the_death_of_the_supervisor() -> None:
    """The command asks again, and tells how the job ended."""
    with Daemon(f"[worker.job]\n{JOB}[worker.web]\n{SLEEP}ready = 'spawned'\n") as daemon:
        daemon.wait_state("job", "starting")
        with waiting(daemon, "job") as process:
            daemon.kill_supervisor()
            (daemon.folder / "go").write_text("0")
            out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")
        assert out.startswith("job       exit 0 after ")

        done = daemon.ctl("wait", "--for", "exited", "job", "--json")
        assert json.loads(done.stdout)["workers"][0]["outcome"] == "exited"


def test_a_job_that_fails_is_exit_1() -> None:
    """Whichever goal was asked for: the reason is on stderr."""
    with Daemon(f"[worker.job]\n{JOB}") as daemon, waiting(daemon, "--for", "exited") as process:
        (daemon.folder / "go").write_text("7")
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (1, "")
        assert err.startswith("job       failed: exit 7 after ")
        assert daemon.ctl("wait").returncode == 1


def test_a_boot_and_a_stop_are_waited_for() -> None:
    """After --no-wait, in scripts: all of a pool, and whoever nobody wants up is none of it."""
    text = f"[worker.web]\n{SLEEP}pool_size = 2\nready = '300ms'\n"
    text += f"[worker.off]\n{SLEEP}autostart = false\n"
    with Daemon(text) as daemon:
        done = daemon.ctl("wait", check=True)
        assert "off       stopped, " in done.stdout
        assert "web       2 of 2 ready, " in done.stdout

        with waiting(daemon, "web", "--for", "stopped") as process:
            daemon.ctl("stop", "web", "--no-wait", check=True)
            assert process.wait(20) == 0
        named = daemon.ctl("wait", "web-1", "off")
        assert named.returncode == 1
        assert "off       failed: is stopped\n" in named.stderr
        daemon.ctl("start", "web", "--no-wait", check=True)
        assert daemon.ctl("wait", "web", "--timeout", "20s").returncode == 0


def test_the_time_and_the_patience_of_a_person_end_a_wait() -> None:
    """Exit 6, and nothing was ordered; the end of the daemon is a failure."""
    deaf = "command = ['sh', '-c', \"trap '' TERM; while :; do sleep 1; done\"]\n"
    with Daemon(f"[worker.web]\n{deaf}stop_timeout = '2s'\n") as daemon:
        daemon.wait_state("web", "running")
        assert daemon.ctl("wait", "--for", "exited", "--timeout", "50ms").returncode == 6
        with waiting(daemon, "--for", "exited") as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 6
        assert daemon.workers()["web"]["state"] == "running"

        with (
            waiting(daemon, "--for", "stopped") as gone,
            waiting(daemon, "--for", "exited") as process,
        ):
            os.kill(daemon.keeper_pid, signal.SIGTERM)
            _, err = process.communicate(timeout=20)
            assert gone.wait(20) == 0
        assert process.returncode == 1
        assert "web       failed: the daemon is stopping\n" in err
