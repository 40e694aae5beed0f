"""The contract that this supervisor succeeds to: each row of it, and the tests that hold it here.

The labels are those of the contract's own rows. Where it is done better here than there (sliding
window, jitter within the maximum, wrong values refused), the row says so.
"""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

#: Label -> what is promised, and the tests that would fail without it.
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "GZ-01": (
        "defaults: pool 1, not critical, stable 30 s, five failures in ten minutes",
        (
            "unit/test_core_lifecycle.py::test_gz_01_defaults_are_the_promised_ones",
            "unit/test_config_load.py::test_one_line_is_enough",
        ),
    ),
    "GZ-02": (
        "a value given changes that field and no other",
        ("unit/test_config_load.py::test_every_key_arrives",),
    ),
    "GZ-03": (
        "zero and negative values are refused with key and line, never ignored",
        ("unit/test_config_errors.py::test_a_wrong_line_is_told",),
    ),
    "GZ-04": (
        "a pool has 1 to 1024 instances; more is refused, never clamped",
        (
            "unit/test_config_errors.py::test_a_wrong_line_is_told",
            "unit/test_core_hands.py::test_a_size_that_no_pool_can_have_is_refused_with_the_reason",
        ),
    ),
    "GZ-05": (
        "backoff: 1 s to 300 s, doubling, with jitter",
        ("unit/test_core_backoff.py::test_gz_05_defaults_are_1_s_to_300_s_doubling_with_jitter",),
    ),
    "GZ-06": (
        "without jitter the waits are 1, 2, 4, 8 s",
        (
            "unit/test_core_backoff.py::test_gz_06_without_jitter_the_waits_double",
            "unit/test_core_lifecycle.py::test_gz_06_waits_double_with_each_failure",
        ),
    ),
    "GZ-07": (
        "no wait exceeds the maximum, jitter included",
        (
            "unit/test_core_backoff.py::test_gz_07_no_wait_exceeds_the_maximum",
            (
                "unit/test_core_backoff.py"
                "::test_gz_07b_jitter_draws_from_the_upper_half_and_never_exceeds_the_maximum"
            ),
            (
                "property/test_core_arithmetic.py"
                "::test_waits_grow_and_stay_between_half_and_the_maximum"
            ),
        ),
    ),
    "GZ-08": (
        "after a reset the next wait is the minimum",
        ("unit/test_core_breaker.py::test_after_a_reset_the_next_wait_is_the_minimum",),
    ),
    "GZ-09": (
        "zero for minimum, maximum or factor is refused",
        ("unit/test_config_errors.py::test_a_wrong_line_is_told",),
    ),
    "GZ-10": (
        "a worker that always crashes is started exactly max_restarts times",
        (
            "unit/test_core_breaker.py::test_gz_10_and_e2e_03_max_restarts_n_means_n_starts",
            "process/test_daemon_lifecycle.py::test_the_fifth_failure_trips_and_only_reset_closes",
        ),
    ),
    "GZ-11": (
        "a restart is not immediate",
        ("unit/test_core_lifecycle.py::test_gz_11_the_restart_is_not_immediate",),
    ),
    "GZ-12": (
        "a stopped worker was started once, is stopped once, and stays down",
        (
            (
                "unit/test_core_stopping.py"
                "::test_gz_12_and_gz_17_a_stopped_worker_is_signalled_once_and_not_restarted"
            ),
        ),
    ),
    "GZ-13": (
        "after a stable run the next wait is the minimum again",
        (
            (
                "unit/test_core_lifecycle.py"
                "::test_gz_13_and_e2e_05_a_stable_run_begins_the_backoff_again"
            ),
        ),
    ),
    "GZ-14": (
        "a critical worker's open breaker is acted upon once",
        (
            "unit/test_core_fleet.py::test_a_critical_worker_whose_breaker_trips_ends_the_service",
            "unit/test_supervisor_order.py::test_an_escalation_is_decided_once",
        ),
    ),
    "GZ-15": (
        "a stop ends a backoff wait at once",
        ("unit/test_core_stopping.py::test_gz_15_a_stop_ends_a_backoff_wait_at_once",),
    ),
    "GZ-16": (
        "a stop before any start is harmless",
        ("unit/test_core_stopping.py::test_gz_16_stop_before_start_is_harmless",),
    ),
    "GZ-17": (
        "a stop signals once",
        (
            (
                "unit/test_core_stopping.py"
                "::test_gz_12_and_gz_17_a_stopped_worker_is_signalled_once_and_not_restarted"
            ),
        ),
    ),
    "GZ-18": (
        "whoever listens hears of a trip: of whom, when, how many failures, in which window",
        (
            "unit/test_core_breaker.py::test_a_trip_tells_all_that_a_listener_needs",
            "process/test_daemon_lifecycle.py::test_a_trip_is_told_with_its_name_and_time",
        ),
    ),
    "GZ-19": (
        "a trip needs no listener",
        ("unit/test_core_breaker.py::test_gz_10_and_e2e_03_max_restarts_n_means_n_starts",),
    ),
    "GZ-20": (
        "a listener's fault is that of one worker, and ends nothing else",
        (
            (
                "unit/test_supervisor_order.py"
                "::test_a_fault_of_one_worker_does_not_keep_the_next_from_its_turn"
            ),
        ),
    ),
    "GZ-22": (
        "a failed start names the stage and the reason",
        ("unit/test_core_breaker.py::test_a_trip_tells_all_that_a_listener_needs",),
    ),
    "GZ-23": (
        "each signal of a stop gets its whole time, however late it is sent",
        (
            (
                "unit/test_core_stopping.py"
                "::test_gz_23_a_late_wake_up_still_gives_each_signal_its_whole_time"
            ),
        ),
    ),
    "GZ-24": (
        "failures spread wider than the window do not trip; the window slides",
        (
            (
                "unit/test_core_breaker.py"
                "::test_gz_24_failures_spread_wider_than_the_window_do_not_trip"
            ),
            "unit/test_core_breaker.py::test_e2e_04_only_the_last_ten_minutes_count",
        ),
    ),
    "GZ-30": (
        "what is configured and started is started once",
        ("unit/test_core_fleet.py::test_workers_without_ties_start_together_and_once",),
    ),
    "GZ-31": (
        "two workers are both stopped, once each, and then all is over",
        ("unit/test_supervisor_order.py::test_an_ordered_stop_survives_the_supervisor",),
    ),
    "GZ-32": (
        "a pool of three has the names -1, -2, -3",
        ("process/test_daemon_lifecycle.py::test_pools_have_names_and_each_instance_its_own_log",),
    ),
    "GZ-33": (
        "a signal from outside ends everything",
        ("process/test_daemon_lifecycle.py::test_a_second_signal_stops_at_once",),
    ),
    "GZ-34": (
        "workers without an order among them start all at once",
        ("unit/test_core_fleet.py::test_workers_without_ties_start_together_and_once",),
    ),
    "GZ-35": (
        "a second start starts nothing twice",
        ("unit/test_core_fleet.py::test_workers_without_ties_start_together_and_once",),
    ),
    "GZ-37": (
        "a stop of what does not run is fine",
        ("unit/test_core_stopping.py::test_gz_16_stop_before_start_is_harmless",),
    ),
    "GZ-38": (
        "a fleet without workers is fine",
        ("unit/test_core_fleet.py::test_a_fleet_without_workers_starts_and_stops",),
    ),
    "GZ-39": (
        "a critical worker's end is seen by the daemon, whoever of its processes dies meanwhile",
        (
            (
                "unit/test_supervisor_order.py"
                "::test_a_tripped_critical_worker_ends_the_service_whoever_dies_meanwhile"
            ),
        ),
    ),
    "GZ-40": (
        "workers start after what they need, and stop before it",
        (
            (
                "process/test_daemon_order.py"
                "::test_a_fleet_comes_up_in_order_and_goes_down_in_the_other"
            ),
        ),
    ),
    "GZ-41": (
        "a critical worker's failure ends the process with a documented status",
        (
            (
                "process/test_daemon_order.py"
                "::test_a_critical_worker_that_trips_ends_the_service_with_75"
            ),
        ),
    ),
}


_MANAGER = "process/test_manager.py::"
_REGISTER = "unit/test_manager_register.py::"
_NOTE = "process/test_daemon_escalation.py::"

#: The same rows as the library keeps them, and what escalation adds.
LIBRARY_ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "GZ-01": (
        "an option that is not given is what the file's default is",
        (f"{_REGISTER}test_gz_01_defaults_are_those_of_the_configuration_file",),
    ),
    "GZ-02": (
        "each option changes itself alone, and options chain",
        (
            f"{_REGISTER}test_gz_02_each_option_changes_itself_alone_and_options_chain",
            f"{_REGISTER}test_every_option_arrives",
        ),
    ),
    "GZ-03, GZ-04, GZ-09": (
        "wrong values are refused by register, and nothing is added",
        (f"{_REGISTER}test_gz_03_04_09_wrong_values_are_refused_and_nothing_is_added",),
    ),
    "GZ-10": (
        "a worker that is not critical trips alone",
        (f"{_MANAGER}test_gz_10_a_worker_that_is_not_critical_trips_alone",),
    ),
    "GZ-14, GZ-39": (
        "the critical handler is called once, and may wait for anything",
        (f"{_MANAGER}test_gz_14_39_and_41_a_critical_failure_ends_all_and_is_told_once",),
    ),
    "GZ-16, GZ-37": (
        "stop before start, twice, or of what does not run",
        (f"{_MANAGER}test_gz_16_and_37_a_stop_of_what_does_not_run_is_fine",),
    ),
    "GZ-18, GZ-20, GZ-21": (
        "a trip is told with reason, count and last words; a handler's fault changes nothing",
        (f"{_MANAGER}test_gz_18_20_and_21_a_trip_is_told_with_the_last_words",),
    ),
    "GZ-22": (
        "a start that fails has a reason and no last words",
        (f"{_MANAGER}test_gz_22_a_command_that_is_missing_has_a_reason_and_no_last_words",),
    ),
    "GZ-30, GZ-31": (
        "registered, started once, stopped once, done",
        (f"{_MANAGER}test_gz_30_and_31_workers_start_once_and_stop_once",),
    ),
    "GZ-32": (
        "a pool of three has the names -1, -2, -3",
        (f"{_MANAGER}test_gz_32_a_pool_of_three_has_numbers",),
    ),
    "GZ-33": (
        "a stop from outside is done as soon as nothing lives",
        (f"{_MANAGER}test_gz_33_a_stop_from_outside_is_done",),
    ),
    "GZ-34": (
        "five workers start together",
        (f"{_MANAGER}test_gz_34_five_workers_start_without_waiting_for_each_other",),
    ),
    "GZ-35, GZ-36": (
        "a second start, and a registration while running, are an error and change nothing",
        (f"{_MANAGER}test_gz_35_and_36_a_second_start_or_a_late_registration_is_an_error",),
    ),
    "GZ-38": (
        "a start without workers is fine, and done",
        (f"{_MANAGER}test_gz_38_a_start_without_workers_is_fine_and_done",),
    ),
    "GZ-41": (
        "the exit status is 75 through every entrance, with the reason kept",
        (
            f"{_NOTE}test_the_reason_is_in_the_journal_and_in_a_file",
            f"{_NOTE}test_a_supervisor_killed_again_and_again_still_ends_with_75_and_the_reason",
            (
                "systemd/test_escalation.py"
                "::test_75_is_started_again_up_to_the_limit_and_then_somebody_is_told_once"
            ),
        ),
    ),
    "restart after stop": (
        "the lifecycle may be gone through again",
        (f"{_MANAGER}test_it_can_be_started_again_after_a_stop",),
    ),
}


#: All rows of the contract.
LABELS = {f"GZ-{number:02}" for number in (*range(1, 25), *range(30, 42))}
#: What only the library has, and what it leaves to the daemon.
OF_LIBRARY_ALONE = {"GZ-21", "GZ-36"}
OF_DAEMON_ALONE = {
    "GZ-05", "GZ-06", "GZ-07", "GZ-08", "GZ-11", "GZ-12", "GZ-13", "GZ-15", "GZ-17", "GZ-19",
    "GZ-23", "GZ-24", "GZ-40",
}  # fmt: skip


def labels_of(rows: Iterable[str]) -> list[str]:
    """Return the labels of a table, sorted; a row may have several."""
    return sorted(label for row in rows for label in row.split(", ") if label.startswith("GZ-"))


def test_no_row_of_the_contract_is_missing() -> None:
    """Whoever deletes one has to say where its promise went."""
    assert labels_of(ROWS) == sorted(LABELS - OF_LIBRARY_ALONE)
    assert labels_of(LIBRARY_ROWS) == sorted(LABELS - OF_DAEMON_ALONE)
    assert not OF_LIBRARY_ALONE & OF_DAEMON_ALONE


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the test functions of one file."""
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("label", LIBRARY_ROWS)
def test_each_row_is_kept_by_the_library_too(label: str) -> None:
    """As for the daemon."""
    _check_row(label, *LIBRARY_ROWS[label])


@pytest.mark.parametrize("label", ROWS)
def test_each_row_of_the_contract_is_held_by_tests_that_exist(label: str) -> None:
    """No row is lost when a test is renamed or removed."""
    _check_row(label, *ROWS[label])


def _check_row(label: str, promise: str, tests: tuple[str, ...]) -> None:
    assert promise
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        assert name in names_in(file), f"{label} ({promise}): {test} is gone"
