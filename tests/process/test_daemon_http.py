"""Health and metrics over HTTP, and the drain before a planned stop."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.daemon import Daemon
from tests.support.sockets import free_port, get, status_of
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

WORKERS = """
[worker.web]
command = ["sleep", "1000"]
ready = "spawned"
pool_size = 2
[worker.job]
command = ["true"]
ready = "exit"
[worker.nightly]
command = ["true"]
schedule.every = "1h"
[worker.slow]
command = ["sleep", "1000"]
ready = "notify"
autostart = false
start_timeout = "1h"
"""


@contextmanager
def serving(workers: str = WORKERS, drain: str = "") -> Iterator[tuple[Daemon, int]]:
    port = free_port()
    settings = f'http = "127.0.0.1:{port}"\n' + (f'drain = "{drain}"\n' if drain else "")
    with Daemon(workers, supervisor=settings) as daemon:
        yield daemon, port


def ended(daemon: Daemon) -> int:
    assert daemon.process is not None
    return daemon.process.wait(20)


def test_pages_say_how_it_is() -> None:
    """Ready is who should be; what was stopped by hand, or is done, is not waited for."""
    with serving() as (daemon, port):
        wait_until(lambda: status_of(port, "/readyz") == 200, what="it is ready")
        assert get(port, "/livez") == (200, "ok\n")
        assert get(port, "/livez", "HEAD") == (200, "")
        assert get(port, "/readyz?worker=web") == (200, "ok\n")
        assert get(port, "/readyz?worker=job") == (200, "ok\n")
        assert get(port, "/readyz?worker=slow") == (503, "slow: stopped\n")
        assert get(port, "/readyz?worker=nobody")[0] == 404
        assert get(port, "/")[0] == 404
        daemon.ctl("start", "slow", "--no-wait", check=True)
        assert get(port, "/readyz") == (503, "slow: starting\n")
        daemon.ctl("stop", "slow", "web-2", check=True)
        assert status_of(port, "/readyz") == 200
        assert get(port, "/readyz?worker=web") == (503, "web-2: stopped\n")


def test_a_job_that_has_begun_takes_nobody_out_of_a_balancer() -> None:
    """Its run is not ready yet, then it waits to be tried again: the box serves all the while."""
    job = """
[worker.web]
command = ["sleep", "1000"]
ready = "spawned"
[worker.job]
command = ["sh", "-c", "read go < fifo; exit 1"]
ready = "notify"
start_timeout = "1h"
schedule.every = "1h"
autostart = false
restart = "on-failure"
backoff.min = "1m"
"""
    with serving(job) as (daemon, port):
        os.mkfifo(daemon.folder / "fifo")
        wait_until(lambda: status_of(port, "/readyz") == 200, what="it is ready")
        daemon.ctl("start", "job", "--no-wait", check=True)
        daemon.wait_state("job", "starting")
        assert get(port, "/readyz") == (200, "ok\n")
        assert get(port, "/readyz?worker=job") == (503, "job: starting\n")
        (daemon.folder / "fifo").write_text("go\n")
        daemon.wait_state("job", "backoff")
        assert get(port, "/readyz") == (200, "ok\n")


def test_metrics_are_those_of_the_status() -> None:
    """Each line is well formed, and the verb prints the same."""
    line = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+]+')
    with serving() as (daemon, port):
        wait_until(lambda: status_of(port, "/readyz") == 200, what="it is ready")
        status, text = get(port, "/metrics")
        assert status == 200
        lines = [each for each in text.splitlines() if not each.startswith("#")]
        assert [each for each in lines if not line.fullmatch(each)] == []
        assert 'supervisord_lite_workers{state="running"} 2' in lines
        assert 'supervisord_lite_worker_ready{worker="web-1",pool="web"} 1' in lines
        assert 'supervisord_lite_worker_up{worker="slow",pool="slow"} 0' in lines
        assert 'supervisord_lite_worker_last_exit_code{worker="job",pool="job"} 0' in lines
        printed = daemon.ctl("metrics", check=True).stdout
        names = {each.partition(" ")[0] for each in lines}
        assert {each.partition(" ")[0] for each in printed.splitlines()} >= names


def test_a_killed_supervisor_refuses_nobody() -> None:
    """The main process holds the socket: who comes meanwhile waits for the answer."""
    with serving() as (daemon, port):
        wait_until(lambda: status_of(port, "/readyz") == 200, what="it is ready")
        for _ in range(3):
            daemon.kill_supervisor()
            assert get(port, "/readyz") == (200, "ok\n")


def test_who_is_slow_or_says_nonsense_holds_up_nobody() -> None:
    """More silent connections than there are places; a reader that never reads; nonsense."""
    with serving() as (_, port):
        wait_until(lambda: status_of(port, "/readyz") == 200, what="it is ready")
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        assert get(port, "/livez") == (200, "ok\n")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"\x00\xff nonsense\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /" + b"a" * 20_000)
            assert client.recv(4096).startswith(b"HTTP/1.1 431 ")
        for each in silent:
            each.settimeout(20)
            # The oldest had to give way, the others were too slow.
            assert each.recv(1) == b""
            each.close()


def test_a_drain_says_so_before_anybody_is_stopped() -> None:
    """It is 503 for as long as configured, while workers run on and are restarted."""
    workers = '[worker.web]\ncommand = ["sleep", "1000"]\nready = "spawned"\nbackoff.min = "10ms"\n'
    with serving(workers, drain="4s") as (daemon, port):
        wait_until(lambda: status_of(port, "/readyz") == 200, what="it is ready")
        before = daemon.wait_state("web", "running")["pid"]
        begun_s = time.monotonic()
        os.kill(daemon.keeper_pid, signal.SIGTERM)
        wait_until(lambda: get(port, "/readyz") == (503, "draining\n"), what="it drains")
        assert status_of(port, "/livez") == 200
        daemon.kill_supervisor()
        assert get(port, "/readyz") == (503, "draining\n")
        os.kill(before, signal.SIGKILL)
        wait_until(
            lambda: daemon.workers()["web"]["pid"] not in (None, before), what="it is restarted"
        )
        assert ended(daemon) == 0
        assert time.monotonic() - begun_s >= 4.0


def test_a_second_signal_cuts_a_drain_short() -> None:
    """Whoever is impatient gets the immediate stop."""
    with serving(drain="1h") as (daemon, port):
        wait_until(lambda: status_of(port, "/readyz") == 200, what="it is ready")
        os.kill(daemon.keeper_pid, signal.SIGTERM)
        wait_until(lambda: get(port, "/readyz") == (503, "draining\n"), what="it drains")
        os.kill(daemon.keeper_pid, signal.SIGTERM)
        assert ended(daemon) == 0


def test_an_address_that_is_taken_is_77() -> None:
    """It is told before anything is started, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        daemon = Daemon(WORKERS, supervisor=f'http = "127.0.0.1:{port}"\n')
        done = subprocess.run(
            [*daemon.argv, "run", "-c", str(daemon.config)], env=daemon.environment,
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    assert done.returncode == 77
    assert f"http: 127.0.0.1:{port}: Address already in use" in done.stderr
