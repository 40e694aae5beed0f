"""The manager where two things meet: a stop and a start, an end and whoever hears of it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from supervisord_lite import (
    CircuitBreakerTripped,
    CriticalWorkerFailed,
    Manager,
    WorkerOptions,
)
from supervisord_lite.manager import Trip
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

SLEEP = ["/bin/sleep", "1000"]
BAD = ["/bin/sh", "-c", "exit 3"]
QUICK = WorkerOptions(ready="5s", backoff_min="20ms", backoff_max="20ms", start_timeout="9s")
WAIT_S = 20.0


@pytest.fixture
def manager() -> Iterator[Manager]:
    with Manager() as manager:
        yield manager
    assert not manager.is_running


# A stop during a start.


def is_known(manager: Manager) -> bool:
    return manager.is_running


def has_a_process(manager: Manager) -> bool:
    return manager.pid is not None


def has_a_socket(manager: Manager) -> bool:
    return manager.control_path is not None and os.path.exists(manager.control_path)


@pytest.fixture(params=["heeded", "ignored"])
def sigterm(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the daemon inherits for the time until it listens itself."""
    before = signal.getsignal(signal.SIGTERM)
    if request.param == "ignored":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm")
@pytest.mark.parametrize("moment", [is_known, has_a_process, has_a_socket])
def test_a_stop_ends_a_start_in_another_thread_whenever_it_comes(
    manager: Manager, moment: Callable[[Manager], bool]
) -> None:
    """Both return, nothing lives, and it may be started again."""
    manager.register(SLEEP, name="a", ready="50ms")
    raised: list[Exception] = []

    def start() -> None:
        try:
            manager.start()
        except Exception as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    end_s = time.monotonic() + WAIT_S
    while not moment(manager) and time.monotonic() < end_s:
        os.sched_yield()

    manager.stop(WAIT_S)
    thread.join(WAIT_S)

    assert not thread.is_alive()
    assert raised == []
    assert manager.done.is_set()
    assert manager.pid is None
    manager.wait()
    manager.start()
    manager.wait_ready(timeout_s=WAIT_S)


def test_a_stop_in_a_signal_handler_ends_the_start_that_it_interrupts(manager: Manager) -> None:
    """It cannot wait for what goes on only when it has returned."""
    manager.register(SLEEP, name="a", ready="50ms")
    handled: list[bool] = []

    def stop(_number: int, _frame: object) -> None:
        manager.stop(WAIT_S)
        handled.append(True)

    def send() -> None:
        end_s = time.monotonic() + WAIT_S
        while not has_a_process(manager) and time.monotonic() < end_s:
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        manager.start()
        thread.join(WAIT_S)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert handled == [True]
    assert manager.done.wait(WAIT_S)
    manager.wait()


def test_who_waits_for_ready_hears_of_a_start_that_is_stopped_or_fails(manager: Manager) -> None:
    """Its end is told to all who wait, not only to whoever had asked for it."""
    manager.register(SLEEP, name="a", requires=["nobody"])
    heard: list[Exception] = []

    def wait() -> None:
        while not manager.is_running and not manager.done.is_set():
            os.sched_yield()
        try:
            manager.wait_ready(timeout_s=WAIT_S)
        except Exception as error:  # noqa: BLE001
            heard.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    with pytest.raises(Exception, match="nobody"):
        manager.start()
    thread.join(WAIT_S)

    assert [str(error) for error in heard] == ["everything has ended"]


# A critical worker's open breaker, and the end that it leads to.


@pytest.mark.parametrize("max_restarts", [1, 2])
def test_a_critical_worker_that_trips_is_told_like_any_other(
    manager: Manager, max_restarts: int
) -> None:
    """Although everything is stopped in the same breath, or before anybody could listen."""
    trips: list[Trip] = []
    manager.on_trip(trips.append)
    manager.register(BAD, name="c", options=QUICK, critical=True, max_restarts=max_restarts)
    manager.start()

    with pytest.raises(CircuitBreakerTripped) as caught:
        manager.wait_ready(timeout_s=WAIT_S)

    assert (caught.value.name, caught.value.failures) == ("c", max_restarts)
    assert caught.value.reason == "exit 3"
    with pytest.raises(CriticalWorkerFailed):
        manager.wait(WAIT_S)
    wait_until(lambda: trips, what="the handler was called")
    assert [(trip.name, trip.failures, trip.reason) for trip in trips] == [
        ("c", max_restarts, "exit 3")
    ]
    with pytest.raises(CircuitBreakerTripped):
        manager.wait_ready("c")


def test_the_handler_of_a_critical_failure_may_start_it_again(manager: Manager) -> None:
    """Everything has been stopped by then, so it does not run any more."""
    outcomes: list[object] = []
    called = threading.Event()

    @manager.on_critical_failure
    def failed(_error: CriticalWorkerFailed) -> None:
        outcomes.append(manager.done.is_set())
        manager.on_critical_failure(lambda _: None)
        try:
            manager.start()
            outcomes.append("started")
        except Exception as error:  # noqa: BLE001
            outcomes.append(error)
        called.set()

    manager.register(BAD, name="c", options=QUICK, critical=True, max_restarts=1)
    manager.start()

    assert called.wait(WAIT_S)
    assert outcomes == [True, "started"]
