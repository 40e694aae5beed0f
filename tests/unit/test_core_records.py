"""What survives a supervisor, and what is refused."""

import json
from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.records import RecordError, from_record, to_record
from supervisord_lite.core.states import Backoff, LastExit, Running, State, Stopping, Worker
from tests.support.core import after_a_crash, every_state

WORKER = Worker(
    "web",
    2,
    Policy(),
    Backoff(9.0, 4.0),
    run=3,
    attempt=2,
    failures=(1.0, 5.0),
    restarts=7,
    last_exit=LastExit(None, 9, "SIGKILL", 5.0, 4.0, 4003),
)


@pytest.mark.parametrize("state", every_state())
def test_p6_each_state_survives_a_crash_unchanged(state: State) -> None:
    """Counts, waits and deadlines of a new supervisor are those of the old one."""
    worker = replace(WORKER, state=state)
    assert after_a_crash(worker) == worker
    assert after_a_crash(replace(worker, last_exit=None)).last_exit is None


def test_a_record_is_plain_json_without_the_policy() -> None:
    """The policy in force is the configuration's, not the record's."""
    assert json.loads(json.dumps(to_record(WORKER))) == {
        "v": 1,
        "pool": "web",
        "index": 2,
        "run": 3,
        "attempt": 2,
        "failures": [1.0, 5.0],
        "restarts": 7,
        "recycles": 0,
        "spent": 0,
        "recycle": "",
        "last_exit": {
            "code": None,
            "signal": 9,
            "reason": "SIGKILL",
            "at_s": 5.0,
            "ran_s": 4.0,
            "pid": 4003,
            "asked": False,
        },
        "state": {"is": "backoff", "retry_at_s": 9.0, "delay_s": 4.0, "after_failure": True},
    }


def test_fields_that_a_neighbouring_version_does_not_know_have_defaults() -> None:
    """An upgrade, and the way back from it, reads the other version's records."""
    record = to_record(replace(WORKER, state=Stopping(3, "stopped", "stop")))
    state: dict[str, Any] = {"is": "stopping", "run": 3, "outcome": "stopped", "reason": "stop"}
    record["state"] = {**state, "a_later_field": 1}
    assert from_record(record, Policy()).state == Stopping(3, "stopped", "stop")


def test_whole_numbers_serve_as_times() -> None:
    """JSON writers that turn 5.0 into 5 do no harm."""
    record = to_record(replace(WORKER, state=Running(3, 4003, 5, 6)))
    record["failures"] = [1, 5]
    restored = from_record(json.loads(json.dumps(record)), Policy())
    assert restored.failures == (1.0, 5.0)
    assert restored.state == Running(3, 4003, 5.0, 6.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"v": 2}, "has version 2; this version reads 1"),
        ({"v": None}, "has version None"),
        ({"run": "3"}, "run: '3' does not fit"),
        ({"run": True}, "run: True does not fit"),
        ({"pool": None}, "pool: None"),
        ({"failures": None}, "failures: None is not a list"),
        ({"failures": ["1"]}, "failures: '1' does not fit"),
        ({"last_exit": 3}, "last_exit: 3 is not an object"),
        ({"last_exit": {"code": 1}}, "lastexit.signal is missing"),
        ({"state": None}, "state: None is not an object"),
        ({"state": {}}, "state: {} is not known"),
        ({"state": {"is": "worker"}}, "is not known"),
        ({"state": {"is": "backoff", "delay_s": 1.0}}, "backoff.retry_at_s is missing"),
        ({"state": {"is": "stopped", "by_hand": 1}}, "stopped.by_hand: 1 does not fit"),
        ({"failures": [float("inf")]}, "failures: inf does not fit"),
        ({"state": {"is": "tripped", "at_s": float("nan")}}, "tripped.at_s: nan does not fit"),
        (
            {"state": {"is": "stopping", "run": 1, "outcome": "gone", "reason": ""}},
            "stopping.outcome: 'gone' does not fit",
        ),
    ],
)
def test_a_record_that_cannot_be_read_says_why(change: dict[str, object], words: str) -> None:
    """A damaged or newer record is refused with its field, never half believed."""
    with pytest.raises(RecordError, match=r"^saved record") as caught:
        from_record({**to_record(WORKER), **change}, Policy())
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)
