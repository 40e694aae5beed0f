"""`upgrade` of a unit that runs: systemd sees the same service, active all the time."""

import json
from typing import Any

import pytest

from tests.support.installations import Installation, environment
from tests.support.systemd import Machine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root, pytest.mark.slow]

UNIT = "supervisord-lite.service"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"
SOCKET = "/run/supervisord-lite/control/control.sock"
WEB = '[worker.web]\ncommand = ["/bin/sleep", "100000"]\nready = "spawned"\npool_size = 2\n'
PROPERTIES = ("ActiveState", "SubState", "MainPID", "NRestarts", "ActiveEnterTimestampMonotonic")


def use(machine: Machine, to: Installation, verb: str, *words: str) -> Any:
    return machine.run(*to.argv, verb, "--socket", SOCKET, *words)


def pids(machine: Machine, to: Installation) -> dict[str, int]:
    status = json.loads(use(machine, to, "status", "--json").stdout)
    return {worker["name"]: worker["pid"] for worker in status["workers"]}


@pytest.mark.parametrize("words", [(), ("--keeper",)], ids=["keeper kept", "keeper replaced"])
def test_a_running_unit_is_upgraded(installed: Machine, words: tuple[str, ...]) -> None:
    """The same main process and workers, no restart; ready, and fed by the new version after it."""
    folder = installed.shared / f"new{len(words)}"
    new = Installation(folder, "9.1", python=environment(folder / "env"))
    installed.write(CONFIG, WEB)
    drop_in = "[Service]\nWatchdogSec=3\n"
    installed.write(f"/etc/systemd/system/{UNIT}.d/test.conf", drop_in)
    installed.systemctl("daemon-reload")
    installed.systemctl("start", UNIT)
    before, running = installed.show(UNIT, *PROPERTIES), pids(installed, new)

    told = json.loads(use(installed, new, "upgrade", "--json", *words).stdout)

    assert (told["ok"], told["to"], told["kept"]) == (True, "9.1", 2)
    assert told["unit_starts"] == {"unit": UNIT, "command": "/usr/bin/supervisord-lite"}
    assert installed.show(UNIT, *PROPERTIES) == before
    assert pids(installed, new) == running
    # Whoever is not heard of for longer than the watchdog waits is killed.
    fed = fed_at(installed)
    wait_until(lambda: fed_at(installed) > fed, what="the watchdog is fed", every_s=0.05)
    installed.systemctl("reload", UNIT, check=False)
    assert installed.show(UNIT, *PROPERTIES) == before
    installed.systemctl("stop", UNIT)
    shown = installed.show(UNIT, "Result", "ExecMainStatus")
    assert shown == {"Result": "success", "ExecMainStatus": "0"}


def fed_at(machine: Machine) -> int:
    return int(machine.show(UNIT, "WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"])
