"""Whatever workers, files and users say: no verb prints what a screen would obey."""

import json
import subprocess

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.process

#: Sets a title, clears the screen, turns the writing round, begins a sequence in one byte.
EVIL = "\x1b]0;x\x07\x1b[2J\u202e\x9b31m"
OBEYED = "\x1b\x07\u202e\x9b"
QUOTED = json.dumps(EVIL)[1:-1]
SAYS = f"""
import os, socket, time
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
own.connect(os.environ["NOTIFY_SOCKET"])
own.send(("READY=1\\nSTATUS=status {QUOTED}").encode())
time.sleep(1000)
"""
WORKERS = f"""
[defaults]
max_restarts = 1
[worker.says]
command = ["python3", "-IS", "@DIR@/says.py"]
ready = "notify"
[worker.raises]
python = "raises:now"
[worker.missing]
command = ["/no/such/{QUOTED}"]
[worker.lost]
command = ["sleep", "1000"]
directory = "/no/such/{QUOTED}"
"""


def lines(text: str) -> list[str]:
    """Return the lines in which a terminal would find something to do."""
    return [line for line in text.split("\n") if set(line) & set(OBEYED)]


def test_no_verb_prints_what_a_screen_would_obey() -> None:
    """Words of workers, reasons of failures, names, paths and lines of files that are wrong."""
    made = Daemon(WORKERS)
    (made.folder / "says.py").write_text(SAYS)
    (made.folder / "raises.py").write_text(f'def now():\n    raise ValueError("{QUOTED}")\n')
    found: dict[str, list[str]] = {}
    with made as daemon:
        daemon.wait_state("says", "running")
        for name in ("raises", "missing", "lost"):
            daemon.wait_state(name, "tripped")
        asked = [
            ["status"],
            ["status", "-a"],
            ["events"],
            [EVIL],
            ["status", EVIL],
            ["start", EVIL],
        ]
        for name in ("says", "raises", "missing", "lost"):
            asked += [["status", name], ["why", name], ["why", name, "--json"]]
        said = ""
        for words in asked:
            done = daemon.ctl(*words)
            said += done.stdout + done.stderr
            found[" ".join(words)] = lines(done.stdout + done.stderr)
        found["daemon"] = lines(daemon.output())
    assert "status \\x1b]0;x" in said  # it is shown, and harmless
    for text in (f"[worker.n]\ncommand = '{EVIL}'\n", f'[worker.n]\nuser = "{QUOTED}"\n'):
        evil = made.folder / f"{EVIL.replace('/', '')}.toml"
        evil.write_text(text)
        argv = [*made.argv, "check", "-c", str(evil)]
        done = subprocess.run(
            argv, capture_output=True, text=True, env=made.environment, check=False, timeout=30
        )
        assert done.returncode == 78
        found[f"check {text}"] = lines(done.stdout + done.stderr)

    assert {where: what for where, what in found.items() if what} == {}
