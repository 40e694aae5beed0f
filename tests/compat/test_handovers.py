"""What a keeper of another version hands over is taken up: a package is replaced under it."""

import json
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.core.states import Backoff, Exited, Stopping, Tripped
from supervisord_lite.supervisor.adoption import build_fleet, handover_of
from supervisord_lite.supervisor.outbox import Outbox
from tests.support.core import FixedRng
from tests.support.supervisor import HandClock, collecting

HERE = Path(__file__).parent


@pytest.fixture
def said() -> dict[str, Any]:
    """Return what the first keeper said of: a stop, failures, a one-shot, and one taken out."""
    text = (HERE / "handover_1.json").read_text()
    return {**json.loads(text), "of_a_later_version": [1]}


def test_the_first_keeper_is_understood(said: dict[str, Any]) -> None:
    """Each worker is where it was: those that stop, wait, have tripped or ended, and who leaves."""
    handover = handover_of(said)
    assert handover.cgroup_runs is None
    fleet = build_fleet(handover, Outbox(collecting([])), HandClock(), FixedRng())
    assert fleet.unusable == {}
    states = {f"{pool}-{index}": worker.state for (pool, index), worker in fleet.workers.items()}
    assert {name: type(state) for name, state in states.items()} == {
        "web-1": Stopping, "web-2": Backoff, "web-3": Stopping,
        "db-1": Tripped, "job-1": Exited, "old-1": Stopping,
    }  # fmt: skip
    assert states["db-1"] == Tripped(101.0, 161.0)
    assert fleet.leaving == {("old", 1)}
    assert [len(worker.failures) for worker in fleet.workers.values()] == [0, 1, 0, 1, 0, 0]
