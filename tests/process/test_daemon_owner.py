"""A daemon that belongs to a process ends with it, whatever ends that process."""

import shlex

import pytest

from tests.support.daemon import MODULE, Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

SLEEP = 'command = ["/bin/sleep", "1000"]\n'
COMMAND = shlex.join(MODULE)


def gone(daemon: Daemon) -> None:
    wait_until(lambda: not daemon.marked_pids(), what="nothing of it lives")


def test_a_killed_owner_takes_the_daemon_and_its_workers_along() -> None:
    """SIGKILL to the process that started it: workers are stopped in order, nothing is left."""
    owner = ("/bin/sh", "-c", f'{COMMAND} "$@" --owner $$ & wait', "sh")
    with Daemon(f"[worker.a]\n{SLEEP}pool_size = 2\n", argv=owner) as daemon:
        daemon.exit_status = -9
        daemon.wait_state("a-1", "running")
        assert daemon.process is not None

        daemon.process.kill()

        gone(daemon)
        assert "owner.ended" in daemon.output()
        assert daemon.output().count("worker.stopped") == 2
        assert not daemon.control_path.exists()


def test_an_owner_that_has_ended_before_is_noticed_too() -> None:
    """A pid that is not the parent's is that of an owner who is gone."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    text = f'{COMMAND} run -c "$0" --owner 4194305'
    daemon.argv = ("/bin/sh", "-c", text, str(daemon.config))

    done = daemon.ctl("ignored")

    assert done.returncode == 0, done.stderr
    assert "owner.ended" in done.stderr
    gone(daemon)
