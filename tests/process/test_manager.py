"""The daemon as a library: the contract of the manager, with real processes."""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite import (
    AlreadyRunning,
    CircuitBreakerTripped,
    CriticalWorkerFailed,
    DaemonFailed,
    InvalidWorker,
    Manager,
    WorkerOptions,
    WorkerStopped,
)
from supervisord_lite.manager import Trip
from tests.support import cgroups, leftovers, targets
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

SLEEP = ["/bin/sleep", "1000"]
QUICK = WorkerOptions(
    ready="50ms", backoff_min="20ms", backoff_max="20ms", max_restarts=3, start_timeout="5s"
)
WAIT_S = 20.0


@pytest.fixture
def manager() -> Iterator[Manager]:
    with Manager() as manager:
        yield manager
    assert not manager.is_running


@pytest.fixture
def short_path() -> Path:
    """Return a folder for temporary files, short enough for sockets in it."""
    return leftovers.short_folder()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def until_noted(file: Path, *words: str) -> list[str]:
    """Wait until all of *words* stand in a file; return all that stands there."""
    wait_until(lambda: set(words) <= set(lines(file)), what=f"{words} in the notes",
               on_timeout=lambda: str(lines(file)))  # fmt: skip
    return lines(file)


# Start and stop.


def test_gz_30_and_31_workers_start_once_and_stop_once(manager: Manager, file: Path) -> None:
    """And `done` is set when both are down."""
    for name in ("a", "b"):
        manager.register(targets.until_stopped, name=name, config={"file": str(file)})
    assert not manager.is_running
    manager.start()
    until_noted(file, "started a", "started b")
    assert not manager.done.is_set()

    manager.stop()

    assert manager.done.is_set()
    assert sorted(lines(file)) == ["started a", "started b", "stopped a", "stopped b"]
    manager.wait()


def test_gz_32_a_pool_of_three_has_numbers(manager: Manager) -> None:
    """Each instance with a state of its own."""
    manager.register(SLEEP, name="web", options=QUICK, pool_size=3)
    manager.start()
    manager.wait_ready("web", WAIT_S)

    assert list(manager.workers) == ["web-1", "web-2", "web-3"]
    assert all(standing.ready and standing.run == 1 for standing in manager.workers.values())
    manager.wait_ready("web-2", WAIT_S)
    with pytest.raises(InvalidWorker, match="no worker 'web-4'"):
        manager.wait_ready("web-4")


def test_gz_33_a_stop_from_outside_is_done(manager: Manager) -> None:
    """Whoever ends the daemon, the manager hears of it; no stop ladder is waited for."""
    manager.register(SLEEP, options=QUICK, stop_timeout="1h")
    manager.start()
    manager.wait_ready(timeout_s=WAIT_S)
    pid = manager.pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)

    assert manager.done.wait(WAIT_S)
    assert manager.pid is None
    manager.wait()


def test_gz_34_five_workers_start_without_waiting_for_each_other(
    manager: Manager, file: Path
) -> None:
    """All at once, not one after the other: none of them is ready before all have started."""
    file.touch()
    started = f"[ $(wc -l < {file}) -ge 5 ]"
    script = f"echo x >> {file}; until {started}; do sleep 0.01; done; echo >&3; exec sleep 1000"
    command = ["/bin/sh", "-c", script]
    for number in range(5):
        manager.register(
            command, name=f"w{number}", options=QUICK, ready="fd:3", start_timeout="1h"
        )
    manager.start()

    manager.wait_ready(timeout_s=WAIT_S)

    assert lines(file) == ["x"] * 5


def test_gz_35_and_36_a_second_start_or_a_late_registration_is_an_error(
    manager: Manager, file: Path
) -> None:
    """Nothing is started twice, and nothing is added."""
    manager.register(targets.until_stopped, config={"file": str(file)})
    manager.start()

    with pytest.raises(AlreadyRunning, match="the manager is running"):
        manager.start()
    with pytest.raises(AlreadyRunning, match="worker late cannot be registered"):
        manager.register(SLEEP, name="late")

    assert until_noted(file, "started until_stopped") == ["started until_stopped"]
    assert list(manager.workers) == ["until_stopped"]


def test_gz_16_and_37_a_stop_of_what_does_not_run_is_fine(manager: Manager) -> None:
    """Before the first start, and twice after it."""
    manager.stop()
    manager.wait()
    manager.register(SLEEP)
    manager.start()
    manager.stop()
    manager.stop()


def test_gz_38_a_start_without_workers_is_fine_and_done(manager: Manager) -> None:
    """There is nothing left to do."""
    manager.start()
    assert manager.done.wait(WAIT_S)
    manager.wait()


def test_it_can_be_started_again_after_a_stop(manager: Manager, file: Path) -> None:
    """With an event of its own, more workers, and closed breakers."""
    manager.register(targets.crash, name="bad", options=QUICK, config={"file": str(file)})
    manager.start()
    first = manager.done
    manager.wait(WAIT_S)
    manager.register(SLEEP, options=QUICK)
    manager.start()

    assert first.is_set()
    assert not manager.done.is_set()
    manager.wait_ready("sleep", WAIT_S)
    wait_until(lambda: lines(file) == ["started bad"] * 6, what="three starts of each time")


def test_done_is_set_when_every_worker_has_finished(manager: Manager, file: Path) -> None:
    """An exit with 0 ends the supervision of a worker; the last one ends all."""
    for name in ("a", "b"):
        manager.register(targets.finish, name=name, config={"file": str(file)})
    manager.start()

    manager.wait(WAIT_S)

    assert sorted(lines(file)) == ["done a", "done b"]


# Failures.


def test_gz_14_39_and_41_a_critical_failure_ends_all_and_is_told_once(
    manager: Manager, file: Path
) -> None:
    """The others are stopped first; the handler and whoever waits hear who and why."""
    heard: list[CriticalWorkerFailed] = []
    called = threading.Event()

    @manager.on_critical_failure
    def failed(error: CriticalWorkerFailed) -> None:
        manager.stop()  # a handler may do anything, and wait for anything
        assert manager.done.wait(WAIT_S)
        heard.append(error)
        called.set()

    config = {"file": str(file)}
    manager.register(targets.until_stopped, name="web", options=QUICK, ready="notify",
                     config=config)  # fmt: skip
    manager.register(targets.crash, name="db", options=QUICK, critical=True, config=config,
                     after=["web"])  # fmt: skip
    manager.start()

    with pytest.raises(CriticalWorkerFailed, match="critical worker db tripped: exit 1") as caught:
        manager.wait(WAIT_S)

    assert called.wait(WAIT_S)
    assert [error.name for error in heard] == ["db"]
    assert caught.value.exit_code == 75
    assert [end["code"] for end in caught.value.note["workers"][0]["failures"]] == [1, 1, 1]
    assert lines(file) == ["started web", *["started db"] * 3, "stopped web"]
    with pytest.raises(CriticalWorkerFailed):
        manager.wait_ready("web")


def test_gz_10_a_worker_that_is_not_critical_trips_alone(manager: Manager, file: Path) -> None:
    """Started as often as the breaker allows; nobody else hears of it."""
    critical: list[object] = []
    manager.on_critical_failure(critical.append)
    config = {"file": str(file)}
    manager.register(targets.crash, name="bad", options=QUICK, ready="4s", config=config)
    manager.register(SLEEP, name="web", options=QUICK)
    manager.start()

    with pytest.raises(CircuitBreakerTripped, match="bad") as caught:
        manager.wait_ready("bad", WAIT_S)

    assert (caught.value.failures, caught.value.reason) == (3, "exit 1")
    assert lines(file) == ["started bad"] * 3
    manager.wait_ready("web", WAIT_S)
    manager.stop()
    manager.wait()
    assert critical == []


def test_gz_18_20_and_21_a_trip_is_told_with_the_last_words(tmp_path: Path, file: Path) -> None:
    """A handler that fails changes nothing."""
    heard: list[Trip] = []

    def dead_letter(trip: Trip) -> None:
        heard.append(trip)
        raise RuntimeError(trip.name)

    with Manager(log_dir=tmp_path / "log") as manager:
        manager.on_trip(dead_letter)
        manager.register(targets.crash, name="bad", options=QUICK, config={"file": str(file)})
        manager.start()
        manager.wait(WAIT_S)
    wait_until(lambda: heard, what="the handler was called")

    (trip,) = heard
    assert (trip.name, trip.failures, trip.window_s, trip.reason) == ("bad", 3, 600.0, "exit 1")
    assert trip.at.tzinfo is not None
    assert "ValueError: no luck today" in trip.last_lines


def test_gz_22_a_command_that_is_missing_has_a_reason_and_no_last_words(tmp_path: Path) -> None:
    """It never ran, so there is nothing to show but why."""
    heard: list[Trip] = []
    with Manager(log_dir=tmp_path / "log") as manager:
        manager.on_trip(heard.append)
        manager.register(["/nowhere/at/all"], name="bad", options=QUICK, max_restarts=1)
        manager.start()
        with pytest.raises(CircuitBreakerTripped, match="spawn failed"):
            manager.wait_ready(timeout_s=WAIT_S)
        wait_until(lambda: heard, what="the handler was called")

    assert "no such file" in heard[0].reason.lower()
    assert heard[0].last_lines == ()


def test_who_waits_for_a_worker_that_has_finished_is_told_so(manager: Manager, file: Path) -> None:
    """It will not be ready any more; nor will one of a manager that was not started."""
    with pytest.raises(WorkerStopped, match="not started"):
        manager.wait_ready()
    manager.register(targets.finish, name="job", ready="4s", config={"file": str(file)},
                     start_timeout="9s")  # fmt: skip
    manager.register(SLEEP, name="web", options=QUICK)
    manager.start()

    with pytest.raises(WorkerStopped, match="worker job is exited: exit 0"):
        manager.wait_ready("job", WAIT_S)
    with pytest.raises(TimeoutError):
        manager.wait(0.01)


def test_a_killed_daemon_is_no_normal_end(manager: Manager) -> None:
    """SIGKILL to its main process: whoever waits is told."""
    manager.register(SLEEP, options=QUICK)
    manager.start()
    manager.wait_ready(timeout_s=WAIT_S)
    pid = manager.pid
    assert pid is not None
    (sleeper,) = [child for child in _children(pid) if _name(child) == "sleep"]
    os.kill(pid, signal.SIGKILL)

    with pytest.raises(DaemonFailed, match="killed by signal 9"):
        manager.wait(WAIT_S)
    own = cgroups.own()
    if own is None or not os.access(own, os.W_OK):
        leftovers.kill({sleeper})
    else:
        assert not leftovers.is_alive(sleeper), "what it left behind is ended"


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_folders_of_another_daemon_are_refused(tmp_path: Path) -> None:
    """The error has the exit status; the words of the daemon are on stderr."""
    with Manager(state_dir=tmp_path / "s") as first, Manager(state_dir=tmp_path / "s") as second:
        first.register(SLEEP, options=QUICK)
        first.start()
        first.wait_ready(timeout_s=WAIT_S)

        with pytest.raises(DaemonFailed, match="ended with 77") as caught:
            second.start()

        assert caught.value.status == 77
        assert not second.is_running
        assert first.is_running


def test_a_kill_of_the_supervisor_is_not_noticed(manager: Manager) -> None:
    """The manager goes on following; no worker restarts."""
    manager.register(SLEEP, name="web", options=QUICK)
    manager.start()
    manager.wait_ready(timeout_s=WAIT_S)
    assert manager.pid is not None
    (supervisor,) = [pid for pid in _children(manager.pid) if _name(pid) == "sdl-supervisor"]
    os.kill(supervisor, signal.SIGKILL)

    manager.stop()

    assert manager.workers["web"].run == 1
    manager.wait()


# The life of the owner.


def test_it_works_from_many_threads_at_once(manager: Manager) -> None:
    """One start wins, the others are told; every stop returns when all is down."""
    manager.register(SLEEP, options=QUICK)
    outcomes: list[str] = []

    def start() -> None:
        try:
            manager.start()
            outcomes.append("started")
        except AlreadyRunning:
            outcomes.append("refused")

    def run_all(function: Any) -> None:
        threads = [threading.Thread(target=function) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run_all(start)
    assert sorted(outcomes) == ["refused"] * 7 + ["started"]
    run_all(manager.stop)
    assert manager.done.is_set()


def test_nothing_is_left_of_the_private_folder(
    manager: Manager, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed to others while it is there."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_path))
    manager.register(SLEEP, options=QUICK)
    assert os.listdir(short_path) == []
    manager.start()
    (private,) = short_path.iterdir()
    assert private.stat().st_mode & 0o777 == 0o700

    manager.stop()

    assert os.listdir(short_path) == []


def test_a_long_place_for_temporary_files_is_no_hindrance(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path may have 107 bytes: the private folder goes where it fits."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 80)))
    (tmp_path / ("x" * 80)).mkdir()
    manager.register(SLEEP, options=QUICK)
    manager.start()
    manager.wait_ready(timeout_s=20)
    control_path = manager.control_path
    manager.stop()

    assert control_path is not None
    assert not Path(control_path).parents[2].exists()
    assert os.listdir(tmp_path / ("x" * 80)) == []
