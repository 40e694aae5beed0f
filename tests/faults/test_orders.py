"""Rows 28 to 31: files that are wrong, and signals at the wrong moment."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import CHECKOUT, Daemon, MethodFailedError
from tests.support.house import QUICK, SLEEP, House, sh
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_row_28_a_storm_of_sighup(house: House) -> None:
    """Ten thousand are a few reloads, the last of which sees the last file."""
    with house.row(f"[worker.a]\n{SLEEP}{QUICK}") as daemon:
        text = daemon.config.read_text()
        before = len(daemon.output().splitlines())
        for number in range(10_000):
            if number == 9_000:
                daemon.config.write_text(text.replace("[worker.a]", "[worker.b]"))
            os.kill(daemon.keeper_pid, signal.SIGHUP)
        wait_until(lambda: set(daemon.workers()) == {"calm", "b"}, what="the last file is in force")
        lines = daemon.output().splitlines()[before:]
        assert sum('"config.reloaded"' in line for line in lines) <= 2


def test_row_29_files_that_are_wrong(house: House) -> None:
    """Broken, missing or a folder: refused with words, and nothing changes."""
    with house.row(f"[worker.a]\n{SLEEP}{QUICK}") as daemon:
        pid = house.wait_running("a")
        config, kept = daemon.config, daemon.config.with_name("kept")
        for spoil in (_break, Path.unlink, _put_a_folder_there):
            kept.write_text(config.read_text())
            spoil(config)
            with pytest.raises(MethodFailedError, match="ConfigurationRefused"):
                daemon.call("io.supervisordlite.Manager.Reload", dry_run=False)
            if config.is_dir():
                config.rmdir()
            kept.rename(config)
            assert daemon.workers()["a"]["pid"] == pid


def test_row_29_ten_thousand_processes(house: House) -> None:
    """They come into force, change and go, and nobody waits for that: who asks is answered.

    They stay stopped, for the sake of the machine, but for some that start and end.
    """
    tables = "".join(f"[worker.one-{n}]\n{SLEEP}autostart = false\n" for n in range(4_800))
    others = tables.replace("autostart", "umask = '077'\nautostart")
    size = "autostart = false\npool_size = 1_000\n"
    pools = "".join(f"[worker.many-of-{letter}]\n{SLEEP}{size}" for letter in "abcde")
    short = f"[worker.short]\n{sh('exit 0')}ready = 'spawned'\nrestart = 'never'\npool_size = 190\n"
    with house.row():
        for text in (tables + pools + short, others + pools, ""):
            assert _asked_meanwhile(house, partial(house.reload, text)) > 2


def _asked_meanwhile(house: House, do: Callable[[], object]) -> int:
    """Return how often somebody was told how the neighbour is while something was done."""
    with ThreadPoolExecutor(1) as other:
        doing, answers = other.submit(do), 0
        while not wait([doing], timeout=0.02).done:
            answers += house.state_of("calm") == "running"
        doing.result()
    return answers


def _break(path: Path) -> None:
    path.write_text(path.read_text() + "[worker.a\n")


def _put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("moment", ["start", "reload", "adoption", "upgrade"])
def test_row_30_sigterm_at_the_wrong_moment(moment: str) -> None:
    """In the middle of something else: an orderly stop with exit status 0, and nobody is left."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}pool_size = 5\n[worker.b]\n{SLEEP}requires = ['a']\n")
    with daemon:
        assert daemon.process is not None
        if moment != "start":
            daemon.wait_state("b", "running")
        if moment == "reload":
            daemon.write(f"[worker.a]\n{SLEEP}nice = 1\npool_size = 4\n")
            before = daemon.marked_pids()
            os.kill(daemon.keeper_pid, signal.SIGHUP)
            wait_until(lambda: daemon.marked_pids() != before, what="something happens")
        elif moment == "adoption":
            os.kill(daemon.supervisor_pid, signal.SIGKILL)
        elif moment == "upgrade":
            os.kill(daemon.keeper_pid, signal.SIGUSR2)
            wait_until(lambda: daemon.events("daemon.replacing"), what="it is being replaced")
        os.kill(daemon.keeper_pid, signal.SIGTERM)
        assert daemon.process.wait(20) == 0
        assert not daemon.marked_pids()


#: At which of the calls that the main process makes then, one after the other.
_STEPS = {
    "start": (1, 10, 40, 100),
    "reload": (1, 30),
    "adoption": (1, 30),
    "upgrade": (1, 30),
}


@pytest.mark.parametrize(
    ("moment", "step"), [(moment, step) for moment, steps in _STEPS.items() for step in steps]
)
def test_row_30_sigterm_at_a_step(moment: str, step: int) -> None:
    """Right before that call: an orderly stop with exit status 0, and nothing is left."""
    daemon = Daemon(
        f"[worker.a]\n{SLEEP}{QUICK}pool_size = 3\n[worker.b]\n{SLEEP}requires = ['a']\n"
    )
    go, struck = daemon.folder / "go", daemon.folder / "go.struck"
    script = str(CHECKOUT / "tests/support/striking.py")
    daemon.run_argv = (sys.executable, script, str(step), str(go))
    try:
        if moment == "start":
            go.touch()
            daemon.launch()
        else:
            daemon.start()
            daemon.wait_state("b", "running")
            go.touch()
            _begin(moment, daemon)
        wait_until(struck.exists, what="it is struck")
        assert daemon.stop() == 0, daemon.output()
        wait_until(lambda: not daemon.marked_pids(), what="nothing is left")
        assert not daemon.control_path.exists()
        assert list((daemon.folder / "runtime").glob("w/*")) == []
    finally:
        daemon.clear_away()


def _begin(moment: str, daemon: Daemon) -> None:
    if moment == "reload":
        daemon.write(
            f"[worker.a]\n{SLEEP}{QUICK}nice = 1\npool_size = 2\n[worker.c]\n{SLEEP}{QUICK}"
        )
        os.kill(daemon.keeper_pid, signal.SIGHUP)
    elif moment == "adoption":
        os.kill(daemon.supervisor_pid, signal.SIGKILL)
    else:
        os.kill(daemon.keeper_pid, signal.SIGUSR2)


def test_row_31_a_second_signal() -> None:
    """Impatience is no short cut around the trees: all of them are killed at once."""
    script = 'trap "" TERM; setsid sleep 1000 & echo $!; while :; do sleep 0.05; done'
    with Daemon(f"[worker.a]\n{sh(script)}stop_timeout = '1h'\n") as daemon:
        orphan = int(wait_until(partial(daemon.log, "a"), what="it has forked"))
        assert daemon.process is not None
        os.kill(daemon.keeper_pid, signal.SIGTERM)
        wait_until(partial(_is_stopping, daemon), what="it stops")
        os.kill(daemon.keeper_pid, signal.SIGINT)
        assert daemon.process.wait(20) == 0
        assert not leftovers.is_alive(orphan)


def _is_stopping(daemon: Daemon) -> bool:
    with contextlib.suppress(OSError):
        return bool(daemon.workers()["a"]["state"] == "stopping")
    return False
