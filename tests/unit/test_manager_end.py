"""What a manager makes of the end of its daemon."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite import CriticalWorkerFailed
from supervisord_lite.manager.daemon import Daemon
from supervisord_lite.manager.errors import ManagerError
from supervisord_lite.manager.standing import Standing, standings_of_note
from supervisord_lite.scribe.note import LAST_ESCALATION


def a_note(pid: int) -> dict[str, Any]:
    ends = [{"reason": "exit 1"}, {"reason": "exit 3"}]
    return {
        "why": "critical worker db-2 tripped: exit 3 (failure 2 of 2)", "worker": "db-2",
        "pool": "db", "max_restarts": 2, "circuit_window_s": 600.0, "reason": "exit 3",
        "failures": 2,
        "workers": [{"name": "db-2", "failures": ends}, {"name": "db-1", "failures": []}],
        "daemon": {"pid": pid},
    }  # fmt: skip


@pytest.mark.parametrize("status", [75, -15])
def test_an_end_before_anybody_was_connected_is_told_from_the_note(
    tmp_path: Path, status: int
) -> None:
    """Also where our signal has met an interpreter that was about to end with 75."""
    trips: list[Standing] = []
    ends: list[ManagerError | None] = []
    daemon = Daemon(
        "x.toml", str(tmp_path), "/x/control.sock", empty_config_path=None,
        done=threading.Event(), on_trip=trips.append, on_end=ends.append,
    )  # fmt: skip
    daemon._process = subprocess.Popen(["/bin/true"])
    daemon._process.wait()
    if status == -15:
        daemon._asked.set()
        daemon._was_signalled = True
    (tmp_path / LAST_ESCALATION).write_text(json.dumps(a_note(daemon._process.pid)))

    daemon._end(status)

    assert [(trip.name, trip.instance, trip.failures, trip.reason) for trip in trips] == [
        ("db-2", 2, 2, "exit 3"),
        ("db-1", 1, 0, "exit 3"),
    ]
    (error,) = ends
    assert isinstance(error, CriticalWorkerFailed)
    assert error.name == "db-2"
    assert daemon.done.is_set()


@pytest.mark.parametrize("note", [{}, {"workers": 7}, {"workers": [None]}, {"workers": [{}]}])
def test_a_note_that_says_less_tells_of_nobody(note: dict[str, Any]) -> None:
    """It may have been lost, or come from another version."""
    assert standings_of_note(note) == []
