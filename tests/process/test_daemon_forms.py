"""`log.format` of a real daemon: stamps and objects, whoever is killed, and changed by a reload."""

import json
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.scribe import whole
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

#: A line on each stream whenever it is told to; the last one has no end.
TALKER = r"""command = ["sh", "-c", '''
n=1
while :; do
  echo "out $n"; echo "err $n" >&2; printf 'caf\303\251 \377 "%d"\n' $n
  until [ -e @DIR@/go$n ]; do sleep 0.02; [ -e @DIR@/end ] && printf 'last words' && exit 0; done
  n=$((n + 1))
done
''']
ready = "spawned"
restart = "never"
log.stdout = "@DIR@/log/t.log"
log.stderr = "@DIR@/log/t.err"
"""
STAMP = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"


def holds(path: Path, text: bytes) -> None:
    """Wait until a log has this in it."""
    wait_until(lambda: text in whole(path), what=f"{path} holds {text!r}",
               on_timeout=lambda: repr(whole(path)))  # fmt: skip


def test_each_line_has_its_time_and_its_stream() -> None:
    """Bytes are left as they are, and an end without a newline gets one."""
    with Daemon(f'[worker.t]\n{TALKER}log.format = "stamped"\n') as daemon:
        out, err = daemon.folder / "log/t.log", daemon.folder / "log/t.err"
        begun_s = datetime.now(UTC).timestamp()
        holds(out, b'"1"\n')
        daemon.kill_scribe()
        (daemon.folder / "go1").touch()
        holds(out, b'"2"\n')
        holds(err, b"err 2\n")
        (daemon.folder / "end").touch()
        holds(out, b"last words\n")

        text = out.read_bytes().decode("utf-8", "surrogateescape")
        found = re.findall(rf"(?m)^{STAMP} stdout (.*)$", text)
        assert [line for _, line in found] == [
            "out 1", 'café \udcff "1"', "out 2", 'café \udcff "2"', "last words",
        ]  # fmt: skip
        assert text.count("\n") == len(found)
        for at, _ in found:
            assert abs(datetime.fromisoformat(at).timestamp() - begun_s) < 60
        assert re.fullmatch(rf"({STAMP} stderr err \d\n){{2}}", err.read_text())
        shown = daemon.ctl("logs", "t", "-n", "1", check=True).stdout
        assert shown.endswith(" stdout last words\n")


def test_a_reload_makes_objects_of_the_lines_to_come() -> None:
    """`reopen`: no process is touched, and the supervisor may die on the way."""
    with Daemon(f"[worker.t]\n{TALKER}log.max_size = 150\n") as daemon:
        out = daemon.folder / "log/t.log"
        holds(out, b'"1"\n')
        pid = daemon.workers()["t"]["pid"]
        before = whole(out)

        daemon.write(f'[worker.t]\n{TALKER}log.max_size = 150\nlog.format = "json"\n')
        planned = daemon.ctl("reload", "--dry-run", check=True).stdout
        assert 'reopen, 1 pid kept: log.format "raw" -> "json"' in " ".join(planned.split())
        daemon.ctl("reload", check=True)
        daemon.kill_supervisor()
        for number in range(1, 4):
            (daemon.folder / f"go{number}").touch()
            holds(out, b'\\"%d\\""}\n' % (number + 1))
            daemon.kill_scribe()
        (daemon.folder / "end").touch()
        wait_until(partial(_is_whole, out, b'"last words"}\n'), what="the last words are whole")

        assert daemon.workers()["t"]["last_exit"]["code"] == 0
        assert [e["pid"] for e in daemon.events("worker.started")] == [pid]
        data = whole(out)
        assert data.startswith(before)
        told = [json.loads(line) for line in data[len(before) :].splitlines()]
        assert {each["stream"] for each in told} == {"stdout"}
        assert [each["line"] for each in told] == [
            word for n in (2, 3, 4) for word in (f"out {n}", f'café \\xff "{n}"')
        ] + ["last words"]
        assert len(list(out.parent.glob("t.log.*"))) > 1, "it was rotated"


def _is_whole(path: Path, end: bytes) -> bool:
    return whole(path).endswith(end)
