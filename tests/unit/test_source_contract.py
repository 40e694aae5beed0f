"""The contract that this supervisor succeeds to: each row of it, and the tests that hold it here.

The labels are those of the contract's own rows. Where it is done better here than there (sliding
window, jitter within the maximum, wrong values refused), the row says so.
"""

import ast
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
        "whoever listens hears of a trip: how many failures, of how many, in which window",
        ("unit/test_core_breaker.py::test_a_trip_tells_all_that_a_listener_needs",),
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


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the test functions of one file."""
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("label", ROWS)
def test_each_row_of_the_contract_is_held_by_tests_that_exist(label: str) -> None:
    """No row is lost when a test is renamed or removed."""
    promise, tests = ROWS[label]
    assert promise
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        assert name in names_in(file), f"{label} ({promise}): {test} is gone"
