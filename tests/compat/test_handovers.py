"""What a keeper of another version hands over is taken up: a package is replaced under it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.base import resident
from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Running,
    Scheduled,
    Starting,
    Stopping,
    Tripped,
)
from supervisord_lite.supervisor.adoption import build_fleet, handover_of
from supervisord_lite.supervisor.outbox import Outbox
from supervisord_lite.wire.channel import PROTOCOL
from tests.support.by_hand import HandClock
from tests.support.core import FixedRng
from tests.support.supervisor import collecting

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


def test_the_second_keeper_is_understood() -> None:
    """A run beside another, jobs, health, listeners, forks and an upgrade that was ordered."""
    said = json.loads((HERE / "handover_2.json").read_text())
    handover = handover_of(said)
    assert (handover.protocol, handover.keeper_version) == (1, "0.1.0")
    fleet = build_fleet(handover, Outbox(collecting([])), HandClock(), FixedRng())
    assert fleet.unusable == {}
    states = {f"{pool}-{i}": type(worker.state) for (pool, i), worker in fleet.workers.items()}
    assert states == {
        "web-1": Running, "web-2": Running, "db-1": Running, "nightly-1": Scheduled,
        "often-1": Running, "bad-1": Tripped, "rank-1": Starting, "rank-2": Starting,
        "rank-3": Starting, "ears-1": Stopping,
    }  # fmt: skip
    assert [slot for slot, twin in fleet.twins.items() if isinstance(twin.state, Starting)] == [
        ("web", 1)
    ]
    specs = fleet.specs
    assert specs["nightly"].policy.schedule is not None
    assert specs["web"].health is not None
    assert specs["web"].launch.sockets
    assert specs["ears"].events == ("worker.*",)
    assert specs["rank"].launch.python is not None


@pytest.mark.parametrize("name", ["handover_1.json", "handover_2.json"])
def test_a_dry_start_of_this_version_finds_nothing_wrong(name: str) -> None:
    """Everything that a supervisor builds is built; no record is lost."""
    memory = memory_file((HERE / name).read_bytes())
    try:
        done = subprocess.run(
            resident.arguments_for("trial", str(memory)), pass_fds=[memory], env={},
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    finally:
        os.close(memory)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["protocol"], answer["unusable"]) == (PROTOCOL, {})
