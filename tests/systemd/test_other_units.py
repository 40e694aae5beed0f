"""The other units: hardened, for one user, of a user, and with sockets of systemd's."""

import json
import os
import re
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.daemon import CHECKOUT
from tests.support.systemd import Machine
from tests.support.wait import wait_until
from tests.systemd.conftest import install_command

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root, pytest.mark.slow]

UNITS = "/etc/systemd/system"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"
USER = "games"
UID = 5
SLEEP = 'command = ["/bin/sleep", "100000"]\nready = "spawned"\n'
PYTHON = "/usr/bin/python3"
#: This checkout may stand in /tmp or below a home, which these units hide.
SEE_US = "[Service]\nBindReadOnlyPaths=" + " ".join(
    sorted({str(CHECKOUT), os.path.realpath(sys.prefix)})
)


@pytest.fixture
def machine(installed: Machine) -> Generator[Machine]:
    """Install the command for all users; what tests of this file install is gone behind them."""
    # The interpreter of these tests may stand where other users may not look.
    done = installed.run(
        PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))", check=False
    )
    if done.returncode:
        pytest.skip("needs a Python that every user can run, 3.11 or newer: install python3")
    install_command(installed, PYTHON)
    yield installed
    for unit in (f"supervisord-lite@{USER}.service", "supervisord-lite.socket"):
        installed.systemctl("stop", unit, check=False)
        installed.systemctl("reset-failed", unit, check=False)
    installed.run("sh", "-c", f"rm -rf {UNITS}/supervisord-lite*")
    installed.systemctl("daemon-reload")


def ctl(machine: Machine, *words: str) -> str:
    return machine.run("supervisord-lite", *words).stdout


def workers(machine: Machine, *which: str) -> dict[str, dict[str, object]]:
    answer = json.loads(ctl(machine, *which, "status", "--json"))
    return {worker["name"]: worker for worker in answer["workers"]}


def show_of(machine: Machine, pid: object, key: str) -> str:
    lines = machine.read(f"/proc/{pid}/status").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:"))


@pytest.mark.parametrize(
    ("words", "unit", "most", "told"),
    [
        ([], "supervisord-lite.service", 70, "says {} for the first"),
        (["--hardened"], "supervisord-lite.service", 33, "{} with the drop-in"),
        (["--name", USER], f"supervisord-lite@{USER}.service", 18, "{} for the instance"),
    ],
)
def test_units_are_as_closed_as_promised(
    machine: Machine, words: list[str], unit: str, most: int, told: str
) -> None:
    """`install-unit` writes them; their exposure is what the manual says."""
    machine.write(CONFIG, f"[worker.web]\n{SLEEP}")
    machine.run("rm", f"{UNITS}/supervisord-lite.service")
    said = ctl(machine, "install-unit", *words)
    assert f"enable --now {unit.removesuffix('.service')}\n" in said
    machine.systemctl("daemon-reload")
    done = machine.run("systemd-analyze", "security", f"--threshold={most}", unit, check=False)
    assert done.returncode == 0, done.stdout[-300:]
    if machine.run("systemctl", "--version").stdout.startswith("systemd 252 "):
        (score,) = re.findall(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
        assert told.format(score) in " ".join((CHECKOUT / "README.md").read_text().split())
    done = machine.run("systemd-analyze", "verify", unit, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_hardened_service_does_its_work(machine: Machine) -> None:
    """Workers run as their users, with limits and sockets; killed trees are gone; PSS is known."""
    text = (
        f'[worker.web]\n{SLEEP}user = "{USER}"\nlimits.nofile = 2000\n'
        'sockets.own = "unix:/run/supervisord-lite/own.sock"\n'
        '[worker.tree]\nready = "spawned"\nuser = "nobody"\n'
        'command = ["/bin/sh", "-c", "setsid sleep 100000 & exec sleep 100000"]\n'
    )
    machine.write(CONFIG, text)
    machine.write(f"{UNITS}/supervisord-lite.service.d/20-see-us.conf", SEE_US)
    ctl(machine, "install-unit", "--hardened")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "supervisord-lite")
    web = workers(machine)["web"]
    assert show_of(machine, web["pid"], "Uid").split()[0] == str(UID)
    assert show_of(machine, web["pid"], "NoNewPrivs") == "1"
    assert int(show_of(machine, web["pid"], "CapEff"), 16) == 0
    before = machine.pids()
    ctl(machine, "restart", "tree")
    left = [pid for pid in before & machine.pids() if pid == workers(machine)["tree"]["pid"]]
    assert left == []
    cgroup = machine.unit_cgroup("supervisord-lite.service")
    assert cgroup is not None
    ours = {pid for path in cgroup.rglob("cgroup.procs") for pid in path.read_text().split()}
    assert len(ours) >= 6  # the daemon's three, one of web, two of tree
    ctl(machine, "stop", "all")
    rest = {pid for path in cgroup.rglob("cgroup.procs") for pid in path.read_text().split()}
    commands = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in rest}
    assert "sleep" not in commands
    machine.systemctl("stop", "supervisord-lite")
    assert machine.show("supervisord-lite", "Result")["Result"] == "success"


def test_a_daemon_for_one_user_beside_that_of_the_box(machine: Machine) -> None:
    """`-i` finds it, its workers are niced, and it outlives a stop of the other."""
    machine.write(CONFIG, f"[worker.box]\n{SLEEP}")
    machine.write(f"/etc/supervisord-lite/{USER}.toml", f"[worker.own]\n{SLEEP}nice = 5\n")
    ctl(machine, "install-unit", "--name", USER)
    machine.write(f"{UNITS}/supervisord-lite@{USER}.service.d/see-us.conf", SEE_US)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "supervisord-lite", f"supervisord-lite@{USER}")
    assert set(workers(machine)) == {"box"}
    own = workers(machine, "-i", USER)["own"]
    assert show_of(machine, own["pid"], "Uid").split()[0] == str(UID)
    niceness = machine.run("ps", "-o", "ni=", "-p", str(own["pid"])).stdout
    assert int(niceness) == os.nice(0) + 5  # systemd itself was started by these tests
    assert int(show_of(machine, own["pid"], "CapBnd"), 16) == 0
    # Root asks, and it is the daemon's user whose folders these are.
    doctor = json.loads(ctl(machine, "-i", USER, "doctor", "--json"))
    assert [each for each in doctor["findings"] if each["level"] != "note"] == []
    machine.systemctl("stop", "supervisord-lite")
    assert workers(machine, "-i", USER)["own"]["pid"] == own["pid"]
    machine.write(f"/etc/supervisord-lite/{USER}.toml", f"[worker.other]\n{SLEEP}")
    machine.systemctl("reload", f"supervisord-lite@{USER}")
    assert set(workers(machine, "-i", USER)) == {"other"}


def test_sockets_of_systemd_start_the_service(machine: Machine) -> None:
    """The first connection starts it; the worker gets the socket by its name."""
    script = (
        "import socket, time; own = socket.socket(fileno=3)\n"
        "while True: own.accept()[0].sendall(b'here')"
    )
    command = json.dumps([PYTHON, "-c", script])
    machine.write(
        CONFIG, f'[worker.web]\ncommand = {command}\nready = "spawned"\n'
        'sockets.http = "systemd:http"\n',
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (CHECKOUT / "systemd/supervisord-lite.socket").read_text()
    assert "ListenStream=80\n" in text
    text = text.replace("ListenStream=80\n", f"ListenStream=127.0.0.1:{port}\n")
    machine.write(f"{UNITS}/supervisord-lite.socket", text)
    machine.systemctl("daemon-reload")
    done = machine.run("systemd-analyze", "verify", "supervisord-lite.socket", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    machine.systemctl("start", "supervisord-lite.socket")
    assert machine.show("supervisord-lite", "ActiveState")["ActiveState"] == "inactive"
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            assert client.recv(10) == b"here"
        machine.systemctl("restart", "supervisord-lite")
    machine.systemctl("stop", "supervisord-lite.socket")


def test_a_user_has_a_service_of_his_own(machine: Machine) -> None:
    """Under `systemctl --user`: install-unit, enable --now, status, reload, stop."""
    home = machine.run("sh", "-c", f"getent passwd {USER} | cut -d: -f6").stdout.strip()
    machine.systemctl("start", f"user@{UID}")
    own = [
        "setpriv", f"--reuid={UID}", "--regid=60", "--init-groups", "env", f"HOME={home}",
        f"XDG_RUNTIME_DIR=/run/user/{UID}",
    ]  # fmt: skip
    try:
        config = f"{home}/.config/supervisord-lite/supervisord-lite.toml"
        machine.write(config, f"[worker.own]\n{SLEEP}")
        machine.run("mkdir", "-p", f"{home}/.local/state")
        machine.run("chown", "-R", USER, f"{home}/.config", f"{home}/.local")
        machine.run(*own, "supervisord-lite", "install-unit")
        machine.run(*own, "systemctl", "--user", "daemon-reload")
        machine.run(*own, "systemctl", "--user", "start", "supervisord-lite")
        answer = machine.run(*own, "supervisord-lite", "status", "--json").stdout
        (worker,) = json.loads(answer)["workers"]
        assert show_of(machine, worker["pid"], "Uid").split()[0] == str(UID)
        words = (*own, "systemd-analyze", "--user", "verify", "supervisord-lite.service")
        done = machine.run(*words, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        doctor = json.loads(machine.run(*own, "supervisord-lite", "doctor", "--json").stdout)
        assert [each for each in doctor["findings"] if each["level"] != "note"] == []
        assert {"unit", "stop time", "start limit"} <= set(doctor["looked_at"])
        machine.run(*own, "systemctl", "--user", "reload", "supervisord-lite")
        machine.run(*own, "systemctl", "--user", "stop", "supervisord-lite")
        wait_until(lambda: worker["pid"] not in machine.pids(), what="nothing is left")
    finally:
        machine.systemctl("stop", f"user@{UID}", check=False)
        machine.run("rm", "-rf", f"{home}/.config", f"{home}/.local")


def test_what_the_manual_says_to_remove_is_all_there_is(machine: Machine) -> None:
    """Unit, drop-ins, state, logs, sockets and the link into PATH: nothing is found afterwards."""
    said = (CHECKOUT / "README.md").read_text().partition("To remove it,")[2]
    block = re.search(r"```sh\n(.*?)```", said, re.DOTALL)
    assert block is not None
    machine.write("/opt/supervisord-lite/bin/supervisord-lite", "")
    machine.run("mv", "/usr/bin/supervisord-lite", "/opt/supervisord-lite/bin/supervisord-lite")
    machine.run("ln", "-s", "/opt/supervisord-lite/bin/supervisord-lite", "/usr/local/bin/")
    machine.write(
        CONFIG, f'[supervisor]\nlog_dir = "/var/log/supervisord-lite"\n[worker.web]\n{SLEEP}'
    )
    machine.run("rm", f"{UNITS}/supervisord-lite.service")
    ctl(machine, "install-unit", "--hardened")
    machine.write(f"{UNITS}/supervisord-lite.service.d/20-see-us.conf", SEE_US)
    machine.systemctl("daemon-reload")
    machine.systemctl("enable", "--now", "supervisord-lite")
    assert set(workers(machine)) == {"web"}
    said = ctl(machine, "install-unit", "--hardened")
    assert "now:  systemctl daemon-reload && systemctl restart supervisord-lite\n" in said
    stranger = ("setpriv", f"--reuid={UID}", "--regid=60", "--clear-groups")
    done = machine.run(*stranger, "supervisord-lite", "status", check=False)
    assert (done.returncode, "one of root's" in " ".join(done.stderr.split())) == (3, True)

    machine.run("sh", "-ec", block[1].replace("sudo ", ""))

    places = ("/etc", "/var", "/run", "/opt", "/usr/local", "/tmp", "/root/.config", "/root/.local")
    known = {
        path for path in places if machine.run("test", "-d", path, check=False).returncode == 0
    }
    ours = [str(CHECKOUT), str(machine.shared.parent)]
    found = machine.run(
        "find", *sorted(known), "-xdev", "-name", "supervisord-lite*"
    ).stdout.split()
    assert [path for path in found if not path.startswith(tuple(ours))] == []
    assert machine.show("supervisord-lite", "LoadState")["LoadState"] == "not-found"
