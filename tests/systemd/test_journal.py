"""Workers whose output goes to a real journald."""

import json
import os
from typing import Any

import pytest

from tests.support.systemd import Machine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root, pytest.mark.slow]

UNIT = "supervisord-lite.service"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"
SOCKET = "/run/supervisord-lite/control/control.sock"
#: How often the scribe is killed while it sends.
KILLS = 5
#: One worker must not be cut off because it says much: the limit is the unit's.
NO_LIMIT = "[Service]\nLogRateLimitIntervalSec=0\n"


def entries(machine: Machine, *matches: str) -> list[dict[str, Any]]:
    """Return what the journal has, the oldest first."""
    done = machine.run("journalctl", "-a", "-o", "json", "--no-pager", *matches, timeout_s=120)
    return [json.loads(line) for line in done.stdout.split("\n") if line.startswith("{")]


def message(entry: dict[str, Any]) -> bytes:
    """Return the bytes of a message: text as it is, anything else as numbers."""
    found = entry["MESSAGE"]
    return found.encode() if isinstance(found, str) else bytes(found)


def start(machine: Machine, workers: str) -> None:
    machine.write(f"/etc/systemd/system/{UNIT}.d/rate.conf", NO_LIMIT)
    machine.systemctl("daemon-reload")
    machine.write(CONFIG, workers)
    machine.systemctl("start", UNIT)


def test_ten_megabytes_of_any_bytes_arrive_unchanged(installed: Machine) -> None:
    """Also while the scribe is killed: one line for each death may be there twice."""
    data = os.urandom(10 << 20).replace(b"\0", b"\x1b[31m") + b"\nend\n"
    (installed.shared / "bytes").write_bytes(data)
    # In pieces, and the last one after all the deaths: none of them comes too late.
    half = data.index(b"\n", len(data) // 2) + 1
    script = (
        f"head -c {half} {installed.shared}/bytes; "
        f"while [ ! -e {installed.shared}/rest ]; do echo again; sleep 0.05; done; "
        f"tail -c +{half + 1} {installed.shared}/bytes; exec sleep 100000"
    )
    start(
        installed,
        f"""
[worker.web]
command = ["/bin/sh", "-c", "{script}"]
ready = "spawned"
log.stdout = "journal"
log.level_prefix = false
""",
    )
    killed: list[str] = []
    while len(killed) < KILLS:
        (scribe,) = wait_until(
            lambda: [
                entry["_PID"]
                for entry in entries(installed, "WORKER=web", "-n", "1")
                if entry["_PID"] not in killed
            ],
            what="a scribe sends",
            timeout_s=60,
        )
        installed.run("kill", "-9", scribe)
        killed.append(scribe)
    (installed.shared / "rest").touch()
    wait_until(
        lambda: [message(e) for e in entries(installed, "WORKER=web", "-n", "1")] == [b"end"],
        what="the last line is there",
        timeout_s=120,
        every_s=0.2,
    )
    found, wanted = [], data.split(b"\n")[:-1]
    doubled, begun, last = 0, b"", ("", b"")
    for entry in entries(installed, "WORKER=web"):
        scribe, last = last, (entry["_PID"], message(entry))
        if scribe[0] != last[0] and scribe[1] == last[1] != b"again":
            doubled += 1  # what the dead one had sent and not noted
            continue
        begun += last[1]
        if "PARTIAL" not in entry:
            found.append(begun)
            begun = b""
    found = [line for line in found if line != b"again"]
    pairs = enumerate(zip(found, wanted, strict=False))
    odd = next((number for number, (one, other) in pairs if one != other), -1)
    assert (len(found), odd) == (len(wanted), -1), "lost, doubled, cut or in another order"
    assert doubled <= KILLS


def test_fields_priorities_and_the_restart_of_journald(installed: Machine) -> None:
    """Whose it is, which run, how urgent; lines wait while journald is restarted."""
    script = "echo hello; echo '<3>bad'; while read -r line; do echo $line; done < /run/words"
    installed.run("mkfifo", "/run/words")
    start(
        installed,
        f'''
[worker.db]
command = ["/bin/sh", "-c", "{script}"]
ready = "spawned"
log = "journal"
''',
    )
    wait_until(lambda: len(entries(installed, "WORKER=db")) >= 2, what="it has spoken")
    first, second = entries(installed, "WORKER=db")[:2]
    assert (message(first), first["PRIORITY"]) == (b"hello", "6")
    assert (message(second), second["PRIORITY"]) == (b"bad", "3")
    assert {
        "SYSLOG_IDENTIFIER": "db", "POOL": "db", "INSTANCE": "1", "RUN": "1", "STREAM": "stdout",
        "_SYSTEMD_UNIT": UNIT, "_COMM": "sdl-scribe",
    }.items() <= first.items()  # fmt: skip
    assert len(first["INVOCATION_ID"]) == 32
    installed.systemctl("stop", "systemd-journald.socket", "systemd-journald.service", check=False)
    installed.run("/bin/sh", "-c", "(echo waits; exec sleep 30) > /run/words 2>&1 &")
    installed.systemctl("start", "systemd-journald.socket", "systemd-journald.service")
    wait_until(
        lambda: message(entries(installed, "WORKER=db")[-1]) == b"waits",
        what="what has waited is there",
        timeout_s=30,
    )
    shown = installed.run("supervisord-lite", "logs", "--socket", SOCKET, "db").stdout
    assert shown == "hello\n<3>bad\nwaits\n"
