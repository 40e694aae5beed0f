"""`doctor` on a box on which something is wrong: what it says to type mends it."""

import json
import re
import shlex
from collections.abc import Generator

import pytest

from tests.support.systemd import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root, pytest.mark.slow]

UNIT = "supervisord-lite.service"
UNITS = "/etc/systemd/system"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"
PROGRAM = "/opt/a shop/serve"
SLEEP = 'command = ["/bin/sleep", "100000"]\nready = "spawned"\n'
#: Takes long to stop, slow to trip, has a schedule without a zone, and a program that stands open.
WORKERS = f"""
[worker.slow]
{SLEEP}stop_timeout = "3m"
limits.memory = "1G"
[worker.key]
{SLEEP}critical = true
backoff.min = "5m"
circuit_window = "2h"
[worker.nightly]
command = "/bin/true"
schedule = "@daily"
[worker.shop]
command = ["{PROGRAM}"]
autostart = false
[worker.talks]
{SLEEP}log = "journal"
[worker.many]
{SLEEP}pool_size = 30
autostart = false
"""
BAD_UNIT = """
[Unit]
StartLimitIntervalSec=20min
[Service]
Type=exec
KillMode=control-group
OOMPolicy=stop
Delegate=no
TimeoutStopSec=20s
RestartPreventExitStatus=
RuntimeDirectoryPreserve=no
"""


@pytest.fixture
def machine(installed: Machine) -> Generator[Machine]:
    """The time zone is there again afterwards, and journald listens."""
    yield installed
    installed.run(
        "sh", "-c", "[ ! -e /etc/localtime.aside ] || mv /etc/localtime.aside /etc/localtime"
    )
    installed.systemctl("start", "systemd-journald.socket", "systemd-journald.service")
    installed.run("rm", "-rf", "/opt/a shop")


def everything(machine: Machine, *words: str) -> list[dict[str, str]]:
    """Return what is found."""
    done = machine.run("supervisord-lite", "doctor", "--json", *words, check=False)
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return found


def doctor(machine: Machine, *words: str) -> list[dict[str, str]]:
    """Return what is found, but for what no test can change: this machine's clock and kernel."""
    return [
        each
        for each in everything(machine, *words)
        if "synchronised" not in each["text"] and "NOT ENFORCED" not in each["text"]
    ]


def obey(machine: Machine, remedies: list[str]) -> None:
    """Type the first thing that each remedy names."""
    for remedy in remedies:
        said = re.match(r"systemctl edit (\S+), below \[(\w+)\]: ([^,]+)", remedy)
        if said:
            unit, section, line = said.groups()
            path = f"{UNITS}/{unit}.service.d/zz-typed.conf"
            machine.run(
                "sh", "-c", 'mkdir -p "${0%/*}" && printf "[%s]\\n%s\\n" "$1" "$2" >> "$0"',
                path, section, line,
            )  # fmt: skip
        else:
            first = remedy.partition(", or ")[0]
            assert shlex.split(first), remedy
            if not first.startswith("timedatectl"):  # needs a service of the box's
                machine.run("sh", "-ec", first)
            else:
                machine.run("mv", "/etc/localtime.aside", "/etc/localtime")
    machine.systemctl("daemon-reload")


def test_each_remedy_mends_what_it_is_for(machine: Machine) -> None:
    """Everything that can be wrong with a unit, its file's permissions and the box, at once."""
    machine.write(PROGRAM, "#!/bin/sh\nexec sleep 100000\n", mode=0o777)
    machine.write(CONFIG, WORKERS)
    machine.write(f"{UNITS}/{UNIT}.d/limit.conf", "[Service]\nLimitNOFILE=100\n")
    machine.run("chown", "games", CONFIG)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", UNIT)
    machine.run("chmod", "o+w", "/etc/supervisord-lite")
    machine.write(f"{UNITS}/{UNIT}.d/bad.conf", BAD_UNIT)
    machine.systemctl("daemon-reload")
    machine.write(f"{UNITS}/{UNIT}.d/later.conf", "[Service]\nNice=1\n")
    machine.run("mv", "/etc/localtime", "/etc/localtime.aside")
    machine.systemctl("stop", "systemd-journald.socket", "systemd-journald.service", check=False)

    found = doctor(machine)

    said = {
        (each["level"], each["about"], each["text"].split(":")[0].split(",")[0]) for each in found
    }
    for level, about, beginning in (
        ("error", "descriptors", "35 processes may need"),
        ("error", "journald", "talks log to the journal"),
        ("error", "unit", "Type=exec"),
        ("error", "unit", "KillMode=control-group"),
        ("error", "unit", "OOMPolicy=stop"),
        ("error", "unit", "RuntimeDirectoryPreserve=no"),
        ("error", "stop time", "an ordered stop may take 3m"),
        ("error", "permissions", "everybody may change the folder /etc/supervisord-lite"),
        ("error", "permissions", f"uid 5 may change the file {CONFIG}"),
        ("error", "permissions", f"everybody may change the file {PROGRAM}"),
        ("warning", "delegation", "without cgroups of their own"),
        ("warning", "unit", "systemd would start it again after 2"),
        ("warning", "unit", "the unit's file has changed"),
        ("warning", "start limit", "critical worker key takes"),
        ("note", "clock", "nightly has a schedule"),
    ):  # fmt: skip
        matching = {
            each for each in said if each[:2] == (level, about) and each[2].startswith(beginning)
        }
        assert len(matching) == 1, (level, about, beginning, sorted(said))
        said -= matching
    assert said == set()

    obey(machine, [each["remedy"] for each in found])
    machine.systemctl("restart", UNIT)

    assert doctor(machine) == []


def test_what_is_asked_of_a_unit_is_told_too(machine: Machine) -> None:
    """A stop that systemd is asked for more time for; no answer; a bad file; no unit."""
    machine.write(CONFIG, WORKERS.replace("5m", "5s"))
    machine.run("install", "-D", "/bin/true", PROGRAM)
    found = doctor(machine)
    assert [(each["level"], each["about"]) for each in found] == [
        ("note", "daemon"),
        ("note", "stop time"),
    ]
    obey(machine, [found[0]["remedy"]])  # systemctl start
    (note,) = doctor(machine)
    assert (note["level"], note["about"]) == ("note", "stop time")
    obey(machine, [note["remedy"]])
    assert doctor(machine) == []

    done = machine.run("supervisord-lite", "doctor", "--json", check=False)
    looked_at = set(json.loads(done.stdout)["looked_at"])
    assert {"unit", "stop time", "start limit", "limits", "trees"} <= looked_at

    # What is so of this machine, whatever that is.
    found = everything(machine)
    limits = [each["text"] for each in found if each["about"] == "limits"]
    has_memory = "memory" in machine.read("/sys/fs/cgroup/cgroup.controllers").split()
    told = "limits of slow: memory 1.0G NOT ENFORCED: no memory controller here"
    assert limits == ([] if has_memory else [told])
    words = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
    is_synchronised = machine.run(*words).stdout.strip() == "yes"
    machine.systemctl("stop", "systemd-timedated")  # which the question has started
    assert any("not synchronised" in each["text"] for each in found) != is_synchronised

    (error,) = doctor(machine, "--socket", "/run/none")
    assert error["text"].endswith("though its unit is active")
    obey(machine, [error["remedy"]])  # a look

    machine.write(CONFIG, "[worker.web]\ncomand = 1\n")
    (error,) = doctor(machine)
    assert (error["level"], error["about"]) == ("error", "configuration")
    assert machine.run("sh", "-c", error["remedy"], check=False).returncode == 78

    machine.write(CONFIG, WORKERS.replace("5m", "5s"))
    machine.systemctl("stop", UNIT)
    machine.run("rm", "-r", f"{UNITS}/{UNIT}", f"{UNITS}/{UNIT}.d")
    machine.systemctl("daemon-reload")
    about = {each["about"]: each for each in doctor(machine)}
    assert about.keys() == {"daemon", "unit"}
    obey(machine, [about["unit"]["remedy"]])
    assert {each["about"] for each in doctor(machine)} == {"daemon", "stop time"}
