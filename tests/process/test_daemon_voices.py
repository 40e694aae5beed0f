"""What workers say of themselves: ready, alive, more time, a word for people."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.programs import PYTHON
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

QUICK = 'backoff.min = "20ms"\nbackoff.max = "20ms"\n'
#: Says what stands in FOLDER/say, each line once, to its notification socket; never exits.
SPEAKER = """
import os, socket, sys, time
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
own.connect(os.environ["NOTIFY_SOCKET"])
open(sys.argv[1] + "/here", "a").write(f"{os.getpid()}\\n")
said = 0
while True:
    try:
        lines = open(sys.argv[1] + "/say").read().split("\\n")[:-1]
    except FileNotFoundError:
        lines = []
    for line in lines[said:]:
        own.send(line.replace("|", "\\n").encode())
    said = len(lines)
    time.sleep(0.01)
"""


def speaker(name: str = "web", **keys: str) -> str:
    python = ("python3", "-c") if "user" in keys else PYTHON  # one that every user may run
    command = [*python, SPEAKER, "@DIR@"]
    text = "".join(f"{key.replace('__', '.')} = {value}\n" for key, value in keys.items())
    return f"[worker.{name}]\ncommand = {json.dumps(command)}\n{QUICK}{text}"


def say(daemon: Daemon, *words: str) -> None:
    with (daemon.folder / "say").open("a") as file:
        file.writelines(f"{word}\n" for word in words)


def folder_of(daemon: Daemon, name: str = "web.1.1") -> Path:
    return daemon.folder / "runtime/w" / name


def test_a_worker_is_ready_when_it_says_so_and_what_it_says_is_shown() -> None:
    """Not before; and the words and the readiness survive the supervisor."""
    with Daemon(speaker(ready='"notify"')) as daemon:
        wait_until((daemon.folder / "here").exists, what="it lives")
        assert daemon.workers()["web"]["state"] == "starting"
        say(daemon, "STATUS=warming up: 40 %")
        wait_until(lambda: daemon.workers()["web"]["note"] == "warming up: 40 %", what="its word")
        assert daemon.workers()["web"]["state"] == "starting"

        daemon.kill_supervisor()
        assert daemon.wait_state("web", "starting")["note"] == "warming up: 40 %"
        say(daemon, "READY=1|STATUS=serving")
        worker = daemon.wait_state("web", "running")
        wait_until(lambda: daemon.workers()["web"]["note"] == "serving", what="its new word")
        daemon.kill_supervisor()
        assert daemon.wait_state("web", "running")["pid"] == worker["pid"]

        say(daemon, "RELOADING=1")
        wait_until(lambda: daemon.workers()["web"]["note"] == "reloading: serving", what="reloads")
        say(daemon, "READY=1|STATUS=")
        wait_until(lambda: daemon.workers()["web"]["note"] is None, what="nothing more to say")


def test_what_it_says_is_shown_without_the_secrets_that_its_file_gave_it() -> None:
    """By the names of the variables, as everywhere."""
    text = speaker(ready='"notify"') + 'environment.API_TOKEN = "s3cret-%i"\n'
    with Daemon(text) as daemon:
        say(daemon, "STATUS=asks with s3cret-1|READY=1")
        daemon.wait_state("web", "running")
        wait_until(lambda: daemon.workers()["web"]["note"] == "asks with ***", what="its word")


def test_one_that_never_says_so_has_failed() -> None:
    """A timeout is a failure; the next start begins with a new socket."""
    with Daemon(speaker(ready='"notify"', start_timeout='"2s"', max_restarts="2")) as daemon:
        tripped = daemon.wait_state("web", "tripped")
        assert tripped["last_exit"]["reason"] == "not ready after 2s"
        assert len((daemon.folder / "here").read_text().splitlines()) == 2
        assert not list((daemon.folder / "runtime/w").iterdir())


def test_more_time_is_given_as_long_as_it_is_asked_for() -> None:
    """For the start, and for the stop."""
    keys = {"start_timeout": '"3s"', "stop_timeout": '"3s"', "stop_signal": '"SIGUSR1"'}
    with Daemon(speaker(ready='"notify"', **keys)) as daemon:
        wait_until((daemon.folder / "here").exists, what="it lives")
        say(daemon, "EXTEND_TIMEOUT_USEC=600000000")
        with pytest.raises(AssertionError):
            daemon.wait_state("web", "backoff", "tripped", timeout_s=4)
        say(daemon, "READY=1")
        daemon.wait_state("web", "running")


def test_a_worker_without_a_heartbeat_is_ended_and_one_with_it_lives() -> None:
    """Judged only when the keeper has heard nothing either; also under a new supervisor."""
    keys = {"heartbeat_timeout": '"400ms"', "max_restarts": "1"}
    with Daemon(speaker(ready='"notify"', **keys)) as daemon:
        wait_until((daemon.folder / "here").exists, what="it lives")
        say(daemon, "READY=1")
        worker = daemon.wait_state("web", "running")
        environ = Path(f"/proc/{worker['pid']}/environ").read_bytes()
        assert b"\0WATCHDOG_USEC=400000\0" in environ

        def beats() -> bool:
            say(daemon, "WATCHDOG=1")
            state: str = daemon.workers()["web"]["state"]
            return state != "running"

        with pytest.raises(AssertionError, match="it is judged"):
            wait_until(beats, what="it is judged", timeout_s=1.5)
        daemon.kill_supervisor()
        os.kill(worker["pid"], signal.SIGSTOP)
        tripped = daemon.wait_state("web", "tripped")
        assert tripped["last_exit"]["reason"] == "no heartbeat for 0.4s"


def test_a_worker_that_says_that_it_hangs_is_ended() -> None:
    """WATCHDOG=trigger needs no patience."""
    with Daemon(speaker(ready='"notify"', max_restarts="1")) as daemon:
        say(daemon, "READY=1", "WATCHDOG=trigger")
        tripped = daemon.wait_state("web", "tripped")
        assert "WATCHDOG=trigger" in tripped["last_exit"]["reason"]


def test_a_newline_on_the_descriptor_says_ready() -> None:
    """As programs for s6 do; with it, and never by its mere end."""
    good = "sleep 0.1; echo ok >&3; exec 3>&-; exec sleep 1000"
    mute = "exec 3>&-; exec sleep 1000"
    both = "".join(
        f"[worker.{name}]\ncommand = {json.dumps(['/bin/sh', '-c', script])}\n"
        f'ready = "fd:3"\nstart_timeout = "500ms"\nmax_restarts = 1\n{more}'
        for name, script, more in (
            ("good", good, ""),
            ("mute", mute, ""),
            ("nice", good, "nice = 1\n"),
        )
    )
    with Daemon(both) as daemon:
        for name in ("good", "nice"):
            assert daemon.wait_state(name, "running")["ready"]
        tripped = daemon.wait_state("mute", "tripped")
        assert tripped["last_exit"]["reason"] == "not ready after 0.5s"


def test_the_socket_is_the_users_own_and_gone_with_the_run() -> None:
    """Nobody else can say that a worker is ready."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to give a worker another user")
    with Daemon(speaker(ready='"notify"', user='"nobody"')) as daemon:
        daemon.folder.chmod(0o777)
        wait_until((daemon.folder / "here").exists, what="it lives")
        about = folder_of(daemon).stat()
        assert (about.st_mode & 0o777, about.st_uid) == (0o700, 65534)
        assert not may_speak(2, str(folder_of(daemon) / "notify"))
        assert daemon.workers()["web"]["state"] == "starting"
        say(daemon, "READY=1")
        daemon.wait_state("web", "running")
        daemon.ctl("stop", "web", check=True)
        assert not folder_of(daemon).exists()


def test_words_without_end_or_sense_hurt_nobody() -> None:
    """A flood, binary, a text of 100 KiB, numbers without end: neighbours and control go on."""
    flood = (
        "import os,socket;s=socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.connect(os.environ['NOTIFY_SOCKET'])\ns.send(b'READY=1')\nn=0\n"
        "while True:\n"
        " n+=1\n"
        " s.send([b'STATUS=%d' % n, b'\\xff\\x00=\\n\\n=', b'EXTEND_TIMEOUT_USEC=' + b'9'*400,"
        " b'WATCHDOG=1', b'READY=1', b'X'*100000][n % 6])\n"
    )
    other = f'[worker.mad]\ncommand = {json.dumps([*PYTHON, flood])}\nready = "notify"\n'
    with Daemon(other + '[worker.calm]\ncommand = ["sleep", "1000"]\nready = "20ms"\n') as daemon:
        daemon.wait_state("mad", "running")
        for _ in range(3):
            daemon.ctl("restart", "calm", check=True)
        assert daemon.workers()["mad"]["note"].isdigit()


def test_what_a_dead_daemon_left_is_cleared_away() -> None:
    """Folders of workers that nobody has any more."""
    with Daemon(speaker(ready='"notify"')) as daemon:
        wait_until((daemon.folder / "here").exists, what="it lives")
        assert daemon.stop() == 0
        stale = folder_of(daemon, "old.1.7")
        stale.mkdir(parents=True)
        (stale / "notify").touch()
        daemon.start()
        wait_until(folder_of(daemon).exists, what="it lives again")
        assert not stale.exists()


def may_speak(uid: int, path: str) -> bool:
    """Return whether another user can say something to a socket."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            notify_by_hand(path, "READY=1")
            status = 0
        except PermissionError:
            status = 13
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 13)
    return code == 0


def notify_by_hand(path: str, text: str) -> None:
    """Say something to a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.sendto(text.encode(), path)


def test_a_very_long_name_has_a_socket_that_can_be_named() -> None:
    """The path of a socket has an end, names of workers may be longer."""
    name = "n" * 100
    with Daemon(speaker(name, ready='"notify"')) as daemon:
        wait_until((daemon.folder / "here").exists, what="it lives")
        (folder,) = (daemon.folder / "runtime/w").iterdir()
        assert len(folder.name) < 30
        notify_by_hand(str(folder / "notify"), "READY=1")
        worker: dict[str, Any] = daemon.wait_state(name, "running")
        assert worker["ready"]
