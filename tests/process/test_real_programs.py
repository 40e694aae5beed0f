"""Programs that know nothing of us run as they are: gunicorn, nginx and redis-server."""

import json
import socket
import urllib.request

import pytest

from tests.support.daemon import Daemon
from tests.support.programs import program
from tests.support.sockets import free_port
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

APPLICATION = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello from {os.getpid()}".encode()]
"""


def fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
        text: str = response.read().decode()
        return text


def answers(port: int) -> bool:
    try:
        fetch(port)
    except OSError:
        return False
    return True


def test_redis_says_when_it_is_ready_and_keeps_its_data() -> None:
    """With `supervised systemd`, as its Debian unit has it; ready means that it answers."""
    server, port = program("redis-server", "redis-server"), free_port()
    command = [
        server, "--port", str(port), "--dir", "@DIR@", "--supervised", "systemd",
        "--appendonly", "yes",
    ]  # fmt: skip
    with Daemon(f'[worker.redis]\ncommand = {json.dumps(command)}\nready = "notify"\n') as daemon:
        worker = daemon.wait_state("redis", "running")
        assert "Ready to accept connections" in worker["note"]
        assert ask_redis(port, "SET key value") == "+OK"
        daemon.ctl("restart", "redis", check=True)
        assert ask_redis(port, "GET key") == "$5"
        daemon.ctl("stop", "redis", check=True)
        stopped = daemon.workers()["redis"]
        assert (stopped["state"], stopped["last_exit"]["code"]) == ("stopped", 0)


def ask_redis(port: int, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(f"{command}\r\n".encode())
        return client.recv(100).decode().splitlines()[0]


def test_gunicorn_says_when_it_is_ready_and_is_told_to_reload() -> None:
    """Its workers are of its tree, and die with it."""
    server, port = program("gunicorn", "gunicorn (pip)"), free_port()
    command = [server, "-w", "2", "-b", f"127.0.0.1:{port}", "application:app"]
    keys = 'ready = "notify"\ndirectory = "@DIR@"\nenvironment.PYTHONPATH = "@DIR@"\n'
    daemon = Daemon(f"[worker.web]\ncommand = {json.dumps(command)}\n{keys}")
    (daemon.folder / "application.py").write_text(APPLICATION)
    with daemon:
        worker = daemon.wait_state("web", "running")
        wait_until(lambda: answers(port), what="it serves")
        before = fetch(port)
        daemon.ctl("signal", "HUP", "web", check=True)
        wait_until(lambda: fetch(port) != before, what="other workers serve")
        assert daemon.workers()["web"]["pid"] == worker["pid"]
        daemon.ctl("stop", "web", check=True)
        stopped = daemon.workers()["web"]
        assert (stopped["state"], stopped["last_exit"]["code"]) == ("stopped", 0)
        assert not answers(port)


def test_nginx_in_the_foreground_is_stopped_as_it_wants_to_be() -> None:
    """SIGQUIT lets it end its connections; its worker processes are of its tree."""
    server, port = program("nginx", "nginx-light"), free_port()
    settings = (
        "daemon off; error_log stderr; pid @DIR@/nginx.pid; events {} http { access_log off; "
        f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 hello; }} }} }}"
    )
    command = [server, "-p", "@DIR@", "-c", "@DIR@/nginx.conf", "-e", "stderr"]
    keys = 'ready = "200ms"\nstop_signal = ["SIGQUIT", "SIGTERM"]\nstop_timeout = ["5s", "5s"]\n'
    daemon = Daemon(f"[worker.nginx]\ncommand = {json.dumps(command)}\n{keys}")
    conf = settings.replace("@DIR@", str(daemon.folder))
    (daemon.folder / "nginx.conf").write_text(conf)
    with daemon:
        daemon.wait_state("nginx", "running")
        wait_until(lambda: answers(port), what="it serves")
        daemon.ctl("stop", "nginx", check=True)
        stopped = daemon.workers()["nginx"]
        assert (stopped["state"], stopped["last_exit"]["code"]) == ("stopped", 0)
        assert not answers(port)
