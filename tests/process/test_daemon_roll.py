"""A restart of a pool replaces its instances a few at a time: real daemon, real processes."""

import json

import pytest

from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


def pool(script: str, *, more: str = "") -> str:
    """Return three instances that note their starts and stops in @DIR@/order."""
    full = (
        "echo start $SUPERVISORD_LITE_INSTANCE >> @DIR@/order; "
        "trap 'echo stop $SUPERVISORD_LITE_INSTANCE >> @DIR@/order; exit 0' TERM; " + script
    )
    command = json.dumps(["/bin/sh", "-c", full])
    return f'[worker.web]\ncommand = {command}\npool_size = 3\nready = "200ms"\n{more}'


STAY = "while :; do sleep 1000 & wait $!; done"


def order(daemon: Daemon) -> list[str]:
    return (daemon.folder / "order").read_text().splitlines()


def up(daemon: Daemon) -> None:
    for index in (1, 2, 3):
        daemon.wait_state(f"web-{index}", "running")
    (daemon.folder / "order").write_text("")


def test_a_restart_replaces_one_instance_after_the_other() -> None:
    """Two of three are always there; the verb returns when the last one is ready."""
    with Daemon(pool(STAY)) as daemon:
        up(daemon)

        done = daemon.ctl("restart", "web", check=True)

        assert "3 of 3 ready" in done.stdout
        assert order(daemon) == [
            "stop 1", "start 1", "stop 2", "start 2", "stop 3", "start 3",
        ]  # fmt: skip


def test_a_restart_with_more_room_replaces_all_at_once() -> None:
    """`max_unavailable` says how many may be away."""
    with Daemon(pool(STAY, more="max_unavailable = 3\n")) as daemon:
        up(daemon)
        daemon.ctl("restart", "web", check=True)
        assert sorted(order(daemon)[:3]) == ["stop 1", "stop 2", "stop 3"]


def test_a_new_instance_that_fails_stops_the_restart() -> None:
    """The others stay as they are, and the verb says which and why."""
    bad = f"[ -e @DIR@/bad ] && exit 5; {STAY}"
    with Daemon(pool(bad, more='backoff.min = "1m"\n')) as daemon:
        up(daemon)
        before = daemon.workers()
        (daemon.folder / "bad").touch()

        done = daemon.ctl("restart", "web")

        assert done.returncode == 1
        assert "exit 5" in done.stderr
        assert done.stderr.count("not touched: the new web-1 failed") == 2
        after = daemon.workers()
        assert [after[f"web-{n}"]["pid"] for n in (2, 3)] == [
            before[f"web-{n}"]["pid"] for n in (2, 3)
        ]


def test_a_kill_of_the_supervisor_in_the_middle_of_a_restart_changes_nothing() -> None:
    """The next one goes on with it: one after the other, each once."""
    with Daemon(pool(STAY)) as daemon:
        up(daemon)
        daemon.ctl("restart", "--no-wait", "web", check=True)
        for _ in range(3):
            daemon.kill_supervisor()
        # One more of an instance that has its turn still to come, or has had it: it queues behind.
        daemon.ctl("restart", "web-1", check=True)

        wait_until(
            lambda: [w["run"] for w in daemon.workers().values() if w["ready"]] == [3, 2, 2],
            what="each has its new run",
        )
        assert order(daemon) == [
            "stop 1", "start 1", "stop 2", "start 2", "stop 3", "start 3", "stop 1", "start 1",
        ]  # fmt: skip
