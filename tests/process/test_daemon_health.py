"""Workers that are asked whether they work: real servers, good and bad, and real programs."""

import json
import os
import random  # noqa: TID251  # seeded, and the seed is told
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from tests.support.daemon import MODULE, Daemon
from tests.support.leftovers import is_alive
from tests.support.programs import PYTHON, program
from tests.support.sockets import free_port
from tests.support.wait import pass_random_time, pass_time, wait_until

pytestmark = pytest.mark.process

#: Answers each connection as FOLDER/mode says; notes each in FOLDER/asked. Without a port it does
#: not listen until FOLDER/go is there.
SERVER = """
import os, pathlib, socket, sys, threading, time
folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
while not (folder / "go").exists():
    time.sleep(0.005)
own = socket.create_server(("127.0.0.1", port))

def mode():
    return (folder / "mode").read_text()

def serve(client):
    head = client.recv(65536)
    with (folder / "asked").open("a") as file:
        file.write(f"{os.getpid()} {head.split()[1].decode() if head else ''}\\n")
    ok = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
    while mode() == "hold":
        time.sleep(0.005)
    kind = mode()
    if kind == "good":
        client.sendall(ok)
    elif kind == "elsewhere":
        client.sendall(b"HTTP/1.1 302 Found\\r\\nLocation: /x\\r\\nContent-Length: 0\\r\\n\\r\\n")
    elif kind == "busy":
        client.sendall(b"HTTP/1.1 503 Busy\\r\\n\\r\\n")
    elif kind == "garbage":
        client.sendall(b"220 mail.example.org ESMTP\\r\\n")
    elif kind == "slow":
        time.sleep(30)
    elif kind == "drip":
        for byte in ok:
            client.sendall(bytes([byte]))
            time.sleep(1)
    elif kind == "huge":
        client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
        for _ in range(1024):
            client.sendall(b"x" * 1048576)
    client.close()

def safely(client):
    try:
        serve(client)
    except OSError:
        pass

while True:
    if mode() == "deaf":
        own.close()
        time.sleep(1000)
    own.settimeout(0.02)
    try:
        client, _ = own.accept()
    except TimeoutError:
        continue
    client.settimeout(None)
    threading.Thread(target=safely, args=(client,), daemon=True).start()
"""
QUICK = (
    'health.interval = "100ms"\nhealth.timeout = "400ms"\nhealth.failures = 3\n'
    'backoff.min = "20ms"\nbackoff.max = "20ms"\nmax_restarts = 1\n'
)


class Site(Daemon):
    """A daemon with one worker, a server that behaves as it is told."""

    def __init__(self, lines: str = "", *, probe: str = "", mode: str = "good") -> None:
        port = free_port()
        command = json.dumps([*PYTHON, SERVER, "@DIR@", str(port)])
        probe = probe or 'health.http = "http://127.0.0.1:PORT/healthz"'
        keys = f"{probe.replace('PORT', str(port))}\n{QUICK}{lines}"
        super().__init__(f"[worker.web]\ncommand = {command}\n{keys}")
        self.behave(mode)
        (self.folder / "go").touch()

    def behave(self, mode: str) -> None:
        (self.folder / "new").write_text(mode)
        (self.folder / "new").replace(self.folder / "mode")

    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def wait_asked(self, more: int) -> None:
        before = len(self.asked())
        wait_until(lambda: len(self.asked()) >= before + more, what="it is asked again")

    def note(self) -> str | None:
        note: str | None = self.workers()["web"]["note"]
        return note


def test_the_first_good_answer_makes_it_ready_and_bad_ones_before_are_shown() -> None:
    """However many: only start_timeout limits a start."""
    site = Site()
    (site.folder / "go").unlink()
    with site:
        wait_until(lambda: site.note() == "health: connection refused", what="it is refused")
        assert site.workers()["web"]["state"] == "starting"
        (site.folder / "go").touch()
        worker = site.wait_state("web", "running")
        assert (worker["ready"], worker["failures_in_window"]) == (True, 0)
        assert site.asked()[0].endswith(" /healthz")
        site.wait_asked(3)
        assert site.workers()["web"]["pid"] == worker["pid"]


def test_one_that_never_answers_well_is_not_ready_in_time() -> None:
    """That is the failure, and the only one."""
    with Site('start_timeout = "2s"\n', mode="busy") as site:
        tripped = site.wait_state("web", "tripped")
        assert tripped["last_exit"]["reason"] == "not ready after 2s"
        assert len(site.asked()) >= 2


REASONS = {
    "busy": "health: HTTP 503, 3 times",
    "slow": "health: no answer within 0.4s, 3 times",
    "drip": "health: no answer within 0.4s, 3 times",
    "huge": "health: its answer is larger than 1M, 3 times",
    "garbage": 'health: not HTTP: "220 mail.example.org ESM…", 3 times',
    "close": "health: it closed the connection without an answer, 3 times",
    "deaf": "health: connection refused, 3 times",
}


@pytest.mark.parametrize(("mode", "reason"), REASONS.items(), ids=REASONS.keys())
def test_so_many_bad_answers_in_a_row_are_a_failure(mode: str, reason: str) -> None:
    """Ended by its stop ladder, counted, with the reason in words."""
    with Site() as site:
        site.wait_state("web", "running")
        site.behave(mode)
        tripped = site.wait_state("web", "tripped", timeout_s=20.0)
        assert tripped["last_exit"]["reason"] == reason
        assert tripped["failures_in_window"] == 1
        told = wait_until(lambda: site.events("worker.failed"), what="it is told")[-1]
        assert (told["reason"], told["signal"]) == (reason, "SIGTERM")


def test_a_connection_is_answer_enough_for_tcp() -> None:
    """Whatever a server says behind it; but somebody must listen."""
    with Site(probe='health.tcp = "localhost:PORT"', mode="garbage") as site:
        site.wait_state("web", "running")
        site.wait_asked(3)
        site.behave("deaf")
        tripped = site.wait_state("web", "tripped")
        assert tripped["last_exit"]["reason"] == "health: connection refused, 3 times"


def test_bad_answers_show_in_status_and_a_good_one_ends_the_row() -> None:
    """And `why` names the keys that decided, with their place."""
    lines = "health.failures = 900\n"
    site = Site()
    text = site.config.read_text().replace("health.failures = 3\n", lines)
    site.config.write_text(text)
    with site:
        worker = site.wait_state("web", "running")
        site.behave("busy")
        wait_until(lambda: "of 900 bad: HTTP 503" in (site.note() or ""), what="it is shown")
        assert "of 900 bad: HTTP 503" in site.ctl("status", "web").stdout
        site.behave("elsewhere")
        wait_until(lambda: site.note() is None, what="all is well")

        # Other keys hold at once: the process stays, and is judged by them.
        site.config.write_text(text.replace(lines, "health.failures = 2\n"))
        reloaded = site.ctl("reload", check=True).stdout
        assert "live, 1 pid kept: health.failures 900 -> 2" in " ".join(reloaded.split())
        assert site.workers()["web"]["pid"] == worker["pid"]
        site.behave("busy")
        site.wait_state("web", "tripped")
        why = site.ctl("why", "web", check=True).stdout
        assert "health: HTTP 503, 2 times" in why
        assert "health.failures 2" in why
        line = text.splitlines().index(lines.strip()) + 1
        assert f"supervisord-lite.toml:{line}" in why


def test_nobody_is_judged_for_our_own_absence() -> None:
    """A question that was under way while the supervisor was stopped says nothing."""
    with Site() as site:
        text = site.config.read_text().replace("health.failures = 3", "health.failures = 1")
        site.config.write_text(text)
        site.ctl("reload", check=True)
        worker = site.wait_state("web", "running")
        for release_first in (False, True):
            site.behave("hold")
            site.wait_asked(1)
            supervisor = site.supervisor_pid
            os.kill(supervisor, signal.SIGSTOP)
            pass_time(1.8)  # a second more than an answer may take is no absence yet
            if release_first:
                site.behave("good")
            os.kill(supervisor, signal.SIGCONT)
            site.behave("good")
            site.wait_asked(3)
            now = site.workers()["web"]
            assert (now["pid"], now["state"]) == (worker["pid"], "running")
            assert site.supervisor_pid == supervisor


def test_a_new_supervisor_counts_anew() -> None:
    """What one had counted is gone with it, and a run that is ready stays ready."""
    with Site(mode="good") as site:
        worker = site.wait_state("web", "running")
        site.behave("slow")
        wait_until(lambda: "1 of 3 bad" in (site.note() or ""), what="it has answered badly")
        site.behave("good")
        site.kill_supervisor()
        site.wait_asked(2)
        now = site.wait_state("web", "running")
        assert (now["pid"], now["ready"], now["note"]) == (worker["pid"], True, None)
        site.behave("busy")
        tripped = site.wait_state("web", "tripped")
        assert tripped["last_exit"]["reason"] == "health: HTTP 503, 3 times"


# -- programs --------------------------------------------------------------------------------------


def asking(script: str, lines: str = "", *, failures: int = 2) -> str:
    """Return a worker that does nothing and is asked by a shell script."""
    return (
        '[worker.web]\ncommand = ["sleep", "1000"]\n'
        f"health.exec = {json.dumps(['sh', '-c', script])}\n"
        f"{QUICK.replace('health.failures = 3', f'health.failures = {failures}')}{lines}"
    )


def test_a_program_is_asked_as_the_worker_s_user_in_its_place() -> None:
    """Its environment and limits too; the last line that it says goes into the reason."""
    script = (
        "test -e @DIR@/bad || exit 0; echo first; "
        'echo "$(id -un) $(pwd) $COLOUR $(ulimit -n) ${NOTIFY_SOCKET:-none}" >&2; echo; exit 3'
    )
    keys = (
        'user = "nobody"\ndirectory = "/usr"\nenvironment.COLOUR = "red"\nlimits.nofile = 77\n'
        'heartbeat_timeout = "1h"\n'
    )
    with Daemon(asking(script, keys)) as daemon:
        worker = daemon.wait_state("web", "running")
        assert worker["ready"]
        (daemon.folder / "bad").touch()
        tripped = daemon.wait_state("web", "tripped")
        assert tripped["last_exit"]["reason"] == (
            "health: exit 3: nobody /usr red 77 none, 2 times"
        )


def test_a_program_that_is_not_there_is_a_bad_answer() -> None:
    """It is the configuration's fault, and the reason says so."""
    text = asking("x", 'ready = "50ms"\n').replace('["sh", "-c", "x"]', '["/no/such/probe"]')
    with Daemon(text) as daemon:
        tripped = daemon.wait_state("web", "tripped")
        reason = tripped["last_exit"]["reason"]
        assert reason == "health: could not be asked: no such file: /no/such/probe, 2 times"


_NO_CGROUPS = ("unshare", "--mount", "--propagation", "private", "sh", "-c",
               'umount -R -l /sys/fs/cgroup 2>/dev/null; exec "$@"', "sh")  # fmt: skip


def helpers(daemon: Daemon) -> list[int]:
    """Return the processes that a probe has started."""
    found = []
    for pid in daemon.marked_pids():
        try:
            if psutil.Process(pid).cmdline()[:2] == ["sleep", "7777"]:
                found.append(pid)
        except psutil.Error:
            continue
    return found


#: Leaves one behind in a session of its own, and waits for another one.
STUCK = "test -e @DIR@/stuck || exit 0; echo $$ >> @DIR@/probes; setsid sleep 7777 & sleep 7777"


@pytest.mark.parametrize("argv", [MODULE, (*_NO_CGROUPS, *MODULE)], ids=["cgroups", "without"])
def test_a_program_that_is_late_is_killed_with_all_that_it_started(argv: tuple[str, ...]) -> None:
    """Each time; and nothing of it outlives the worker."""
    with Daemon(asking(STUCK), argv=MODULE) as daemon:
        daemon.run_argv = argv
        daemon.stop()
        daemon.start()
        daemon.wait_state("web", "running")
        (daemon.folder / "stuck").touch()
        wait_until(lambda: len(helpers(daemon)) == 2, what="a probe has its helpers")
        tripped = daemon.wait_state("web", "tripped")
        assert tripped["last_exit"]["reason"] == "health: no answer within 0.4s, 2 times"
        assert len((daemon.folder / "probes").read_text().split()) == 2
        wait_until(lambda: not helpers(daemon), what="nothing of them lives")


def test_a_stop_ends_the_question_first() -> None:
    """It is not waited for, and nothing is left when the stop is told as done."""
    text = asking(STUCK).replace('health.timeout = "400ms"', 'health.timeout = "60s"')
    with Daemon(text) as daemon:
        daemon.wait_state("web", "running")
        (daemon.folder / "stuck").touch()
        wait_until(lambda: len(helpers(daemon)) == 2, what="it is asked")
        daemon.ctl("stop", "web", check=True)
        assert not helpers(daemon)
        assert daemon.workers()["web"]["failures_in_window"] == 0


def test_a_program_ends_with_the_supervisor_that_had_asked() -> None:
    """The next one asks anew; the worker notices nothing."""
    text = asking(STUCK).replace('health.timeout = "400ms"', 'health.timeout = "60s"')
    with Daemon(text) as daemon:
        worker = daemon.wait_state("web", "running")
        (daemon.folder / "stuck").touch()
        wait_until(lambda: len(helpers(daemon)) == 2, what="it is asked")
        first = helpers(daemon)
        (daemon.folder / "stuck").unlink()
        daemon.kill_supervisor()
        wait_until(lambda: not any(map(is_alive, first)), what="nothing of it lives")
        assert daemon.wait_state("web", "running")["pid"] == worker["pid"]
        (daemon.folder / "stuck").touch()
        wait_until(lambda: len(helpers(daemon)) == 2, what="it is asked again")


# -- private sockets -------------------------------------------------------------------------------

APPLICATION = """
import os, pathlib

def app(environ, start_response):
    folder = pathlib.Path(os.environ["FOLDER"])
    with (folder / "asked").open("a") as file:
        file.write(f"{os.getppid()} {environ['PATH_INFO']}\\n")
    is_sick = environ["PATH_INFO"] == "/healthz" and (folder / f"sick-{os.getppid()}").exists()
    start_response("500 Sick" if is_sick else "200 OK", [("Content-Length", "2")])
    return [b"hi"]
"""


def test_a_private_socket_asks_that_very_process() -> None:
    """Two gunicorns share a socket; the one that is sick is found, and the other one left alone."""
    server, port = program("gunicorn", "gunicorn (pip)"), free_port()
    daemon = Daemon(
        f"[worker.web]\ncommand = {json.dumps([server, '-w', '1', 'application:app'])}\n"
        f'directory = "@DIR@"\nenvironment.PYTHONPATH = "@DIR@"\nenvironment.FOLDER = "@DIR@"\n'
        f'pool_size = 2\nsockets.http = "127.0.0.1:{port}"\nsockets.probe = "private"\n'
        f'health.http = "probe:/healthz"\nhealth.interval = "100ms"\n'
        'backoff.min = "20ms"\nbackoff.max = "20ms"\nstop_timeout = "5s"\n'
    )
    (daemon.folder / "application.py").write_text(APPLICATION)
    with daemon:
        first = daemon.wait_state("web-1", "running", timeout_s=20.0)
        second = daemon.wait_state("web-2", "running", timeout_s=20.0)
        places = sorted((daemon.folder / "runtime/w").glob("*/s4"))
        assert [place.parent.name for place in places] == ["web.1.1", "web.2.1"]
        for place in places:
            assert (place.stat().st_uid, place.stat().st_mode & 0o777) == (os.getuid(), 0o600)

        (daemon.folder / f"sick-{second['pid']}").touch()
        wait_until(
            lambda: daemon.workers()["web-2"]["pid"] not in (None, second["pid"]),
            what="the sick one is replaced",
            timeout_s=20.0,
        )
        again = daemon.wait_state("web-2", "running", timeout_s=20.0)
        assert again["last_exit"]["reason"] == "health: HTTP 500, 3 times"
        assert daemon.workers()["web-1"]["pid"] == first["pid"]
        assert daemon.workers()["web-1"]["failures_in_window"] == 0
        names = sorted(place.parent.name for place in (daemon.folder / "runtime/w").glob("*/s4"))
        assert names == ["web.1.1", f"web.2.{again['run']}"]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /shop HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 200")

        daemon.ctl("stop", "web", check=True)
        assert list((daemon.folder / "runtime/w").iterdir()) == []


def test_what_a_worker_puts_in_place_of_its_private_socket_is_not_asked() -> None:
    """The folder may be its own; a link out of it is not followed with the daemon's rights."""
    script = (
        "sleep 0.2; rm @DIR@/runtime/w/web.1.1/s4; ln -s @DIR@/o @DIR@/runtime/w/web.1.1/s4; "
        "exec sleep 1000"
    )
    daemon = Daemon(
        f"[worker.web]\ncommand = {json.dumps(['sh', '-c', script])}\n"
        'user = "nobody"\nready = "50ms"\nheartbeat_timeout = "1h"\n'
        f'sockets.a = "private"\nsockets.probe = "private"\nhealth.http = "probe:/"\n{QUICK}'
    )
    with socket.socket(socket.AF_UNIX) as other, daemon:
        other.bind(str(daemon.folder / "o"))
        other.listen()
        other.settimeout(0.0)
        tripped = daemon.wait_state("web", "tripped", timeout_s=20.0)
        reason = tripped["last_exit"]["reason"]
        assert reason.startswith("health: its private socket is "), reason
        with pytest.raises(BlockingIOError):
            other.accept()


#: Answers on the socket at descriptor 3 what FOLDER/release said when it began, and notes its pid.
RELEASE = """
import os, pathlib, socket, sys
folder = pathlib.Path(sys.argv[1])
status = (folder / "release").read_text()
own = socket.socket(fileno=3)
while True:
    client, _ = own.accept()
    try:
        client.recv(4096)
        client.sendall(f"HTTP/1.1 {status} Said\\r\\nContent-Length: 0\\r\\n\\r\\n".encode())
    except OSError:
        pass
    client.close()
    with (folder / "asked").open("a") as file:
        file.write(f"{os.getpid()}\\n")
"""


def test_while_one_takes_over_from_another_each_is_asked_by_itself() -> None:
    """A new process that answers badly is never ready; its answers are not those of the old one."""
    daemon = Daemon(
        f"[worker.web]\ncommand = {json.dumps([*PYTHON, RELEASE, '@DIR@'])}\n"
        'sockets.probe = "private"\nhealth.http = "probe:/"\nmax_surge = 1\nmax_unavailable = 0\n'
        f'start_timeout = "2s"\n{QUICK}'
    )
    (daemon.folder / "release").write_text("200")

    def asked(pid: int) -> int:
        path = daemon.folder / "asked"
        return path.read_text().split().count(str(pid)) if path.exists() else 0

    with daemon:
        old = daemon.wait_state("web", "running")
        (daemon.folder / "release").write_text("500")
        with subprocess.Popen(
            [*daemon.argv, "restart", "--socket", str(daemon.control_path), "web"],
            env=daemon.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as restart:  # fmt: skip
            both = wait_until(lambda: _both(daemon), what="there are two")
            new = next(pid for pid in both if pid != old["pid"])
            before = asked(old["pid"])
            wait_until(lambda: asked(new) >= 3, what="the new one is asked")
            wait_until(lambda: asked(old["pid"]) >= before + 2, what="and the old one")
            restart.communicate(timeout=20)
            assert restart.returncode == 1
        now = daemon.workers()["web"]
        assert (now["pid"], now["state"], now["failures_in_window"]) == (old["pid"], "running", 0)
        (daemon.folder / "release").write_text("204")
        daemon.ctl("restart", "web", check=True)
        last = daemon.workers()["web"]["pid"]
        assert last not in (old["pid"], new)
        wait_until(lambda: asked(last) >= 3, what="it is asked")
        daemon.ctl("stop", "web", check=True)
        assert list((daemon.folder / "runtime/w").iterdir()) == []


def _both(daemon: Daemon) -> list[int] | None:
    status = daemon.call("io.supervisordlite.Manager.Status", names=[])["workers"]
    pids = [worker["pid"] for worker in status if worker["pid"] is not None]
    return pids if len(pids) == 2 else None


@pytest.mark.slow
def test_supervisors_that_die_all_the_time_leave_no_program_and_judge_nobody() -> None:
    """Killed at whatever moment, with many questions under way and short ones between them."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    rng = random.Random(seed)
    text = asking("sleep 7777 & sleep 0.0$((RANDOM % 10)); exit 0", 'ready = "50ms"\n', failures=1)
    text = text.replace('["sh", "-c"', '["bash", "-c"').replace('"400ms"', '"30s"')
    with Daemon(text + "pool_size = 12\n") as daemon:
        for index in range(1, 13):
            daemon.wait_state(f"web-{index}", "running")
        before = {name: worker["pid"] for name, worker in daemon.workers().items()}
        for _ in range(8):
            wait_until(lambda: helpers(daemon), what="somebody is asked")
            pass_random_time(rng, at_most_s=0.2)
            daemon.kill_supervisor()
        now = daemon.workers()
        assert {name: worker["pid"] for name, worker in now.items()} == before
        daemon.ctl("stop", "all", check=True)
        assert helpers(daemon) == []
        own = [child.pid for child in psutil.Process(daemon.keeper_pid).children()]
        assert sorted(own) == sorted((daemon.supervisor_pid, daemon.scribe_pid))
