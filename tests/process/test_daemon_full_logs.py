"""Full logs of the real daemon: compressed by a child, rotated by age, read by `logs`."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
import sys
import zlib
from pathlib import Path

import psutil
import pytest

from tests.support.daemon import Daemon
from tests.support.roles import has_role
from tests.support.scribe import segments, whole
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

#: Says numbers without end, and on SIGTERM that it ends.
COUNTS = """\
[worker.web]
command = ["/bin/sh", "-c", "trap 'echo end; exit' TERM; while :; do echo $((i += 1)); done"]
ready = "spawned"
"""
IDLE = '[worker.idle]\ncommand = ["sleep", "1000"]\nready = "spawned"\n'
SAYS = """\
[worker.web]
command = ["/bin/sh", "-c", "cat @DIR@/words; exec sleep 1000"]
ready = "spawned"
"""


def compressing(daemon: Daemon) -> list[psutil.Process]:
    """Return the children that compress just now."""
    found = []
    for child in psutil.Process(daemon.scribe_pid).children():
        try:
            if has_role(child, "compress"):
                found.append(child)
        except psutil.Error:
            continue
    return found


def packed(path: Path) -> list[Path]:
    return [each for each in segments(path) if each.suffix == ".gz"]


def test_no_line_is_lost_or_doubled_when_scribe_and_child_are_killed() -> None:
    """Under a flood, at any moment; what is left over is tidied up by the next."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().getrandbits(32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    chance = random.Random(seed)
    keys = 'log.max_size = "300K"\nlog.backups = 1000\nlog.compress = true\n'
    with Daemon(COUNTS + keys) as daemon:
        path = daemon.folder / "log/web.log"
        for round_ in range(6):
            wait_until(lambda: bool(compressing(daemon)), what="a child is at it", timeout_s=30)
            if round_ % 2:
                for child in compressing(daemon):
                    os.kill(child.pid, signal.SIGKILL)
            else:
                daemon.kill_scribe()
            enough = len(packed(path)) + chance.randint(1, 3)
            wait_until(lambda n=enough: len(packed(path)) >= n, what="it goes on", timeout_s=60)  # type: ignore[misc]
        daemon.ctl("stop", "web", check=True)
        wait_until(lambda: path.read_bytes().endswith(b"end\n"), what="its last words are there")
        wait_until(lambda: not compressing(daemon), what="no file changes", timeout_s=60)
        lines = whole(path).split(b"\n")[:-2]
        assert lines == [b"%d" % number for number in range(1, len(lines) + 1)]
        full = [each for each in segments(path) if each not in (path, *packed(path))]
        daemon.ctl("start", "web", check=True)
        for each in full:  # what the dead had begun
            wait_until(lambda plain=each: not plain.exists(), what="all is compressed")  # type: ignore[misc]


def test_logs_reads_compressed_files() -> None:
    """The last lines, one run, and everything; marks still say where a run begins."""
    keys = 'log.max_size = "1K"\nlog.backups = 9\nlog.compress = true\n'
    with Daemon(IDLE) as daemon:
        words = daemon.folder / "words"
        words.write_text("".join(f"first {number:03}\n" for number in range(200)))
        daemon.write(SAYS + keys)
        daemon.ctl("reload", check=True)
        path = daemon.folder / "log/web.log"
        wait_until(lambda: len(packed(path)) == 1, what="one is compressed")
        assert zlib.decompress(packed(path)[0].read_bytes(), 31).startswith(b"first 000\n")
        assert packed(path)[0].stat().st_mode & 0o777 == 0o640
        words.write_text("".join(f"second {number:03}\n" for number in range(200)))
        daemon.ctl("restart", "web", check=True)
        wait_until(lambda: len(packed(path)) >= 3, what="three are compressed")

        shown = daemon.ctl("logs", "web", "-n", "1000", check=True).stdout.splitlines()
        assert shown == [f"{word} {n:03}" for word in ("first", "second") for n in range(200)]
        assert daemon.ctl("logs", "web", "-n", "150", check=True).stdout.startswith("second 050\n")
        first = daemon.ctl("logs", "web", "--run", "-1", check=True).stdout.splitlines()
        assert first == [f"first {number:03}" for number in range(200)]
        since = daemon.ctl("logs", "web", "--since", "1h", "-n", "3", check=True).stdout
        assert since == "second 197\nsecond 198\nsecond 199\n"


def test_a_quiet_file_is_rotated_at_its_age_and_a_reload_changes_that() -> None:
    """Without a line being written, and without a new process."""
    with Daemon(IDLE) as daemon:
        (daemon.folder / "words").write_text("hello\n")
        daemon.write(SAYS + 'log.max_age = "1d"\n')
        daemon.ctl("reload", check=True)
        pid = daemon.wait_state("web", "running")["pid"]
        path = daemon.folder / "log/web.log"
        wait_until(lambda: whole(path) == b"hello\n", what="it has spoken")
        assert len(segments(path)) == 1
        daemon.write(SAYS + 'log.max_age = "100ms"\n')
        assert "reopen, 1 pid kept: log.max_age" in daemon.ctl("reload", check=True).stdout
        wait_until(lambda: len(segments(path)) == 2, what="it is rotated")
        assert path.read_bytes() == b""
        assert daemon.workers()["web"]["pid"] == pid


def test_a_file_that_cannot_be_compressed_is_told_and_stays() -> None:
    """Somebody else's file has the name."""
    keys = 'log.max_size = "1K"\nlog.backups = 9\nlog.compress = true\n'
    with Daemon(IDLE) as daemon:
        (daemon.folder / "words").write_text("".join(f"word {n:03}\n" for n in range(200)))
        folder = daemon.folder / "log"
        folder.mkdir(exist_ok=True)
        daemon.write(SAYS + keys)
        daemon.ctl("reload", check=True)
        path = folder / "web.log"
        wait_until(lambda: len(packed(path)) == 1, what="it is compressed")
        other = folder / "web.log.2"
        other.write_bytes(packed(path)[0].read_bytes())
        (folder / "web.log.2.gz").write_bytes(b"not ours")
        os.kill(daemon.keeper_pid, signal.SIGUSR1)  # somebody has tidied up, it says
        wait_until(lambda: "SIGUSR1" in daemon.output(), what="it was heard")
        daemon.ctl("restart", "web", check=True)
        wait_until(lambda: "cannot compress web.log.2" in daemon.output(), what="it is told")
        assert (folder / "web.log.2.gz").read_bytes() == b"not ours"
        assert other.exists()
        assert daemon.workers()["web"]["output"]["trouble"].startswith("cannot compress")
