"""What people read about an end."""

import signal

import pytest

from supervisord_lite.base.signals import describe_end, name_of


@pytest.mark.parametrize("number", range(1, 32))
def test_names_are_those_of_this_machine(number: int) -> None:
    """status and why call a signal as kill -l does."""
    known = {known.value: known.name for known in signal.Signals}
    assert name_of(number) == known.get(number, "SIGSTKFLT")


def test_real_time_and_unknown_signals_have_names_too() -> None:
    """No number makes the report fail."""
    assert name_of(signal.SIGRTMIN) == "SIGRTMIN"
    assert name_of(signal.SIGRTMIN + 3) == "SIGRTMIN+3"
    assert name_of(signal.SIGRTMAX) == "SIGRTMIN+30"
    assert name_of(99) == "signal 99"


def test_an_end_is_a_code_a_signal_or_unknown() -> None:
    """Exit codes and signals are told apart."""
    assert describe_end(1, None) == "exit 1"
    assert describe_end(None, 9) == "SIGKILL"
    assert describe_end(None, None) == "unknown"
