"""`logs --run` and `--since` of a real daemon, whose processes are killed in between."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisord_lite.scribe.marks import marks_path
from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

#: Says which run it is, on both streams, and lives until it is told to go on.
TALKER = r"""command = ["sh", "-c", '''
n=$(($(cat @DIR@/n 2>/dev/null || echo 0) + 1)); echo $n > @DIR@/n
if [ $n != 3 ]; then echo "out $n"; echo "err $n" >&2; fi
until [ -e @DIR@/end$n ]; do sleep 0.02; done
if [ $n != 3 ]; then echo "last words of $n"; fi
exit 1
''']
ready = "spawned"
backoff.min = "1ms"
backoff.max = "1ms"
max_restarts = 1000
log.stdout = "@DIR@/log/t.log"
log.stderr = "@DIR@/log/t.err"
"""


def end(daemon: Daemon, number: int) -> None:
    """Let run *number* end, and wait for the next one."""
    (daemon.folder / f"end{number}").touch()
    wait_until(
        lambda: (worker := daemon.workers()["t"])["run"] == number + 1 and worker["pid"],
        what=f"run {number + 1} runs",
    )


def logs(daemon: Daemon, *words: str) -> str:
    return daemon.ctl("logs", "t", *words, check=True).stdout


def test_each_run_has_its_own_words_whoever_is_killed() -> None:
    """Supervisor and scribe die, one run is silent; each stream has its own runs."""
    with Daemon(f"[worker.t]\n{TALKER}") as daemon:
        daemon.wait_state("t", "running")
        end(daemon, 1)
        daemon.kill_scribe()
        end(daemon, 2)
        daemon.kill_supervisor()
        end(daemon, 3)
        marks = Path(marks_path(str(daemon.folder / "log/t.log")))
        wait_until(lambda: b" 4." in marks.read_bytes(), what="run 4 has begun")
        wait_until(lambda: "out 4\n" in daemon.log("t"), what="run 4 speaks")

        assert logs(daemon, "--run", "0") == "out 4\n"
        silent = daemon.ctl("logs", "t", "--run", "-1", check=True)
        assert silent.stdout == ""
        assert "in that run" in silent.stderr
        assert logs(daemon, "--run", "-2") == "out 2\nlast words of 2\n"
        assert logs(daemon, "--run", "-2", "-n", "1") == "last words of 2\n"
        assert logs(daemon, "--run", "-3", "--stderr") == "err 1\n"
        assert logs(daemon, "--run", "1") == "out 1\nlast words of 1\n"
        told = json.loads(logs(daemon, "--run", "4", "--json"))
        assert told["line"] == "out 4"
        unknown = daemon.ctl("logs", "t", "--run", "-4")
        assert unknown.returncode == 1
        assert "logs t: " in unknown.stderr
        assert "--run 0 to -3 are known" in unknown.stderr


def test_the_run_before_is_there_after_the_service_was_started_again() -> None:
    """Numbers begin anew; what is before is still before."""
    daemon = Daemon(f"[worker.t]\n{TALKER}")
    with daemon:
        daemon.wait_state("t", "running")
        wait_until(lambda: "out 1\n" in daemon.log("t"), what="it speaks")
        assert daemon.stop() == 0
        daemon.start()
        wait_until(lambda: "out 2\n" in daemon.log("t"), what="it speaks again")

        assert daemon.workers()["t"]["run"] == 1
        assert logs(daemon, "--run", "-1") == "out 1\n"
        assert logs(daemon, "--run", "1") == "out 2\n"


def test_since_shows_what_was_written_since() -> None:
    """To the second where the log is raw; nothing of a quiet one; several are prefixed."""
    with Daemon(f"[worker.t]\n{TALKER}[worker.quiet]\n{TALKER.replace('@DIR@/', '@DIR@/q')}") as (
        daemon
    ):
        daemon.wait_state("t", "running")
        wait_until(lambda: "out 1\n" in daemon.log("t"), what="it speaks")
        log = daemon.folder / "log/t.log"
        spoke_s = log.stat().st_mtime
        wait_until(lambda: _now_s() > spoke_s + 1.2, what="a second passes")
        since = datetime.fromtimestamp(_now_s(), UTC).isoformat()
        end(daemon, 1)
        wait_until(lambda: "out 2\n" in daemon.log("t"), what="the next one speaks")

        assert logs(daemon, "--since", since) == "last words of 1\nout 2\n"
        assert logs(daemon, "--since", "1h").startswith("out 1\n")
        assert logs(daemon, "--since", "1h", "-n", "1") == "out 2\n"
        both = daemon.ctl("logs", "--since", since, check=True)
        assert "t     | out 2\n" in both.stdout
        assert "quiet | " not in both.stdout
        assert "quiet has written nothing" in both.stderr
        assert "since then" in both.stderr


def _now_s() -> float:
    return datetime.now(UTC).timestamp()


def test_marks_that_cannot_be_written_cost_no_line() -> None:
    """A directory in their place: the log is whole, and nobody is told of a run."""
    daemon = Daemon(f"[worker.t]\n{TALKER}")
    (daemon.folder / "log").mkdir(mode=0o750)
    os.mkdir(marks_path(str(daemon.folder / "log/t.log")))
    with daemon:
        daemon.wait_state("t", "running")
        end(daemon, 1)
        wait_until(lambda: "out 2\n" in daemon.log("t"), what="the next one speaks")

        assert logs(daemon) == "out 1\nlast words of 1\nout 2\n"
        assert daemon.ctl("logs", "t", "--run", "0").returncode == 1
        assert daemon.workers()["t"]["output"]["dropped_bytes"] == 0
