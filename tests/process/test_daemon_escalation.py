"""A critical worker that has failed ends the whole service with 75 and says why."""

import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.wait import pass_random_time, wait_until

pytestmark = pytest.mark.process

NOTE = "last-escalation.json"
QUICK = "backoff.min = '20ms'\nbackoff.max = '20ms'\nready = '50ms'\n"


def sh(script: str) -> str:
    return f"command = {json.dumps(['/bin/sh', '-c', script])}\n"


def critical(code: int = 9, failures: int = 3) -> str:
    """Return a critical worker that runs until there is a file `bad`, and then only fails."""
    script = f"[ -e @DIR@/bad ] && {{ echo no luck; exit {code}; }}; exec sleep 1000"
    return f"[worker.db]\n{sh(script)}{QUICK}max_restarts = {failures}\ncritical = true\n"


def break_it(daemon: Daemon) -> None:
    """Let the critical worker fail from now on."""
    pid = daemon.wait_state("db", "running")["pid"]
    (daemon.folder / "bad").touch()
    os.kill(pid, signal.SIGKILL)


def ended(daemon: Daemon, timeout_s: float = 20.0) -> int:
    assert daemon.process is not None
    return daemon.process.wait(timeout_s)


def note_of(daemon: Daemon) -> dict[str, Any]:
    note: dict[str, Any] = json.loads((daemon.folder / "state" / NOTE).read_text())
    return note


def test_the_reason_is_in_the_journal_and_in_a_file() -> None:
    """Who, when, every failure with its end, and the last words of the worker."""
    with Daemon(f"{critical()}[worker.web]\n{sh('exec sleep 1000')}") as daemon:
        daemon.exit_status = 75
        break_it(daemon)

        assert ended(daemon) == 75

        note = note_of(daemon)
        assert note["why"] == "critical worker db tripped: exit 9 (failure 3 of 3)"
        assert (note["worker"], note["exit_status"], note["max_restarts"]) == ("db", 75, 3)
        assert note["daemon"]["pid"] == daemon.keeper_pid
        (worker,) = note["workers"]
        ends = [(failure["code"], failure["signal"]) for failure in worker["failures"]]
        assert ends == [(None, "SIGKILL"), (9, None), (9, None)]
        times = [failure["at"] for failure in worker["failures"]]
        assert sorted(times) == times
        assert set(worker["last_lines"]) <= {"no luck"}
        assert worker["last_lines"]
        for event in ("daemon.escalated", "escalation.written"):
            assert event in daemon.output()
        assert sorted(os.listdir(daemon.folder / "state")) == [
            "effective.toml", "events.jsonl", NOTE, "lock"
        ]  # fmt: skip


def test_the_next_start_begins_anew_and_status_tells_of_the_one_before() -> None:
    """Breakers are closed; the warning is gone after the start after that, the JSON keeps it."""
    with Daemon(critical()) as daemon:
        daemon.exit_status = 75
        break_it(daemon)
        assert ended(daemon) == 75

        (daemon.folder / "bad").unlink()
        daemon.exit_status = 0
        daemon.start()
        worker = daemon.wait_state("db", "running")
        assert (worker["breaker"], worker["failures_in_window"], worker["restarts"]) == (
            "closed", 0, 0
        )  # fmt: skip
        supervisor = daemon.status()["supervisor"]
        why = "critical worker db tripped: exit 9 (failure 3 of 3)"
        assert supervisor["last_escalation"] == {
            "at": note_of(daemon)["at"], "worker": "db", "why": why, "exit_status": 75
        }  # fmt: skip
        shown = " ".join(daemon.ctl("status", check=True).stdout.split())
        assert f"ended with 75 at {note_of(daemon)['at']}: {why}" in shown
        daemon.kill_supervisor()
        assert daemon.status()["supervisor"]["warnings"] == supervisor["warnings"] != []

        assert daemon.stop() == 0
        daemon.start()
        later = daemon.status()["supervisor"]
        assert later["warnings"] == []
        assert later["last_escalation"] == supervisor["last_escalation"]


def test_a_supervisor_killed_again_and_again_still_ends_with_75_and_the_reason() -> None:
    """At random moments from the first failure on; the others are stopped in their time."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    rng = random.Random(seed)
    slow = sh("trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done")
    with Daemon(f"{critical()}[worker.web]\n{slow}") as daemon:
        daemon.exit_status = 75
        daemon.wait_state("web", "running")
        break_it(daemon)
        assert daemon.process is not None
        for _ in range(4):
            pass_random_time(rng, at_most_s=0.2)
            _kill_supervisor(daemon)

        assert ended(daemon) == 75

        note = note_of(daemon)
        assert note["why"] == "critical worker db tripped: exit 9 (failure 3 of 3)"
        assert len(note["workers"][0]["failures"]) == 3
        assert '"event": "worker.stopped", "name": "web", "run": 1' in daemon.output()


def _kill_supervisor(daemon: Daemon) -> None:
    """Kill the supervisor, unless the end has come or it is being replaced just now."""
    for pid in _children(daemon.keeper_pid):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == "sdl-supervisor":
                os.kill(pid, signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue


def _children(pid: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()


def test_a_note_that_cannot_be_written_changes_nothing_else() -> None:
    """Something stands in its place: the journal says so, and 75 comes."""
    with Daemon(critical(failures=1)) as daemon:
        daemon.exit_status = 75
        (daemon.folder / "state" / NOTE / "in-the-way").mkdir(parents=True)
        break_it(daemon)

        assert ended(daemon) == 75
        assert "escalation.not_written" in daemon.output()
        files = sorted(os.listdir(daemon.folder / "state"))
        assert files == ["effective.toml", "events.jsonl", NOTE, "lock"], "nothing half is left"
        assert "critical worker db tripped: SIGKILL (failure 1 of 1)" in daemon.output()


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


@contextmanager
def _frozen(folder: Path) -> Iterator[None]:
    """Freeze the file system at *folder*."""
    _run("fsfreeze", "--freeze", str(folder))
    try:
        yield
    finally:
        _run("fsfreeze", "--unfreeze", str(folder))


@pytest.mark.root
@pytest.mark.slow
def test_a_frozen_disk_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """The child that writes hangs beyond any kill: it is given up, and 75 comes."""
    tools = ("mount", "umount", "fsfreeze", "mkfs.ext4", "losetup")
    missing = [name for name in tools if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing or tools)}")
    daemon = Daemon(critical(failures=1))
    folder, image = daemon.folder / "state", tmp_path / "image"
    folder.mkdir(mode=0o700)
    with image.open("wb") as file:
        file.truncate(16 << 20)
    _run("mkfs.ext4", "-q", str(image))
    try:
        _run("mount", "-o", "loop", str(image), str(folder))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs a loop device: {error.stderr!r}")
    try:
        daemon.exit_status = 75
        with daemon:
            daemon.wait_state("db", "running")
            with _frozen(folder):
                break_it(daemon)
                assert ended(daemon, timeout_s=30) == 75
                assert "escalation.not_written" in daemon.output()
                assert "does not answer" in daemon.output()
            wait_until(lambda: not _notes_alive(folder), what="the child has ended after the thaw")
    finally:
        _run("umount", "--lazy", str(folder))


def _notes_alive(folder: Path) -> list[int]:
    """Return the living children that write into *folder*."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(folder / NOTE) in words and leftovers.is_alive(int(entry)):
            found.append(int(entry))
    return found
