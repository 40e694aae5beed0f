"""The recipe of README's "In a container", from its own files: the daemon as PID 1."""

import signal
from pathlib import Path

import pytest

from tests.support.container import Container, files_of_readme, what_is_missing
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.root, pytest.mark.slow]

#: A worker with a child that has left its session and its parent.
TREE = """
[worker.tree]
command = ["sh", "-c", "(setsid sleep 2001 &) ; exec sleep 2000"]
ready = "spawned"
"""
CRITICAL = """
[worker.db]
command = ["false"]
critical = true
max_restarts = 1
"""


@pytest.fixture(autouse=True)
def _possible() -> None:
    missing = what_is_missing()
    if missing:
        pytest.skip(missing)


def sleeps(container: Container) -> dict[str, int]:
    """Return pid by argument of what sleeps there."""
    lines = container.exec("sh", "-c", "pgrep -a -x sleep || true").stdout.splitlines()
    return {words[2]: int(words[0]) for words in map(str.split, lines)}


def test_the_recipe_of_the_readme_works() -> None:
    """Healthy, without any right, deaf to nothing; strangers are reaped, and left alone."""
    workers = files_of_readme()["etc/workers.toml"] + TREE
    with Container(workers) as container:
        processes = container.processes()
        assert processes[1][0] == "sdl-keeper"
        about = Path(f"/proc/{container.pid}/status").read_text()
        assert "\nUid:\t10001\t10001\t10001\t10001\n" in about
        assert "\nCapBnd:\t0000000000000000\n" in about
        assert container.exec("sh", "-c", "echo >/x || echo >/etc/app/x").returncode != 0
        assert set(container.status()) == {"web", "clock", "tree"}
        assert "UTC" in container.logs(), "workers write to the output of the container"

        # A stranger, as `docker exec` leaves it; and one that has ended already.
        container.exec("sh", "-c", "(setsid sleep 3000 >/dev/null 2>&1 &)")
        container.exec("sh", "-c", "(sleep 0.01 &)")
        before = wait_until(
            lambda: found if len(found := sleeps(container)) >= 3 else None, what="all sleep"
        )
        assert container.exec("supervisord-lite", "restart", "tree").returncode == 0
        after = wait_until(
            lambda: found if {"2000", "2001"} <= (found := sleeps(container)).keys() else None,
            what="the tree is whole again",
        )
        assert after["3000"] == before["3000"], "it belongs to nobody here"
        assert after["2001"] != before["2001"]
        alive = container.processes()
        assert before["2001"] not in alive, "the old one's child went with it"
        assert alive[after["3000"]][2] == 1, "PID 1 is its parent"
        wait_until(
            lambda: not [each for each in container.processes().values() if each[1] == "Z"],
            what="nobody is left to be reaped",
        )

        container.config.write_text(workers.replace("2000", "2002"))
        assert container.exec("supervisord-lite", "reload").returncode == 0
        assert "2002" in sleeps(container)
        before_pids = {name: each["pid"] for name, each in container.status().items()}
        assert container.exec("supervisord-lite", "upgrade", "--keeper").returncode == 0
        assert {name: each["pid"] for name, each in container.status().items()} == before_pids
        doctor = container.exec("supervisord-lite", "doctor").stdout
        assert "docker run --stop-timeout 40" in " ".join(doctor.split())

        status, took_s = container.stop()
        assert (status, took_s < container.stop_grace_s) == (0, True)
        container.start()  # as `docker start`: the same volumes
        wait_until(container.is_healthy, what="it is healthy again", timeout_s=30, every_s=0.05)
        assert container.stop()[0] == 0


def holds_signals_back(container: Container) -> bool:
    if not container.runs("supervisord-lite"):
        return False
    about = Path(f"/proc/{container.pid}/status").read_text()
    blocked = int(about.split("\nSigBlk:\t")[1].split()[0], 16)
    return bool(blocked >> (signal.SIGTERM - 1) & 1)


def test_a_stop_in_the_first_moment_is_heard() -> None:
    """The kernel keeps from PID 1 what it has no handler for; `run` has not lost it."""
    container = Container()
    try:
        container.start()
        wait_until(
            lambda: holds_signals_back(container), what="it reads its files", every_s=0.001,
            timeout_s=30,
        )  # fmt: skip
        status, _ = container.stop()
        assert status == 0, container.logs()
    finally:
        container.close()


@pytest.mark.parametrize(
    ("workers", "status"), [("[worker.web]\ncomand = 1\n", 78), (CRITICAL, 75)]
)
def test_an_exit_code_reaches_the_engine(workers: str, status: int) -> None:
    """A bad file, and a critical worker that has failed."""
    container = Container(workers)
    try:
        container.start()
        assert container.wait(30) == status, container.logs()
    finally:
        container.close()
