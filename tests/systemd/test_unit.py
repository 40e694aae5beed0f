"""The product under a real systemd, with the unit file as it is shipped."""

import json
import signal
from typing import Any

import pytest

from tests.support.leftovers import is_alive
from tests.support.systemd import Machine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root, pytest.mark.slow]

UNIT = "supervisord-lite.service"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"
SOCKET = "/run/supervisord-lite/control/control.sock"
#: Ready soon after the spawn, so that "ready" is a state of its own and the test is quick.
THREE_WORKERS = """
[defaults]
ready = "100ms"
[worker.web]
command = ["/bin/sleep", "100000"]
pool_size = 2
[worker.tree]
command = ["/bin/sh", "-c", "setsid sleep 100000 & exec sleep 100000"]
"""


def start(machine: Machine) -> None:
    machine.write(CONFIG, THREE_WORKERS)
    machine.systemctl("start", UNIT)


def status(machine: Machine) -> dict[str, Any]:
    done = machine.run("supervisord-lite", "status", "--json", "--socket", SOCKET)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def pids(answer: dict[str, Any]) -> dict[str, int]:
    return {worker["name"]: worker["pid"] for worker in answer["workers"]}


def test_start_returns_when_every_worker_is_ready(installed: Machine) -> None:
    """`systemctl start` waits for the workers; each has a cgroup of its own below the unit's."""
    start(installed)

    shown = installed.show(UNIT, "ActiveState", "SubState", "StatusText")
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running")
    assert "3 running" in shown["StatusText"]
    answer = status(installed)
    assert [worker["ready"] for worker in answer["workers"]] == [True] * 3
    assert answer["supervisor"]["keeper_pid"] == installed.main_pid(UNIT)
    unit_cgroup = installed.unit_cgroup(UNIT)
    assert unit_cgroup is not None
    homes = {
        str(path.parent)
        for path in unit_cgroup.rglob("cgroup.procs")
        for pid in pids(answer).values()
        if str(installed.host_pid(pid)) in path.read_text().split()
    }
    assert len(homes) == 3, homes
    assert str(unit_cgroup) not in homes


def test_reload_touches_what_changed_and_fails_for_a_bad_file(installed: Machine) -> None:
    """`systemctl reload` returns when the file is in force, and fails when it is refused."""
    start(installed)
    before = pids(status(installed))
    installed.write(CONFIG, THREE_WORKERS.replace("pool_size = 2", "pool_size = 3"))
    installed.systemctl("reload", UNIT)
    after = pids(status(installed))
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"web-3"}

    installed.write(CONFIG, "[worker.web]\nnonsense = 1\n")
    refused = installed.run("systemctl", "reload", UNIT, check=False)
    assert refused.returncode != 0
    assert 'unknown key "nonsense"' in installed.journal(UNIT)
    answer = status(installed)
    assert set(pids(answer)) == set(after)
    assert answer["supervisor"]["config_errors"]["count"] >= 1
    shown = installed.show(UNIT, "ActiveState", "SubState")
    assert shown == {"ActiveState": "active", "SubState": "running"}


def test_stop_leaves_nothing(installed: Machine) -> None:
    """After `systemctl stop` no process of any worker's tree lives and the cgroup is gone."""
    start(installed)
    unit_cgroup = installed.unit_cgroup(UNIT)
    assert unit_cgroup is not None
    outside = [
        int(word) for path in unit_cgroup.rglob("cgroup.procs") for word in path.read_text().split()
    ]
    assert len(outside) >= 3 + 4, "keeper, supervisor, scribe; three workers and a child of one"

    installed.systemctl("stop", UNIT)

    assert [pid for pid in outside if is_alive(pid)] == []
    wait_until(lambda: not unit_cgroup.exists(), what="the unit's cgroup is gone")
    shown = installed.show(UNIT, "ActiveState", "Result")
    assert shown == {"ActiveState": "inactive", "Result": "success"}


def test_a_killed_supervisor_costs_no_worker(installed: Machine) -> None:
    """`kill -9` of the supervisor: same workers, same main process, no restart of the unit."""
    start(installed)
    before = status(installed)
    main_pid = installed.main_pid(UNIT)
    assert before["supervisor"]["pid"] != main_pid

    installed.kill(before["supervisor"]["pid"], signal.SIGKILL)
    after = wait_until(
        lambda: (
            answer
            if (answer := status(installed))["supervisor"]["pid"] != before["supervisor"]["pid"]
            else None
        ),
        what="a new supervisor answers",
        on_timeout=lambda: installed.journal(UNIT),
    )

    assert pids(after) == pids(before)
    assert all(worker["ready"] for worker in after["workers"])
    assert installed.main_pid(UNIT) == main_pid
    shown = installed.show(UNIT, "NRestarts", "ActiveState", "SubState")
    assert shown == {"NRestarts": "0", "ActiveState": "active", "SubState": "running"}


def test_the_unit_file_has_no_mistake(installed: Machine) -> None:
    """`systemd-analyze verify` has nothing to say about it."""
    done = installed.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}", check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
