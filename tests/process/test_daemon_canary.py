"""One long life of a daemon that is given secrets, and everything that it has written or said."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.process.test_daemon_carry import kill_keeper
from tests.support.canary import CANARY, command_lines, environments_but_of, everything_of
from tests.support.daemon import Daemon
from tests.support.memory import memory_of
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

KEPT = 'secrets.TOKEN = "file:kept/token"\n'
QUICK = "backoff.min = '10ms'\nbackoff.max = '10ms'\nmax_restarts = 2\n"


def sh(script: str) -> str:
    return f'command = {json.dumps(["/bin/sh", "-c", script])}\nready = "spawned"\n'


#: Whoever is given it ends in another way: by itself, by a signal, never started, and for all.
WORKERS = (
    f"[worker.web]\n{KEPT}{sh('exec sleep 1000')}"
    f'[worker.files]\nsecrets_as = "files"\n{KEPT}{sh("exec sleep 1000")}'
    f"[worker.fails]\n{KEPT}{QUICK}{sh('exit 3')}"
    f"[worker.dumps]\n{KEPT}{QUICK}{sh('kill -SEGV $$')}"
    f'[worker.lost]\n{KEPT}{QUICK}{sh("exit 0")}directory = "/nowhere"\n'
    f'[worker.raises]\npython = "raises:now"\n{KEPT}{QUICK}'
    f"[worker.db]\ncritical = true\n{KEPT}{QUICK}"
    f"{sh('[ -e @DIR@/bad ] && exit 9; exec sleep 1000')}"
)
RAISES = "import os\n\ndef now():\n    raise ValueError(os.environ['TOKEN'])\n"
VERBS = (
    ("status", "web", "files", "raises", "lost"), ("events", "-n", "1000"),
    ("events", "--json", "-n", "1000"), ("metrics",), ("reload", "--dry-run", "--json"),
    *(("why", name) for name in ("dumps", "lost", "raises")),
)  # fmt: skip


class Seen:
    """What was seen of one daemon, place by place."""

    def __init__(self, daemon: Daemon) -> None:
        self.places: list[tuple[str, bytes]] = []
        self._daemon = daemon

    def ask(self, *argv: str) -> int:
        """Type a verb; return its exit status."""
        done = self._daemon.ctl(*argv)
        assert done.stdout + done.stderr, argv
        self.places.append((" ".join(argv), (done.stdout + done.stderr).encode()))
        return done.returncode

    def look(self, when: str) -> None:
        """Look into command lines, environments, memory and files."""
        daemon = self._daemon
        workers = {each["pid"] for each in daemon.workers().values() if each["pid"]}
        found = list(command_lines(daemon.keeper_pid))
        found += environments_but_of(daemon.keeper_pid, workers)
        if os.geteuid() == 0:
            for pid in (daemon.keeper_pid, daemon.supervisor_pid, daemon.scribe_pid):
                found += memory_of(pid)
        self.places += [(f"{when}: {where}", data) for where, data in found]
        self.look_at_files(when)

    def look_at_files(self, when: str) -> None:
        self.places += [
            (f"{when}: {where}", data)
            for where, data in everything_of(self._daemon.folder)
            if "/runtime/w/" not in where  # those of the workers themselves
        ]

    @property
    def leaks(self) -> list[str]:
        return [where for where, data in self.places if CANARY.encode() in data]


def keep(daemon: Daemon, text: str, mode: int = 0o600) -> Path:
    folder = daemon.folder / "kept"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_is_in_nothing_that_the_daemon_leaves_in_a_whole_life() -> None:
    """Crashes, refused reloads, an upgrade, a killed keeper, an escalation: and no trace of it."""
    made = Daemon(WORKERS)
    path = keep(made, f"{CANARY}-1\n")
    (made.folder / "raises.py").write_text(RAISES)
    seen = Seen(made)
    with made as daemon:
        for name in ("fails", "dumps", "raises"):
            daemon.wait_state(name, "tripped")
        daemon.wait_state("web", "running")
        given = Path(f"/proc/{daemon.workers()['web']['pid']}/environ").read_bytes()
        assert f"TOKEN={CANARY}-1".encode() in given.split(b"\0")  # so it would be found
        os.kill(daemon.supervisor_pid, signal.SIGSEGV)
        wait_until(daemon.answers, what="the next supervisor answers")

        path.chmod(0o644)
        assert seen.ask("reload") == 1
        seen.ask("status", "--json")
        path.chmod(0o600)
        keep(daemon, f"{CANARY}-2\n")

        assert seen.ask("upgrade", "--keeper") == 0
        daemon.ctl("stop", "files", check=True)
        wait_until((daemon.folder / "state/carry.json").exists, what="the state is written")
        seen.look("upgraded")

        kill_keeper(daemon)
        seen.look_at_files("killed")
        daemon.start()
        daemon.wait_state("db", "running")
        for argv in VERBS:  # whatever has happened until now is in what they say
            seen.ask(*argv)
        seen.look("restored")

        daemon.exit_status = 75
        (daemon.folder / "bad").touch()
        os.kill(daemon.workers()["db"]["pid"], signal.SIGKILL)
        assert daemon.process is not None
        assert daemon.process.wait(20) == 75
        seen.look_at_files("escalated")
    files = {where.rpartition("/")[2] for where, _ in seen.places}
    wanted = {"effective.toml", "events.jsonl", "carry.json", "last-escalation.json", "output"}
    assert wanted <= files, wanted - files
    assert seen.leaks == []
