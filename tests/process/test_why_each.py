"""`why` for each way in which a worker can come to be as it is: cause, what decided, the way on.

Out of memory is in test_daemon_recycle.py, where a memory controller counts it.
"""

import json
import os
import pwd
import re
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.programs import PYTHON

pytestmark = pytest.mark.process

#: Says that it is ready, and never anything again.
SILENT = (
    "import os, socket, time\n"
    "own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "own.connect(os.environ['NOTIFY_SOCKET']); own.send(b'READY=1')\n"
    "while True: time.sleep(100)\n"
)
WORKERS = f"""
[defaults]
max_restarts = 1
ready = "spawned"
backoff.min = "10ms"

[worker.code]
command = ["sh", "-c", "echo no license; exit 3"]
ready = "1s"

[worker.signal]
command = ["sh", "-c", "kill -SEGV $$"]

[worker.heartbeat]
command = {json.dumps([*PYTHON, SILENT])}
ready = "notify"
heartbeat_timeout = "500ms"

[worker.health]
command = ["sleep", "1000"]
ready = "spawned"
health.exec = ["sh", "-c", "echo database is locked; exit 4"]
health.interval = "100ms"
health.failures = 2

[worker.stage]
command = ["/nonexistent/program"]
max_restarts = 5

[worker.behind]
command = ["sleep", "1000"]
requires = ["code"]

[worker.operator]
command = ["sleep", "1000"]

[worker.breaker]
command = ["sh", "-c", "exit 1"]
max_restarts = 3

[worker.job]
command = ["true"]
schedule.every = "1h"
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """All of them, each in its state."""
    with Daemon(WORKERS) as made:
        for name in ("code", "signal", "heartbeat", "health", "breaker"):
            made.wait_state(name, "tripped", timeout_s=30)
        made.wait_state("stage", "backoff", timeout_s=30)
        made.wait_state("operator", "running")
        made.ctl("stop", "operator", check=True)
        yield made


ME = f"{pwd.getpwuid(os.getuid()).pw_name} (uid {os.getuid()})"


@pytest.mark.parametrize(
    ("name", "begins", "tells", "decided", "way"),
    [
        ("code", "code is TRIPPED since", ["exit 3 after", "no license"], "max_restarts 1",
         "reset code"),
        ("signal", "signal is TRIPPED since", ["killed by SIGSEGV"], "max_restarts 1",
         "reset signal"),
        ("heartbeat", "heartbeat is TRIPPED since", ["no heartbeat for 0.5s"],
         'heartbeat_timeout "500ms"', "reset heartbeat"),
        ("health", "health is TRIPPED since",
         ["health: exit 4: database is locked, 2 times"], "health.failures 2", "reset health"),
        ("stage", "stage is in BACKOFF since",
         ["no such file: /nonexistent/program"], "backoff.max", "mend it"),
        ("behind", "behind is WAITING since", ["it requires code", "tripped: exit 3"], "",
         "why code"),
        ("operator", "operator is STOPPED since", [f"by {ME}: stop operator"], "",
         "start operator"),
        ("breaker", "breaker is TRIPPED since",
         ["failure 1 of 3", "failure 3 of 3", "tripped  3 failures"], "max_restarts 3",
         "reset breaker"),
        ("job", "job is WAITING for its schedule", ["next"], "schedule.every", ""),
    ],
)  # fmt: skip
def test_why(
    daemon: Daemon, name: str, begins: str, tells: list[str], decided: str, way: str
) -> None:
    """First how it is; the cause in its story; what decided, with its place; what to type."""
    text = daemon.ctl("why", name, check=True).stdout
    shown = text.replace(f" --socket {daemon.control_path}", "")
    assert text.startswith(begins), text
    words = re.sub(r"\s+", " ", shown)
    for each in tells:
        assert re.sub(r"\s+", " ", each) in words, text
    if decided:
        behind = shown.partition("\ndecided by\n")[2]
        assert re.search(rf"(?m)^  .*{re.escape(decided)}", behind), text
        assert re.search(r"supervisord-lite\.toml:\d+|default", behind), text
    assert way in shown, text
    # Paths stay whole, for people copy them.
    long = [line for line in shown.splitlines() if len(line) > 80 and "/" not in line]
    assert long == []
    assert "\x1b" not in text
