"""The lists of rights against real users and groups: the daemon is root's, others ask."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import CHECKOUT, Daemon
from tests.support.wait import wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root: to ask as another user"),
]

SLEEP = 'command = ["/bin/sleep", "1000"]\nready = "spawned"\n'
WORKERS = f'[worker.web]\n{SLEEP}operators = ["daemon"]\n[worker.db]\n{SLEEP}'
LISTS = 'admin = ["sys"]\noperate = ["@games"]\nread = ["nobody"]\n'
SYS, BIN, DAEMON, NOBODY, GAMES = 3, 2, 1, 65534, 60
ASK = """
import locale, os, sys
uid, groups = int(sys.argv[1]), [int(group) for group in sys.argv[2].split(",") if group]
from supervisord_lite import cli
from supervisord_lite.cli import reload, restart, scale, shutdown, signal, start, status, stop
from supervisord_lite.config import digests
from supervisord_lite.control import client, interface
interface.manager_description()
digests.digest_of(b"")
os.setgroups(groups)
os.setgid(65534)
os.setuid(uid)
sys.exit(cli.main(sys.argv[3:]))
"""


def ask(
    daemon: Daemon, uid: int, verb: str, *arguments: str, groups: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a verb as another user; what it needs of us is imported before."""
    return subprocess.run(
        [sys.executable, "-c", ASK, str(uid), groups, verb, "--socket", str(daemon.control_path),
         *arguments],
        env={**daemon.environment, "PYTHONPATH": str(CHECKOUT)}, cwd="/", timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def modes(daemon: Daemon) -> tuple[int, int]:
    path = daemon.control_path
    return tuple(stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent))  # type: ignore[return-value]


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: worker["pid"] for name, worker in daemon.workers().items()}


def test_each_user_may_what_the_lists_say() -> None:
    """By uid, by a supplementary group, for one worker alone, or not at all: exit 0 or 5."""
    with Daemon(LISTS + WORKERS) as daemon:
        daemon.wait_state("db", "running")
        assert modes(daemon) == (0o666, 0o755)
        before = pids(daemon)

        for verb in (["status"], ["restart", "web"], ["signal", "HUP", "web"], ["scale", "web=2"],
                     ["reload"], ["shutdown"]):  # fmt: skip
            done = ask(daemon, BIN, *verb)
            assert done.returncode == 5, (verb, done)
            assert "not permitted for bin (uid 2)" in done.stderr
        for verb, who in (
            (["stop", "web"], "web is operated by: root, sys"), (["reload"], "allowed: root, sys"),
        ):  # fmt: skip
            done = ask(daemon, NOBODY, *verb)
            assert done.returncode == 5, (verb, done)
            assert who in done.stderr
        assert ask(daemon, DAEMON, "stop", "*").returncode == 5
        assert ask(daemon, DAEMON, "stop", "db").returncode == 5
        assert ask(daemon, BIN, "reload", groups=str(GAMES)).returncode == 5
        assert pids(daemon) == before
        assert ask(daemon, NOBODY, "status").returncode == 0
        assert ask(daemon, DAEMON, "restart", "web").returncode == 0
        assert ask(daemon, BIN, "restart", "db", groups=f"7,{GAMES}").returncode == 0
        assert ask(daemon, SYS, "reload").returncode == 0
        assert not set(pids(daemon).values()) & set(before.values())
        shown = daemon.ctl("events", "--json", "-n", "1000", check=True).stdout
        orders = [each for each in map(json.loads, shown.splitlines()) if "by_uid" in each]
        assert [
            (each["event"], each.get("name"), each.get("by_verb"), each["by_uid"])
            for each in orders if each["event"] != "worker.started"
        ] == [
            ("worker.stopped", "web", "restart", DAEMON),
            ("worker.stopped", "db", "restart", BIN), ("config.reloaded", None, None, SYS),
        ]  # fmt: skip
        assert all(each["by_pid"] > 1 for each in orders)
        assert '"event": "control.denied", "uid": 2,' in daemon.output()
        told = daemon.events("control.denied")
        assert [(e["verb"], e.get("pool")) for e in told if e["uid"] == 65534] == [
            ("stop", "web"), ("reload", None)]  # fmt: skip
        shown = daemon.ctl("events", "--json", "control.denied", check=True).stdout
        assert len(shown.splitlines()) == len(told)


def test_with_nobody_named_the_door_is_closed() -> None:
    """The kernel keeps everybody else out."""
    with Daemon(f"[worker.web]\n{SLEEP}") as daemon:
        assert modes(daemon) == (0o600, 0o700)
        done = ask(daemon, NOBODY, "status")
        assert done.returncode == 5, done


def test_a_reload_opens_and_closes_the_door() -> None:
    """Modes and rights follow the file; who is connected and named no more is hung up on."""
    with Daemon(f"[worker.web]\n{SLEEP}") as daemon:
        daemon.write(f'read = ["nobody"]\n[worker.web]\n{SLEEP}')
        daemon.ctl("reload", check=True)
        wait_until(lambda: modes(daemon) == (0o666, 0o755), what="the socket is open")
        assert ask(daemon, NOBODY, "status").returncode == 0

        reader = _connected_as(NOBODY, daemon.control_path)
        reader.sendall(b'{"method":"io.supervisordlite.Manager.Watch","more":true}\0')
        assert b"web" in reader.recv(65536)
        daemon.write(f"[worker.web]\n{SLEEP}")
        daemon.ctl("reload", check=True)
        with reader:
            while reader.recv(65536):
                pass
        wait_until(lambda: modes(daemon) == (0o600, 0o700), what="the socket is closed")
        assert ask(daemon, NOBODY, "status").returncode == 5


def test_a_folder_with_other_things_in_it_keeps_its_mode() -> None:
    """Only a folder of the socket's own is opened."""
    daemon = Daemon(LISTS + WORKERS)
    folder = daemon.control_path.parent
    folder.mkdir(mode=0o700)
    (folder / "letters").touch()
    with daemon:
        assert modes(daemon) == (0o666, 0o700)
        assert "only some can pass" in daemon.output()
        assert ask(daemon, SYS, "status").returncode == 5


def _connected_as(uid: int, path: Path) -> socket.socket:
    """Return a connection that a child with another uid has made."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(uid)
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connected.connect(str(path))
            socket.send_fds(theirs, [b"x"], [connected.fileno()])
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
    ours.close()
    theirs.close()
    connected = socket.socket(fileno=descriptor)
    connected.settimeout(20.0)
    return connected
