"""When a silent supervisor is replaced, and when it is only starved."""

import os

import pytest

from supervisord_lite.keeper import children
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.children import Child
from supervisord_lite.keeper.pulse import HANG_S, Pulse
from tests.support.keeper import replace_calls

TICKS = os.sysconf("SC_CLK_TCK")


class StatCalls(Calls):
    """A /proc with one process, whose state and CPU time the test says."""

    def __init__(self) -> None:
        self.state, self.cpu_s = "S", 0.0
        self._left = b""
        replace_calls(self, open=self._open, read=self._read, close_once=lambda _fd: None)

    def _open(self, path: str, _flags: int) -> int:
        if path != "/proc/7/stat":
            raise FileNotFoundError(path)
        zeros = " ".join(["0"] * 10)
        self._left = f"7 (sdl) ) {self.state} {zeros} {int(self.cpu_s * TICKS)} 0 0".encode()
        return 99

    def _read(self, _descriptor: int, _most: int) -> bytes:
        left, self._left = self._left, b""
        return left


@pytest.fixture
def calls() -> StatCalls:
    return StatCalls()


def test_one_question_at_a_time(calls: StatCalls) -> None:
    """Asking again while one is open does not start the clock again."""
    pulse = Pulse(calls)

    assert pulse.ask(7, 0.0) == {"ping": 1}
    assert pulse.ask(7, 5.0) is None
    assert pulse.deadline_s == HANG_S
    assert pulse.answered(1)
    assert pulse.ask(7, 6.0) == {"ping": 2}


def test_an_answer_to_an_older_question_is_none(calls: StatCalls) -> None:
    """A late pong does not vouch for now."""
    pulse = Pulse(calls)
    pulse.ask(7, 0.0)
    pulse.answered(1)
    pulse.ask(7, 1.0)

    assert not pulse.answered(1)
    assert pulse.deadline_s is not None


def test_another_supervisor_is_asked_anew(calls: StatCalls) -> None:
    """The question to a dead one is not the new one's debt."""
    pulse = Pulse(calls)
    pulse.ask(8, 0.0)

    assert pulse.ask(7, 9.0) == {"ping": 2}
    assert pulse.deadline_s == 9.0 + HANG_S


@pytest.mark.parametrize("state", ["S", "D", "T", "Z"])
def test_silence_is_a_hang(calls: StatCalls, state: str) -> None:
    """Asleep, stopped by a signal or in a dead call: no more than the time it has."""
    pulse = Pulse(calls)
    calls.state = state
    pulse.ask(7, 0.0)

    assert not pulse.is_hung(HANG_S - 0.1)
    assert pulse.is_hung(HANG_S)


def test_a_spin_is_a_hang(calls: StatCalls) -> None:
    """Runnable and using the CPU, but not answering."""
    pulse = Pulse(calls)
    calls.state = "R"
    pulse.ask(7, 0.0)
    calls.cpu_s = HANG_S * 0.9

    assert pulse.is_hung(HANG_S)


def test_a_slow_spin_is_a_hang_in_the_end(calls: StatCalls) -> None:
    """CPU time is counted from the question, over all extensions."""
    pulse = Pulse(calls)
    calls.state = "R"
    pulse.ask(7, 0.0)
    calls.cpu_s = HANG_S * 0.3
    assert not pulse.is_hung(HANG_S)
    calls.cpu_s = HANG_S * 0.6

    assert pulse.is_hung(2 * HANG_S)


def test_who_gets_no_cpu_is_not_killed_for_it(calls: StatCalls) -> None:
    """A starved process gets more time, though not for ever."""
    pulse = Pulse(calls)
    calls.state = "R"
    pulse.ask(7, 0.0)
    now_s, extensions = HANG_S, 0
    while not pulse.is_hung(now_s):
        now_s += HANG_S
        extensions += 1

    assert extensions == 6


def test_a_vanished_process_is_no_excuse(calls: StatCalls) -> None:
    """When /proc says nothing, silence is a hang."""
    pulse = Pulse(calls)
    pulse.ask(8, 0.0)

    assert pulse.is_hung(HANG_S)


def test_nobody_hangs_who_was_not_asked(calls: StatCalls) -> None:
    """Without a question there is no deadline."""
    pulse = Pulse(calls)
    assert not pulse.is_hung(1e9)
    pulse.ask(7, 0.0)
    pulse.forget()
    assert not pulse.is_hung(1e9)


def test_after_a_gap_the_whole_time_begins_again(calls: StatCalls) -> None:
    """The keeper was stopped: nobody can have answered."""
    pulse = Pulse(calls)
    pulse.ask(7, 0.0)

    pulse.forgive(100.0)

    assert not pulse.is_hung(100.0 + HANG_S - 0.1)
    assert pulse.is_hung(100.0 + HANG_S)
    pulse.forget()
    pulse.forgive(200.0)
    assert pulse.deadline_s is None


@pytest.mark.parametrize("watchdog_s", [3.0, 10.0, 30.0, 60.0])
def test_a_hang_is_over_before_systemd_loses_patience(calls: StatCalls, watchdog_s: float) -> None:
    """Answered just before, hung right after, asked a third later: a third is left to restart."""
    pulse = Pulse(calls, watchdog_s)
    asked_at_s = watchdog_s / 3  # after the last answer
    pulse.ask(7, asked_at_s)

    assert pulse.deadline_s is not None
    assert pulse.is_hung(pulse.deadline_s)
    assert pulse.deadline_s + children.LAST_WAIT_S <= watchdog_s * 2 / 3 + 1


def test_waits_between_early_deaths_double_up_to_a_second() -> None:
    """A death after an answer begins again at ten milliseconds."""
    child = Child(Calls(), "supervisor", 2)
    waits = []
    for _ in range(9):
        child.died(100.0)
        assert child.start_at_s is not None
        waits.append(round(child.start_at_s - 100.0, 3))

    assert waits == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]
    child.settled()
    child.died(100.0)
    assert child.start_at_s == 100.01
    assert child.early_deaths == 0
