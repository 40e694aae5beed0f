"""Sockets of workers: opened once, shared by a pool, held while its processes come and go."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.support.daemon import MODULE, Daemon
from tests.support.programs import program
from tests.support.sockets import Load, ask, free_port, server
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


@pytest.mark.parametrize("size", [1, 3])
def test_nobody_is_refused_while_a_pool_restarts(size: int) -> None:
    """A connection waits in the backlog until somebody is there again."""
    address = ("127.0.0.1", free_port())
    keys = {"pool_size": str(size), "sockets__http": f'"127.0.0.1:{address[1]}"'}
    with Daemon(server("web", **keys)) as daemon:
        daemon.wait_state("web" if size == 1 else "web-3", "running")
        with Load(address) as load:
            wait_until(lambda: load.outcomes["answered"] > 20, what="it answers")
            for _ in range(2):
                daemon.ctl("restart", "web", check=True)
            os.kill(int(ask(address)["pid"]), 9)
            answered = load.outcomes["answered"]
            wait_until(lambda: load.outcomes["answered"] > answered + 20, what="it answers again")
        assert set(load.outcomes) - {"ConnectionResetError", "JSONDecodeError"} == {"answered"}
        # Only the process that was killed may have cut somebody off, and only once.
        assert sum(load.outcomes.values()) - load.outcomes["answered"] <= 1
        assert len(load.pids) > 2 * size


def test_a_process_learns_of_its_sockets_as_under_systemd() -> None:
    """Descriptors from 3 on, in the order of the file, with their names."""
    ports = [free_port() for _ in range(2)]
    keys = {
        "sockets__admin": f'"127.0.0.1:{ports[0]}"',
        "sockets__http": f'"127.0.0.1:{ports[1]}"',
    }
    with Daemon(server("web", "4", **keys)) as daemon:
        pid = daemon.wait_state("web", "running")["pid"]
        assert ask(("127.0.0.1", ports[1])) == {
            "pid": pid, "LISTEN_PID": str(pid), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "admin:http"
        }  # fmt: skip


def test_instances_may_have_sockets_of_their_own_and_ipv6_is_one() -> None:
    """Where the address counts instances; and all addresses are both families."""
    first = free_port()
    with Daemon(server("web", pool_size="2", sockets__http=f'":%{{{first}..}}"')) as daemon:
        pids = [daemon.wait_state(name, "running")["pid"] for name in ("web-1", "web-2")]
        for index, pid in enumerate(pids):
            for host in ("127.0.0.1", "::1"):
                assert ask((host, first + index))["pid"] == pid


def test_a_unix_socket_has_its_mode_and_owner_and_goes_with_the_worker() -> None:
    """And one that a dead daemon left is in nobody's way."""
    listen = "{ listen = 'unix:@DIR@/web.sock', mode = '0606', backlog = 7 }"
    daemon = Daemon(server("web", sockets__http=listen))
    path = daemon.folder / "web.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with daemon:
        daemon.wait_state("web", "running")
        about = path.stat()
        assert (stat.S_ISSOCK(about.st_mode), about.st_mode & 0o777) == (True, 0o606)
        pid = ask(str(path))["pid"]
        daemon.kill_supervisor()
        daemon.ctl("restart", "web", check=True)
        assert path.stat().st_ino == about.st_ino
        assert ask(str(path))["pid"] != pid
        daemon.write("[worker.other]\ncommand = ['sleep', '1000']\n")
        daemon.ctl("reload", check=True)
        wait_until(lambda: not path.exists(), what="it is gone")


def test_a_unix_socket_whose_name_was_deleted_has_it_again_with_the_next_process() -> None:
    """And what somebody else has put there is not removed with the worker."""
    daemon = Daemon(server("web", sockets__http='"unix:@DIR@/web.sock"'))
    path = daemon.folder / "web.sock"
    with daemon:
        pid = daemon.wait_state("web", "running")["pid"]
        path.unlink()
        daemon.ctl("restart", "web", check=True)
        assert ask(str(path))["pid"] not in (None, pid)
        path.unlink()
        path.write_text("mine")
        daemon.write("[worker.other]\ncommand = ['sleep', '1000']\n")
        daemon.ctl("reload", check=True)
        wait_until(lambda: list(daemon.workers()) == ["other"], what="it is gone")
    assert path.read_text() == "mine"


def test_a_socket_that_cannot_be_had_is_a_failed_stage_and_heals() -> None:
    """Named with its address; the worker waits and tries again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        keys = {"sockets__http": f'"127.0.0.1:{port}"', "max_restarts": "100"}
        text = server("web", backoff__min='"20ms"', backoff__max='"50ms"', **keys)
        with Daemon(text) as daemon:
            reason = daemon.wait_state("web", "backoff")["last_exit"]["reason"]
            assert f"socket: Address already in use: 127.0.0.1:{port}" in reason.replace(
                "spawn failed (socket)", "socket"
            )
            other.close()
            daemon.wait_state("web", "running")


def test_another_address_is_another_socket_and_the_same_one_is_kept() -> None:
    """A reload moves it; what only moves in the file stays open."""
    ports = [free_port() for _ in range(2)]
    with Daemon(server("web", sockets__http=f'"127.0.0.1:{ports[0]}"')) as daemon:
        daemon.wait_state("web", "running")
        daemon.write(server("web", sockets__http=f'"127.0.0.1:{ports[1]}"'))
        daemon.ctl("reload", check=True)
        daemon.wait_state("web", "running")
        assert ask(("127.0.0.1", ports[1]))["pid"] == daemon.workers()["web"]["pid"]
        with pytest.raises(ConnectionRefusedError):
            ask(("127.0.0.1", ports[0]))


def test_sockets_that_systemd_hands_to_the_daemon_are_handed_on() -> None:
    """By the name that systemd gives them; one that it has not handed on trips at once."""
    with socket.socket() as handed:
        handed.bind(("127.0.0.1", 0))
        handed.listen()
        port = handed.getsockname()[1]
        script = 'exec 3<&"$0" && export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web && exec "$@"'
        argv = ("/bin/bash", "-c", script, str(handed.fileno()), *MODULE)
        text = server("web", sockets__http='"systemd:web"')
        text += server("bad", sockets__http='"systemd:other"')
        handed.set_inheritable(True)
        daemon = Daemon(text)
        daemon.run_argv, daemon.pass_fds = argv, (handed.fileno(),)
        with daemon:
            pid = daemon.wait_state("web", "running")["pid"]
            assert ask(("127.0.0.1", port))["pid"] == pid
            tripped = daemon.wait_state("bad", "tripped")
            assert 'handed on no socket "other" (web)' in tripped["last_exit"]["reason"]
            environ = Path(f"/proc/{pid}/environ").read_text()
            assert "LISTEN_FDNAMES=http" in environ


def test_an_fcgi_program_finds_its_socket_where_it_wants_it() -> None:
    """`fd = 0`, as fcgi programs have it."""
    listen = "{ listen = 'unix:@DIR@/web.sock', fd = 0 }"
    with Daemon(server("web", "0", sockets__fcgi=listen)) as daemon:
        pid = daemon.wait_state("web", "running")["pid"]
        answer = ask(str(daemon.folder / "web.sock"))
        assert answer == {"pid": pid}


def test_gunicorn_takes_the_socket_that_is_held_for_it() -> None:
    """A program that knows systemd's sockets knows ours."""
    gunicorn = program("gunicorn", "gunicorn (pip)")
    port = free_port()
    command = [gunicorn, "-w", "1", "application:app"]
    text = (
        f"[worker.web]\ncommand = {json.dumps(command)}\nready = 'notify'\ndirectory = '@DIR@'\n"
        f"environment.PYTHONPATH = '@DIR@'\nsockets.http = '127.0.0.1:{port}'\n"
    )
    daemon = Daemon(text)
    (daemon.folder / "application.py").write_text(
        "def app(environ, start):\n    start('200 OK', [])\n    return [b'hello']\n"
    )
    with daemon:
        daemon.wait_state("web", "running")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            wait_until(lambda: b"hello" in client.recv(4096), what="it answers")
