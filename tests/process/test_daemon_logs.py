"""Logs in trouble, seen through the real daemon: told, counted, and complete at the end."""

import gzip
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.flood import WRITER, check_lines, writer_command
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

#: Notes each line in a file of its own before it writes it, also after SIGTERM.
_LEDGER = r"""
import os, signal, sys, time
ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
number = 0
def say():
    global number
    number += 1
    line = b"%d %s\\n" % (number, b"." * 200)
    os.write(ledger, line)
    os.write(1, line)
while not ending:
    say()
    time.sleep(0.002)
for _ in range(50):
    say()
"""


def _ledger_daemon(log: Path | str) -> Daemon:
    command = json.dumps([sys.executable, "-I", "-S", "@DIR@/ledger.py", "@DIR@/ledger"])
    daemon = Daemon(f"[worker.l]\ncommand = {command}\nlog.stdout = '{log}'\n")
    (daemon.folder / "ledger.py").write_text(_LEDGER)
    return daemon


def _writer_daemon(log: str, more: str = "") -> Daemon:
    command = writer_command(Path("@DIR@/writer.py"), "w")
    daemon = Daemon(f"[worker.w]\n{command}log.stdout = '{log}'\n{more}")
    (daemon.folder / "writer.py").write_text(WRITER)
    return daemon


def _ledger_bytes(daemon: Daemon) -> int:
    return (daemon.folder / "ledger").stat().st_size


def test_a_scribe_that_hangs_at_the_end_loses_nothing() -> None:
    """It is replaced while the daemon ends, and its successor writes the last words."""
    with _writer_daemon("@DIR@/log/w.log") as daemon:
        log = daemon.folder / "log/w.log"
        wait_until(log.exists, what="it writes")
        wait_until(lambda: log.stat().st_size > 5000, what="it has written")
        os.kill(daemon.scribe_pid, signal.SIGSTOP)

        assert daemon.stop() == 0

        assert check_lines(log, "w") > 10
        assert b" end " in log.read_bytes()[-400:]
        assert daemon.events("scribe.hung")
        assert daemon.events("daemon.stopped")
        assert not daemon.events("log.lost")


def test_what_a_frozen_disk_took_is_told_at_the_end(disk: Path) -> None:
    """Every byte that was written is in the log, or in the last lines on stderr."""
    log = disk / "l.log"
    with _ledger_daemon(log) as daemon:
        wait_until(lambda: log.exists() and log.stat().st_size > 5000, what="it has written")
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        size = _ledger_bytes(daemon)
        wait_until(lambda: _ledger_bytes(daemon) > size + 100_000, what="it goes on")

        assert daemon.stop() == 0

        subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
        lost = {line["path"]: int(line["bytes"]) for line in daemon.events("log.lost")}
        lost_bytes = lost[str(log)]
        assert lost_bytes > 0
        assert lost_bytes + log.stat().st_size == _ledger_bytes(daemon)
        assert daemon.events("worker.stopped")


def test_the_daemons_own_lines_outlast_a_frozen_disk(disk: Path) -> None:
    """While a log's disk is frozen nothing of what happens goes untold; and it is said itself."""
    crash = "command = ['/bin/false']\nbackoff.min = '50ms'\nbackoff.max = '50ms'\n"
    more = f"[worker.crash]\n{crash}autostart = false\n"
    with _writer_daemon(f"{disk}/w.log", more) as daemon:
        log = disk / "w.log"
        wait_until(lambda: log.exists() and log.stat().st_size > 5000, what="it has written")
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        trouble = wait_until(
            lambda: daemon.workers()["w"]["output"]["trouble"], what="the trouble is shown"
        )
        assert trouble == "the disk does not answer"
        assert daemon.ctl("status", "--check").returncode == 1
        daemon.call("io.supervisordlite.Manager.Start", names=["crash"], wait=False)
        daemon.wait_state("crash", "tripped")

        subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)

        wait_until(lambda: daemon.events("log.resumed"), what="that it goes on is told")
        wait_until(lambda: daemon.workers()["w"]["output"]["trouble"] is None, what="it is over")
        assert [line["path"] for line in daemon.events("log.trouble")] == [str(log)]
        wait_until(lambda: daemon.events("worker.tripped"), what="all is told")
        failed = [line for line in daemon.events("worker.failed") if line["name"] == "crash"]
        assert len(failed) == 5


def test_each_of_many_workers_is_told_of() -> None:
    """Six hundred that start and become ready at once are 1,200 lines, and none is missing."""
    script = "echo hi; exec sleep 1000"
    text = f"[worker.w]\ncommand = ['/bin/sh', '-c', '{script}']\npool_size = 600\n"
    with Daemon(text) as daemon:
        for event in ("worker.started", "worker.ready"):
            wait_until(
                partial(_has_all, daemon, event, 600), what=f"600 {event}", timeout_s=30,
            )  # fmt: skip


def _has_all(daemon: Daemon, event: str, count: int) -> bool:
    return len({line["name"] for line in daemon.events(event)}) == count


def test_a_full_disk_shows_in_status(disk: Path) -> None:
    """A worker whose output cannot be written is not as wanted, and the reason is said."""
    log = disk / "w.log"
    with _writer_daemon(str(log)) as daemon:
        filler = disk / "filler"
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            except OSError:
                pass
        trouble = wait_until(
            lambda: daemon.workers()["w"]["output"]["trouble"], what="the trouble is shown",
            timeout_s=30,
        )  # fmt: skip
        assert trouble == "No space left on device"
        checked = daemon.ctl("status", "--check")
        assert (checked.returncode, trouble in checked.stdout) == (1, True)

        filler.unlink()

        wait_until(lambda: daemon.workers()["w"]["output"]["trouble"] is None, what="it is over")
        assert daemon.ctl("status", "--check").returncode == 0


def test_ctrl_backslash_is_a_stop() -> None:
    """SIGQUIT does not leave the workers alone."""
    with Daemon("[worker.a]\ncommand = ['/bin/sleep', '1000']\n") as daemon:
        daemon.wait_state("a", "running")
        assert daemon.stop(signal.SIGQUIT) == 0
        assert daemon.events("worker.stopped")


def test_ten_megabytes_of_anything_are_kept_as_they_are_and_shown_escaped() -> None:
    """Random bytes, no UTF-8, escape sequences: each is in the file; no terminal obeys one."""
    sent = os.urandom(10 << 20) + b"\n\x1b[31mred\x1b]0;owned\x07 \xff\xfe end\n"
    keys = 'ready = "exit"\nlog.max_size = "4M"\nlog.compress = true\n'
    daemon = Daemon(f'[worker.a]\ncommand = ["cat", "@DIR@/bytes"]\n{keys}')
    (daemon.folder / "bytes").write_bytes(sent)
    with daemon:
        daemon.wait_state("a", "exited", timeout_s=30)
        folder = daemon.folder / "log"

        def kept() -> bytes:
            data = b""
            for number in range(1, 1 + max(map(_number, folder.glob("a.log.*")), default=0)):
                plain, packed = folder / f"a.log.{number}", folder / f"a.log.{number}.gz"
                try:
                    data += plain.read_bytes()
                except FileNotFoundError:  # compressed by now
                    data += gzip.decompress(packed.read_bytes())
            return data + (folder / "a.log").read_bytes()

        wait_until(lambda: len(kept()) == len(sent), what="all of it is there", timeout_s=30)
        assert hashlib.sha256(kept()).digest() == hashlib.sha256(sent).digest()
        near, far = pty.openpty()
        argv = [*daemon.argv, "logs", "a", "-n", "1", "--socket", str(daemon.control_path)]
        subprocess.run(argv, stdout=far, env=daemon.environment, check=True, timeout=30)
        os.close(far)
        with open(near, "rb", buffering=0) as terminal:
            shown = terminal.read(4096)
    assert shown == b"\\x1b[31mred\\x1b]0;owned\\x07 \\xff\\xfe end\r\n"


def _number(path: Path) -> int:
    return int(path.name.removeprefix("a.log.").removesuffix(".gz").partition(".")[0] or 0)
