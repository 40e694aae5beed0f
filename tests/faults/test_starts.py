"""Rows 1 to 8: what can go wrong on the way to a running program."""

import contextlib
import errno
import os
import resource
import socket

import pytest

from tests.support.daemon import MethodFailedError
from tests.support.house import QUICK, SLEEP, House, cpu_s, limited, lowest_free_descriptor
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_row_01_fork_eagain(house: House) -> None:
    """No more processes: the start has failed with that reason, and is tried again."""
    if house.pids.path is None:
        pytest.skip("needs a cgroup with the pids controller: run as root")
    with house.row(f"[worker.a]\n{SLEEP}{QUICK}[worker.b]\n{SLEEP}{QUICK}") as daemon:
        pid = house.wait_running("b")
        house.wait_running("a")
        with house.pids.full():
            house.kill("a")
            house.wait_reason("a", os.strerror(errno.EAGAIN))
            assert daemon.workers()["b"]["pid"] == pid
        house.wait_running("a")


def test_row_02_rlimit_nproc(house: House) -> None:
    """A user who may have no more processes: as above, for this user alone."""
    if os.geteuid() != 0:
        pytest.skip("needs root: for a worker of another user")
    text = f"[worker.n]\n{SLEEP}{QUICK}user = 'nobody'\nlimits.nproc = 1\npool_size = 3\n"
    with house.row(text):
        names = ("n-1", "n-2", "n-3")
        wait_until(
            lambda: any(os.strerror(errno.EAGAIN) in house.reason(name) for name in names),
            what="the second one is refused",
        )


def test_row_04_emfile(house: House) -> None:
    """No descriptors in the main process: starts fail before the fork, all else goes on."""
    with house.row(f"[worker.a]\n{SLEEP}{QUICK}") as daemon:
        keeper = daemon.keeper_pid
        house.wait_running("a")
        with limited(keeper, resource.RLIMIT_NOFILE, lowest_free_descriptor(keeper)):
            house.kill("a")
            house.wait_reason("a", "no descriptor left")
        house.wait_running("a")


def test_row_05_emfile_on_accept(house: House) -> None:
    """No descriptors in the supervisor: whoever connects is served later, and nothing spins."""
    with house.row() as daemon:
        supervisor = daemon.supervisor_pid
        begun_s = cpu_s(supervisor)
        lowest = lowest_free_descriptor(supervisor)
        with limited(supervisor, resource.RLIMIT_NOFILE, lowest), contextlib.ExitStack() as clients:
            # A connection of before may have ended just now: its descriptor serves one more.
            for _ in range(5):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.settimeout(0.5)
                client.connect(str(daemon.control_path))
                client.sendall(b'{"method": "org.varlink.service.GetInfo"}\0')
                try:
                    assert client.recv(65536)
                except TimeoutError:
                    break
            else:
                pytest.fail("everybody is served, without descriptors")
            assert cpu_s(supervisor) - begun_s < 0.25
        wait_until(daemon.answers, what="an answer")
        assert daemon.supervisor_pid == supervisor


def test_row_07_exec_fails(house: House) -> None:
    """Each way in which a program cannot be executed is told by its name; a deploy may heal it."""
    folder = house.daemon.folder
    (folder / "text").write_bytes(b"\0\0no program")
    (folder / "text").chmod(0o755)
    (folder / "closed").write_text("#!/bin/sh\n")
    (folder / "closed").chmod(0o644)
    (folder / "round").symlink_to(folder / "round")
    expected = {
        "enoent": ("['@DIR@/missing']", "no such file"),
        "eacces": ("['@DIR@/closed']", os.strerror(errno.EACCES)),
        "enoexec": ("['@DIR@/text']", "not a program"),
        "eloop": ("['@DIR@/round']", os.strerror(errno.ELOOP)),
    }
    text = "".join(
        f"[worker.{name}]\ncommand = {command}\nready = 'spawned'\nbackoff.max = '1h'\n"
        for name, (command, _) in expected.items()
    )
    with house.row(text) as daemon:
        for name, (_, words) in expected.items():
            house.wait_reason(name, words)
            assert "exec" in house.reason(name)
        answer = daemon.call("io.supervisordlite.Manager.Status", names=["enoent"])
        assert answer["workers"][0]["next_start_at_s"] - answer["now_s"] > 1000


def test_row_07_arguments_that_are_too_long(house: House) -> None:
    """What the kernel would refuse with E2BIG is refused with its place in the file."""
    with house.row():
        long = ", ".join([repr("x" * 100_000)] * 25)
        with pytest.raises(MethodFailedError, match="KiB"):
            house.reload(f"[worker.a]\ncommand = ['/bin/true', {long}]\n")
        house.reload("")


def test_row_08_a_directory_that_has_gone(house: House) -> None:
    """What was there when the file was judged may be missing later: told with the stage."""
    folder = house.daemon.folder / "goes"
    folder.mkdir()
    with house.row(f"[worker.d]\n{SLEEP}{QUICK}directory = '{folder}'\n"):
        house.wait_running("d")
        folder.rmdir()
        house.kill("d")
        house.wait_reason("d", "directory")
        folder.mkdir()
        house.wait_running("d")


def test_row_08_a_user_that_cannot_be(house: House) -> None:
    """A user, group or mask that is none is refused before anything changes."""
    with house.row():
        for key in ("user = 'nosuchuser'", "user = 'root'\ngroup = 'nosuchgroup'", "umask = '9'"):
            with pytest.raises(MethodFailedError, match=r"nosuch|umask"):
                house.reload(f"[worker.a]\n{SLEEP}{key}\n")
        house.reload("")
