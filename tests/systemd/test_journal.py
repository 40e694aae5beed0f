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
STATE = "/var/lib/supervisord-lite"
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


#: Says who it is and counts, until it is told to stop; then on for a while, and a last word.
COUNTING = """#!/bin/sh
trap 'left=20' TERM
count=0
while [ "$left" != 0 ]; do
    echo "$$ $count"
    count=$((count + 1))
    left=${left:+$((left - 1))}
    sleep 0.02
done
echo "$$ last words"
"""


def by_run(machine: Machine, worker: str) -> dict[str, list[list[str]]]:
    """Return the words of each line, by run."""
    found: dict[str, list[list[str]]] = {}
    for entry in entries(machine, f"WORKER={worker}"):
        found.setdefault(entry["RUN"], []).append(message(entry).decode().split(maxsplit=1))
    return found


def test_two_processes_of_a_worker_that_is_replaced_have_runs_of_their_own(
    installed: Machine,
) -> None:
    """The new one starts before the old one ends: lines between each other, no two in one entry."""
    installed.write("/run/counting", COUNTING, mode=0o755)
    start(
        installed,
        """
[worker.shop]
command = ["/run/counting"]
ready = "spawned"
max_surge = 1
log = "journal"
""",
    )
    wait_until(lambda: len(by_run(installed, "shop").get("1", ())) > 5, what="the first speaks")
    installed.run("supervisord-lite", "restart", "--socket", SOCKET, "shop")

    def has_ended() -> bool:
        runs = by_run(installed, "shop")
        return runs["1"][-1][1] == "last words" and len(runs.get("2", ())) > 25

    wait_until(has_ended, what="the first has ended, and the second speaks", timeout_s=30)
    runs = by_run(installed, "shop")
    assert set(runs) == {"1", "2"}
    first, second = ({words[0] for words in runs[run]} for run in "12")
    assert (len(first), len(second)) == (1, 1), "each line has the run of who said it"
    assert first != second
    counted = [[int(n) for _, n in runs[run] if n != "last words"] for run in "12"]
    assert counted == [list(range(len(each))) for each in counted], "none lost, none doubled"
    order = [entry["RUN"] for entry in entries(installed, "WORKER=shop")]
    assert "1" in order[order.index("2") :], "both spoke at the same time"
    told = {(entry["RUN"], entry["INVOCATION_ID"]) for entry in entries(installed, "WORKER=shop")}
    assert len({invocation for _, invocation in told}) == len(told) == 2


TALKING = """
import os
from supervisord_lite.worker import context

def talk():
    print("<4>I am", context.name, "of", context.pool, "and", os.getpid(), flush=True)
    context.stopping.wait()
"""


def test_forked_processes_of_a_python_pool_have_their_own_names(installed: Machine) -> None:
    """And each restart is another run."""
    installed.write("/opt/talking/talking.py", TALKING)
    start(
        installed,
        """
[worker.crew]
python = "talking:talk"
directory = "/opt/talking"
pool_size = 2
log = "journal"
""",
    )

    def said(count: int) -> list[dict[str, Any]]:
        found = entries(installed, "POOL=crew")
        return found if len(found) >= count else []

    wait_until(lambda: said(2), what="both have spoken", timeout_s=30)
    installed.run("supervisord-lite", "restart", "--socket", SOCKET, "crew-2")
    found = wait_until(lambda: said(3), what="the second has spoken again", timeout_s=30)
    told = sorted(
        (e["WORKER"], e["SYSLOG_IDENTIFIER"], e["INSTANCE"], e["RUN"], e["PRIORITY"]) for e in found
    )
    assert told == [
        ("crew-1", "crew-1", "1", "1", "4"),
        ("crew-2", "crew-2", "2", "1", "4"),
        ("crew-2", "crew-2", "2", "2", "4"),
    ]
    for entry in found:
        words = message(entry).decode().split()
        assert words[:5] == ["I", "am", entry["WORKER"], "of", "crew"]
    assert len({message(entry) for entry in found}) == 3, "three processes"


def test_a_reload_leads_output_to_the_journal_and_back(installed: Machine) -> None:
    """The worker goes on: one process, and each line is in one of the two."""
    installed.write("/run/counting", COUNTING, mode=0o755)
    table = '[worker.till]\ncommand = ["/run/counting"]\nready = "spawned"\n'
    to_file = f'{table}log.stdout = "/var/log/supervisord-lite/till.log"\n'
    to_journal = f'{table}log = "journal"\n'

    def ctl(*words: str) -> str:
        return installed.run("supervisord-lite", *words).stdout

    def in_file() -> list[str]:
        return installed.read("/var/log/supervisord-lite/till.log").splitlines()

    def reload(text: str, place: str) -> None:
        installed.write(CONFIG, text)
        shown = ctl("check", "-c", CONFIG, "--show", "till").splitlines()
        assert [line.split()[2] for line in shown if line.startswith("log.stdout =")] == [place]
        planned = ctl("reload", "--dry-run", "--socket", SOCKET)
        assert "~ till reopen, 1 pid kept" in planned, planned
        ctl("reload", "--socket", SOCKET)
        assert f"log.stdout = {place}\n" in installed.read(f"{STATE}/effective.toml")

    start(installed, to_file)
    wait_until(lambda: len(in_file()) > 3, what="it speaks to the file")
    reload(to_journal, '"journal"')
    wait_until(lambda: len(entries(installed, "WORKER=till")) > 3, what="to the journal")
    before = len(in_file())
    reload(to_file, '"/var/log/supervisord-lite/till.log"')
    wait_until(lambda: len(in_file()) > before + 3, what="to the file again")
    installed.systemctl("stop", UNIT)
    lines = [message(entry).decode() for entry in entries(installed, "WORKER=till")]
    pid = lines[0].split()[0]
    kept = in_file()
    assert kept[-1] == f"{pid} last words"
    assert sorted([*kept[:-1], *lines], key=lambda line: int(line.split()[1])) == [
        f"{pid} {number}" for number in range(len(kept) - 1 + len(lines))
    ]
