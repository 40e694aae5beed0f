"""How long a loop was away, as it measures itself."""

import os
import time

import pytest

from supervisord_lite.base.stalls import LONG_S, Stalls
from supervisord_lite.keeper.poller import Poller as KeeperPoller
from supervisord_lite.supervisor.loops import Loops
from supervisord_lite.supervisor.metrics import metrics_text
from supervisord_lite.supervisor.poller import Poller as SupervisorPoller


def test_a_turn_lasts_from_waking_to_the_next_look() -> None:
    """What comes before the first sleep is no turn, and sleep is none either."""
    stalls = Stalls()
    stalls.looks(1000.0)
    stalls.woke(2000.0)
    stalls.looks(2000.0 + 2 * LONG_S)
    stalls.woke(3000.0)
    stalls.looks(3000.0 + LONG_S / 2)

    assert stalls.longest_s == pytest.approx(2 * LONG_S)
    assert stalls.count == 1


def readable() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def long_work() -> None:
    """Work for longer than a loop may."""
    end_s = time.monotonic() + LONG_S * 1.1
    while time.monotonic() < end_s:
        pass


def test_the_supervisors_loop_measures_what_it_calls() -> None:
    """A callback that takes its time is seen at the next look."""
    poller, reading = SupervisorPoller(), readable()
    poller.watch(reading, readable=long_work)
    poller.wait(0)
    assert poller.stalls.count == 0
    poller.unwatch(reading)
    poller.wait(0)
    assert poller.stalls.count == 1
    assert poller.stalls.longest_s > LONG_S
    os.close(reading)


def test_the_keepers_loop_measures_what_it_calls() -> None:
    """As the supervisor's does."""
    poller, reading = KeeperPoller(), readable()
    poller.watch(reading, 1, lambda _mask: long_work())
    poller.wait(0)
    poller.unwatch(reading)
    poller.wait(0)
    assert poller.stalls.count == 1
    assert poller.stalls.longest_s > LONG_S
    poller.close()
    os.close(reading)


def test_both_loops_are_told_of_as_soon_as_the_keeper_speaks() -> None:
    """One of an earlier version never does."""
    own = Stalls()
    loops = Loops(own)
    assert [loop["process"] for loop in loops.told()] == ["supervisor"]

    own.longest_s, own.count = 0.25, 3
    loops.take({"ping": 1})
    loops.take({"ping": 2, "stalls": [0.125, 1]})

    assert loops.told() == [
        {"process": "supervisor", "longest_stall_s": 0.25, "stalls": 3},
        {"process": "keeper", "longest_stall_s": 0.125, "stalls": 1},
    ]


@pytest.mark.parametrize("said", [{}, {"loops": None}, {"loops": Loops(Stalls()).told()}])
def test_metrics_have_them_where_a_daemon_measures(said: dict[str, object]) -> None:
    """A client meets daemons of earlier versions."""
    supervisor = {"version": "1", "state": "running", "generation": 1, "config_errors": None}
    text = metrics_text({"supervisor": {**supervisor, **said}, "workers": [], "now_s": 1.0})

    line = 'supervisord_lite_loop_longest_stall_seconds{process="supervisor"} 0.0'
    assert (line in text.splitlines()) == bool(said.get("loops"))
