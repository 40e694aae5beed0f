"""Commands live as their table says: the real daemon, real processes."""

import json
import os
import pty
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import leftovers
from tests.support.daemon import MODULE, Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

SLEEP = 'command = ["/bin/sleep", "1000"]\n'
QUICK = "backoff.min = '50ms'\nbackoff.max = '200ms'\nbackoff.jitter = false\n"


def sh(script: str) -> str:
    """Return a command line for TOML that runs *script*."""
    return f"command = {json.dumps(['/bin/sh', '-c', script])}\n"


def _replaced(daemon: Daemon, name: str, old: int) -> dict[str, Any] | None:
    """Return the worker once it has another pid than *old*."""
    worker = daemon.workers()[name]
    return worker if worker["pid"] not in (None, old) else None


def _logged(daemon: Daemon, name: str, text: str) -> bool:
    return text in daemon.log(name)


def test_a_killed_worker_comes_back_and_its_neighbour_is_not_touched() -> None:
    """A crash restarts one worker, with its exit recorded."""
    with Daemon(f"[worker.a]\n{SLEEP}{QUICK}[worker.b]\n{SLEEP}") as daemon:
        old = daemon.wait_state("a", "running")
        other = daemon.wait_state("b", "running")

        os.kill(old["pid"], signal.SIGKILL)
        new = wait_until(partial(_replaced, daemon, "a", old["pid"]), what="a new pid")

        assert new["restarts"] == 1
        assert new["last_exit"]["signal"] == "SIGKILL"
        assert daemon.workers()["b"]["pid"] == other["pid"]


def test_start_and_stop_wait_until_it_is_true() -> None:
    """`start` returns when it is ready, `stop` when nothing of it lives."""
    with Daemon(f"[worker.a]\n{SLEEP}autostart = false\nready = '100ms'\n") as daemon:
        assert daemon.workers()["a"]["state"] == "stopped"

        started = daemon.ctl("start", "a", check=True)
        pid = daemon.workers()["a"]["pid"]
        stopped = daemon.ctl("stop", "a", check=True)

        assert "ready" in started.stdout
        assert "stopped" in stopped.stdout
        assert not leftovers.is_alive(pid)
        assert daemon.workers()["a"]["state"] == "stopped"


def test_a_start_that_fails_says_how() -> None:
    """A worker that dies before it is ready is a failed start, with its exit code."""
    with Daemon(f"[worker.a]\n{sh('exit 7')}{QUICK}autostart = false\n") as daemon:
        done = daemon.ctl("start", "a")

        assert done.returncode == 1
        assert "exit 7" in done.stderr
        assert "failure 1 of 5" in done.stderr


def test_a_start_of_what_is_missing_says_when_it_is_tried_again_and_how_at_once() -> None:
    """A deploy heals it minutes later; whoever has mended it types the command that is shown."""
    text = "[worker.a]\ncommand = ['@DIR@/missing']\nautostart = false\n"
    with Daemon(text) as daemon:
        done = daemon.ctl("start", "a")
        told = " ".join(done.stderr.split())

        assert done.returncode == 1
        assert "failure 1 of 5, again in 5m; at once: supervisord-lite" in told
        assert told.endswith(" start a")
        program = daemon.folder / "missing"
        program.write_text("#!/bin/sh\nexec sleep 1000\n")
        program.chmod(0o755)
        daemon.ctl("start", "a", check=True)


def test_the_fifth_failure_trips_and_only_reset_closes() -> None:
    """Five starts in all, then down until somebody resets it."""
    with Daemon(f"[worker.a]\n{sh('echo run; exit 1')}{QUICK}") as daemon:
        worker = daemon.wait_state("a", "tripped")

        assert worker["failures_in_window"] == 5
        assert worker["breaker"] == "open"
        wait_until(lambda: daemon.log("a").count("run") == 5, what="five lines")
        refused = daemon.ctl("start", "a")
        assert refused.returncode == 1
        assert "reset" in refused.stderr
        assert daemon.ctl("reset", "a").returncode == 0
        wait_until(lambda: daemon.log("a").count("run") >= 6, what="a sixth run")


def test_a_trip_is_told_with_its_name_and_time() -> None:
    """Who follows the journal knows whom it is about, since when, and how often it had failed."""
    before = datetime.now(UTC)
    with Daemon(f"[worker.web]\npool_size = 2\n{sh('exit 3')}{QUICK}") as daemon:
        for name in ("web-1", "web-2"):
            daemon.wait_state(name, "tripped")
        wait_until(lambda: len(daemon.events("worker.tripped")) == 2, what="two are told")
        trips = daemon.events("worker.tripped")
    assert sorted(trip["name"] for trip in trips) == ["web-1", "web-2"]
    for trip in trips:
        assert (trip["failures"], trip["of"], trip["window_s"]) == (5, 5, 600.0)
        # Milliseconds are told, so the first one may look earlier by less than one.
        assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(trip["at"])
        assert datetime.fromisoformat(trip["at"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("policy", "code", "state"),
    [
        ("on-failure", 0, "exited"),
        ("never", 0, "exited"),
        ("never", 3, "exited"),
    ],
)
def test_a_worker_that_finished_is_left_alone(policy: str, code: int, state: str) -> None:
    """Policies that say leave it, leave it."""
    with Daemon(f"[worker.a]\n{sh(f'exit {code}')}restart = '{policy}'\n{QUICK}") as daemon:
        worker = daemon.wait_state("a", state)

        assert worker["last_exit"]["code"] == code
        assert worker["run"] == 1


def test_ok_exit_codes_are_no_failures_and_always_starts_again() -> None:
    """Under "always" an ok exit starts again after backoff.min, and counts no failure."""
    text = f"[worker.a]\n{sh('exit 4')}restart = 'always'\nok_exit_codes = [0, 4]\n{QUICK}"
    with Daemon(text) as daemon:
        worker = wait_until(
            lambda: (w := daemon.workers()["a"])["run"] >= 8 and w, what="many runs"
        )

        assert worker["failures_in_window"] == 0


def test_the_ladder_goes_up_rung_by_rung() -> None:
    """Each signal of the ladder gets its time, then the whole tree is killed."""
    script = "trap 'echo term' TERM; trap 'echo int' INT; echo up; while :; do sleep 0.05; done"
    text = (
        f"[worker.a]\n{sh(script)}"
        "stop_signal = ['SIGTERM', 'SIGINT']\nstop_timeout = ['300ms', '300ms']\n"
    )
    with Daemon(text) as daemon:
        wait_until(lambda: "up" in daemon.log("a"), what="it is up")

        daemon.ctl("stop", "a", check=True)

        wait_until(lambda: daemon.log("a").split() == ["up", "term", "int"], what="both signals")
        assert daemon.workers()["a"]["last_exit"]["signal"] == "SIGKILL"


def test_scope_tree_signals_children_and_scope_leader_does_not() -> None:
    """stop_scope says who hears the stop signal."""
    child = "trap 'echo child heard; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    script = f"sh -c \"{child}\" & trap 'wait' TERM; wait"
    text = "".join(
        f"[worker.{scope}]\n{sh(script)}stop_scope = '{scope}'\nstop_timeout = '2s'\n"
        for scope in ("leader", "tree")
    )
    with Daemon(text) as daemon:
        for scope in ("leader", "tree"):
            wait_until(partial(_logged, daemon, scope, "up"), what="both are up")

        daemon.ctl("stop", "all", check=True)

        wait_until(lambda: "child heard" in daemon.log("tree"), what="the child heard it")
        assert "child heard" not in daemon.log("leader")


def test_a_stopped_process_hears_its_stop_signal() -> None:
    """A worker that was SIGSTOPped is continued, or it would never see SIGTERM."""
    with Daemon(f"[worker.a]\n{SLEEP}stop_timeout = '20s'\n") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]
        daemon.ctl("signal", "STOP", "a", check=True)

        daemon.ctl("stop", "a", check=True)

        assert not leftovers.is_alive(pid)
        assert daemon.workers()["a"]["last_exit"]["signal"] == "SIGTERM"


def test_pools_have_names_and_each_instance_its_own_log() -> None:
    """web with pool_size 3 is web-1, web-2 and web-3."""
    script = "echo I am $SUPERVISORD_LITE_NAME of $SUPERVISORD_LITE_POOL; exec sleep 1000"
    with Daemon(f"[worker.web]\n{sh(script)}pool_size = 3\n") as daemon:
        for number in (1, 2, 3):
            daemon.wait_state(f"web-{number}", "running")
            name = f"web-{number}"
            line = f"I am {name} of web\n"
            wait_until(partial(_logged, daemon, name, line), what="its own log")

        daemon.ctl("stop", "web-2", check=True)
        states = {name: worker["state"] for name, worker in daemon.workers().items()}

        assert states == {"web-1": "running", "web-2": "stopped", "web-3": "running"}


def test_a_process_gets_exactly_what_its_table_says() -> None:
    """Directory, environment, umask, niceness and limits arrive; the daemon's own do not."""
    script = (
        "pwd; umask; nice; ulimit -n; ulimit -c; echo $COLOUR $FROM_FILE; "
        "env | grep -c NOTIFY_SOCKET; ls /proc/self/fd | wc -w; cat /proc/self/status"
    )
    text = (
        f"[worker.a]\n{sh(script)}directory = '/usr/share'\numask = 0o027\nnice = 5\n"
        "limits.nofile = 512\nlimits.core = 0\nenvironment.COLOUR = 'red'\n"
        "environment_file = '@DIR@/extra'\n"
    )
    daemon = Daemon(text, environment={"NOTIFY_SOCKET": "/nonexistent"})
    (daemon.folder / "extra").write_text("FROM_FILE=yes\n")
    with daemon:
        daemon.wait_state("a", "exited")
        wait_until(lambda: "Seccomp" in daemon.log("a"), what="its last words")
        lines = daemon.log("a").splitlines()

        assert lines[:6] == ["/usr/share", "0027", str(os.nice(0) + 5), "512", "0", "red yes"]
        assert lines[6] == "0"
        assert lines[7] == "4"  # 0, 1, 2 and the one that ls opened
        status = dict(line.split(":", 1) for line in lines[8:] if ":" in line)
        assert int(status["SigBlk"], 16) == 0
        assert int(status["SigIgn"], 16) == 0


@pytest.mark.root
def test_a_user_has_no_more_groups_than_his_own() -> None:
    """Privileges are dropped whole: uid, gid, groups, and HOME and USER follow."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to become another user")
    with Daemon(f"[worker.a]\n{sh('id; echo $USER $HOME')}user = 'nobody'\n") as daemon:
        daemon.wait_state("a", "exited")
        wait_until(lambda: "nobody /" in daemon.log("a"), what="its last words")

        assert daemon.log("a").startswith(
            "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n"
        )


def test_a_missing_program_is_named_and_waits_the_longest() -> None:
    """A file that is not there may come with the next deploy: backoff.max, and it is said."""
    text = "[worker.a]\ncommand = ['/nonexistent/program']\nbackoff.max = '1h'\n"
    with Daemon(text) as daemon:
        worker = daemon.wait_state("a", "backoff")

        assert "/nonexistent/program" in worker["last_exit"]["reason"]
        assert "exec" in worker["last_exit"]["reason"]
        printed = daemon.ctl("status", "--json", check=True).stdout
        assert printed.count("\n") == 1  # one object, one line, for programs that read lines
        status = json.loads(printed)
        assert status["workers"][0]["next_start_in_s"] > 3000


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["start", "nobody"], 4),
        (["status", "nobody"], 4),
        (["signal", "NONSENSE", "a"], 2),
        (["restart"], 2),
        (["frobnicate"], 2),
    ],
)
def test_wrong_words_change_nothing(words: list[str], status: int) -> None:
    """Each mistake has its exit code and a message, and no traceback."""
    with Daemon(f"[worker.a]\n{SLEEP}") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]

        done = daemon.ctl(words[0], *words[1:])

        assert done.returncode == status, done.stderr
        assert done.stderr
        assert "Traceback" not in done.stderr
        assert daemon.workers()["a"]["pid"] == pid


def test_a_second_signal_stops_at_once() -> None:
    """SIGTERM twice does not wait for the ladder."""
    script = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    with Daemon(f"[worker.a]\n{sh(script)}stop_timeout = '1h'\n") as daemon:
        wait_until(lambda: "up" in daemon.log("a"), what="it is up")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_state("a", "stopping")

        assert daemon.stop(timeout_s=10) == 0


def test_signals_until_the_very_end_do_not_change_the_exit_status() -> None:
    """An impatient person, or systemd, sends SIGTERM again while the last lines are written."""
    for _ in range(3):
        with Daemon(f"[worker.a]\n{SLEEP}") as daemon:
            assert daemon.process is not None
            daemon.wait_state("a", "running")

            def has_ended(process: subprocess.Popen[bytes] = daemon.process) -> bool:
                process.send_signal(signal.SIGTERM)
                return process.poll() is not None

            wait_until(has_ended, what="it has ended", every_s=0.001)
            assert daemon.process.returncode == 0


def test_ctrl_c_on_a_terminal_is_one_graceful_stop() -> None:
    """On a real terminal Ctrl-C reaches the main process once, and workers get their ladder."""
    script = "trap 'echo term; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    daemon = Daemon(f"[worker.a]\n{sh(script)}")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(daemon.folder)
        os.execve(
            daemon.argv[0], [*daemon.argv, "run", "-c", str(daemon.config)], daemon.environment
        )
    wait_until(lambda: "up" in daemon.log("a"), what="it is up")

    os.write(terminal, b"\x03")
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the last process has closed the terminal
            break
        if not piece:
            break
        shown += piece
    _, status = os.waitpid(pid, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0
    assert daemon.log("a").split() == ["up", "term"]
    assert len(re.findall(rb"signal.received signal=SIGINT", shown)) == 1
    assert not daemon.marked_pids()


def test_inherit_and_null_go_where_they_say() -> None:
    """What is inherited goes to the daemon's own output, null is nowhere; neither makes a file."""
    table = sh("echo seen; echo hidden >&2")
    text = f"[worker.a]\n{table}log.stdout = 'inherit'\nlog.stderr = 'null'\n"
    with Daemon(text) as daemon:
        daemon.wait_state("a", "exited")

        wait_until(lambda: "seen" in daemon.output(), what="it is seen")
        assert "hidden" not in daemon.output()
        assert not (daemon.folder / "log/a.log").exists()


def test_the_output_of_both_streams_keeps_its_order() -> None:
    """stdout and stderr to one file arrive in the order written."""
    script = "for n in 1 2 3 4 5 6 7 8 9; do echo out $n; echo err $n >&2; done"
    with Daemon(f"[worker.a]\n{sh(script)}") as daemon:
        daemon.wait_state("a", "exited")
        expected = "".join(f"out {n}\nerr {n}\n" for n in range(1, 10))

        wait_until(lambda: daemon.log("a") == expected, what="every line in order")


def test_a_limit_that_is_not_enforced_is_said() -> None:
    """`status NAME` says so where no controller holds the limit."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("this machine may delegate controllers")
    with Daemon(f"[worker.a]\n{SLEEP}limits.memory = '1G'\n") as daemon:
        daemon.wait_state("a", "running")

        assert "NOT ENFORCED" in daemon.ctl("status", "a", check=True).stdout


def test_sigusr1_opens_the_logs_again() -> None:
    """After logrotate has moved a file and sent SIGUSR1, lines go to a new one."""
    script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done"
    with Daemon(f"[worker.a]\n{sh(script)}") as daemon:
        wait_until(partial(_logged, daemon, "a", "line 2\n"), what="two lines")
        path = daemon.folder / "log/a.log"
        moved = path.with_suffix(".moved")
        path.rename(moved)

        os.kill(daemon.keeper_pid, signal.SIGUSR1)

        wait_until(lambda: path.exists() and path.stat().st_size, what="a new file")
        daemon.ctl("stop", "a", check=True)
        lines = (moved.read_text() + daemon.log("a")).splitlines()
        assert lines == [f"line {n}" for n in range(1, len(lines) + 1)]


def test_it_runs_without_root() -> None:
    """An ordinary user's daemon restarts what crashes and stops in good order."""
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if subprocess.run([*as_user, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces")
    with Daemon(
        f"[worker.a]\n{sh('id -u; exec sleep 1000')}{QUICK}", argv=(*as_user, *MODULE)
    ) as d:
        old = d.wait_state("a", "running")["pid"]

        os.kill(old, signal.SIGKILL)

        wait_until(partial(_replaced, d, "a", old), what="a new pid")
        wait_until(lambda: d.log("a") == "1000\n1000\n", what="both runs' words")
