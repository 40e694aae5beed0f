"""Rows 18 to 25: what workers write, and what becomes of it."""

import json
import os
import resource
from functools import partial
from pathlib import Path

import pytest

from tests.support.disks import a_small_disk
from tests.support.flood import WRITER, check_lines, has_ended, segments, writer_command
from tests.support.house import QUICK, SLEEP, House, limited, python, sh
from tests.support.memory import rss_bytes
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

MIB = 1024 * 1024
ANYTHING = bytes(range(256)) + b"\x1b[2J\x1b]0;title\x07\xff\xfe\0end\n"


def _trouble(house: House, name: str) -> str:
    return str(house.daemon.workers()[name]["output"]["trouble"] or "")


def _dropped(house: House, name: str) -> int:
    return int(house.daemon.workers()[name]["output"]["dropped_bytes"])


def test_row_18_a_line_without_end(house: House) -> None:
    """Ten megabytes without a newline are stored as they are, and nobody holds them in memory."""
    script = "import os, time\nfor _ in range(160): os.write(1, b'x' * 65536)\ntime.sleep(1000)"
    with house.row(f"[worker.l]\n{python(script)}{QUICK}log.max_size = '2M'\n") as daemon:
        before = rss_bytes(daemon.scribe_pid)
        wait_until(lambda: len(house.whole_log("l")) == 160 * 65536, what="all is there")
        assert set(house.whole_log("l")) == {ord("x")}
        assert rss_bytes(daemon.scribe_pid) - before < 4 * MIB


@pytest.mark.parametrize("form", ["stamped", "json"])
def test_row_18_a_line_without_end_in_another_form(house: House, form: str) -> None:
    """No byte of it is lost; in JSON it is many objects that say that they are parts of one."""
    script = (
        "import os, time\nfor _ in range(160): os.write(1, b'x' * 65536)\nos.write(1, bytes([10]))"
    )
    script += "\ntime.sleep(1000)"
    keys = f"log.format = '{form}'\nlog.max_size = '2M'\nlog.backups = 100\n"
    with house.row(f"[worker.l{form}]\n{python(script)}{QUICK}{keys}") as daemon:
        before = rss_bytes(daemon.scribe_pid)
        name = f"l{form}"
        wait_until(
            lambda: (log := house.whole_log(name)).count(b"x") == 160 * 65536 and log[-1:] == b"\n",
            what="all is there",
        )
        if form == "json":
            objects = [json.loads(line) for line in house.whole_log(name).splitlines()]
            assert all(each.get("partial") for each in objects[:-1])
            assert "partial" not in objects[-1]
        assert rss_bytes(daemon.scribe_pid) - before < 4 * MIB


def test_row_19_bytes_that_are_no_text(house: House) -> None:
    """Stored as they are; shown on a terminal without doing anything to it."""
    script = f"import os, time\nos.write(1, bytes.fromhex('{ANYTHING.hex()}'))\ntime.sleep(1000)"
    with house.row(f"[worker.b]\n{python(script)}{QUICK}"):
        wait_until(lambda: house.whole_log("b") == ANYTHING, what="all is there, unchanged")


def test_row_20_a_flood(house: House) -> None:
    """Two who write as fast as they can wait for the disk; nobody else waits."""
    text = "".join(f"[worker.y{n}]\n{sh('exec yes')}{QUICK}log.backups = 1\n" for n in range(2))
    with house.row(f"{text}[worker.n]\n{SLEEP}{QUICK}") as daemon:
        before = rss_bytes(daemon.scribe_pid)
        log = daemon.folder / "log/y0.log"
        wait_until(lambda: log.exists() and log.stat().st_size > 4 * MIB, what="a flood")
        house.restarts_quickly("n")
        assert rss_bytes(daemon.scribe_pid) - before < 10 * MIB


def test_row_21_a_full_disk(house: House) -> None:
    """The worker runs on, what is lost is counted and told, and with room it goes on."""
    with a_small_disk() as disk:
        script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done"
        text = f"[worker.f]\n{sh(script)}{QUICK}log.stdout = '{disk}/f.log'\n"
        (disk / "ballast").write_bytes(b"x" * MIB)
        with house.row(text) as daemon:
            wait_until(lambda: "space" in _trouble(house, "f"), what="it is told")
            wait_until(lambda: _dropped(house, "f") > 0, what="the loss is counted")
            house.restarts_quickly("f")
            (disk / "ballast").unlink()
            wait_until(lambda: not _trouble(house, "f"), what="it has healed")
            lines = (disk / "f.log").read_text().splitlines()
            assert daemon.workers()["f"]["state"] == "running"
            assert all(line.startswith("line ") for line in lines)


def test_row_22_writes_that_fail(house: House) -> None:
    """A file that may grow no more (EFBIG) costs its lines, and not the process that writes."""
    script = (
        "import itertools, time\nfor n in itertools.count():\n"
        " print('line', n)\n time.sleep(0.001)\n"
    )
    with house.row(f"[worker.e]\n{python(script)}{QUICK}") as daemon:
        scribe = daemon.scribe_pid
        wait_until(lambda: house.whole_log("e"), what="some lines")
        with limited(scribe, resource.RLIMIT_FSIZE, _largest_bytes(daemon.folder) + 2048):
            wait_until(lambda: _trouble(house, "e"), what="it is told")
        wait_until(lambda: not _trouble(house, "e"), what="it has healed")
        assert daemon.scribe_pid == scribe
        assert _dropped(house, "calm") == 0


def _largest_bytes(folder: Path) -> int:
    """Return the size of the largest file that somebody still writes in this row."""
    files = [folder / "log/e.log", folder / "log/calm.log", *folder.glob("state/*")]
    return max(each.stat().st_size for each in files if each.is_file())


def test_row_23_log_files_that_go_away(house: House) -> None:
    """A folder that is removed is made again, and a file that is renamed is opened anew."""
    script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done"
    folder = house.daemon.folder / "log/own"
    with house.row(f"[worker.g]\n{sh(script)}{QUICK}log.stdout = '{folder}/g.log'\n"):
        log = folder / "g.log"
        wait_until(lambda: log.exists() and log.read_text(), what="some lines")
        log.rename(folder / "moved")
        wait_until(lambda: log.exists() and log.read_text(), what="a new file")
        kept = (folder / "moved").read_text() + log.read_text()
        numbers = [int(line.split()[1]) for line in kept.splitlines() if line[-1:].isdigit()]
        assert numbers == list(range(1, len(numbers) + 1))
        folder.rename(folder.with_name("elsewhere"))
        wait_until(lambda: log.exists() and log.read_text(), what="the folder is there again")


def test_row_24_what_is_no_file(house: House) -> None:
    """A link, a pipe and a folder in the place of a log are refused; the workers run."""
    folder = house.daemon.folder / "odd"
    folder.mkdir()
    victim = folder / "victim"
    victim.write_text("precious\n")
    (folder / "link.log").symlink_to(victim)
    os.mkfifo(folder / "pipe.log")
    (folder / "dir.log").mkdir()
    names = ("link", "pipe", "dir")
    text = "".join(
        f"[worker.{name}]\n{sh('while :; do echo x; sleep 0.01; done')}{QUICK}"
        f"log.stdout = '{folder}/{name}.log'\n"
        for name in names
    )
    with house.row(text) as daemon:
        for name in names:
            wait_until(partial(_trouble, house, name), what=f"{name} is refused")
            assert daemon.workers()[name]["state"] == "running"
    assert victim.read_text() == "precious\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give a file away")
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_row_24_a_file_of_somebody_else(house: House, mode: int) -> None:
    """Where everybody may write, a log that another user has made first is refused, and told."""
    folder = house.daemon.folder / f"open{mode:o}"
    folder.mkdir()
    folder.chmod(mode)
    log = folder / "f.log"
    log.touch(0o666)
    os.chown(log, 65534, 65534)
    script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done"
    with house.row(f"[worker.f]\n{sh(script)}{QUICK}log.stdout = '{log}'\n") as daemon:
        wait_until(lambda: "uid 65534" in _trouble(house, "f"), what="it is refused")
        assert daemon.workers()["f"]["state"] == "running"
        assert log.read_text() == ""
        log.unlink()
        wait_until(lambda: log.exists() and log.read_text(), what="one of ours takes its place")
        assert log.stat().st_uid == 0
        wait_until(lambda: not _trouble(house, "f"), what="it has healed")


def test_row_25_rotation_in_a_flood_and_kills(house: House) -> None:
    """Who rotates is killed again and again: each line is there once, whole and in order."""
    script = house.daemon.folder / "writer.py"
    script.write_text(WRITER)
    keys = "log.max_size = '32K'\nlog.backups = 1000\nstop_timeout = '20s'\nready = 'spawned'\n"
    with house.row(f"[worker.w]\n{writer_command(script, 'w')}{keys}") as daemon:
        log = daemon.folder / "log/w.log"
        for wanted in range(2, 8):
            wait_until(partial(_has_segments, log, wanted), what="it rotates")
            daemon.kill_scribe()
        house.stop("w")
        wait_until(lambda: has_ended(log), what="its last words")
        assert check_lines(log, "w") > 100
        assert _odd_files(log.parent) == []


def _has_segments(log: Path, count: int) -> bool:
    return len(segments(log)) >= count


def _odd_files(folder: Path) -> list[str]:
    """Return files of rotation that nobody would clear away."""
    return [each.name for each in folder.iterdir() if "tmp" in each.name]
