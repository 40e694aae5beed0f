"""Rows 43 to 51: clients that lie, hang, flood and leave; folders that belong to others."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.house import QUICK, SLEEP, House, cpu_s
from tests.support.memory import rss_bytes
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

MIB = 1024 * 1024


@contextmanager
def client(daemon: Daemon, *, timeout_s: float = 10.0) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(timeout_s)
        own.connect(str(daemon.control_path))
        yield own


def _is_over(own: socket.socket) -> bool:
    """Read until the daemon hangs up; return whether it did."""
    try:
        while own.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_row_43_garbage(house: House) -> None:
    """Each gets an error or is hung up on; nobody is harmed."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    rng = random.Random(seed)
    whole = b'{"method":"io.supervisordlite.Manager.Status","parameters":{"names":["calm"]}}'
    with house.row() as daemon:
        for _ in range(150):
            kind = rng.randrange(4)
            data = [
                rng.randbytes(rng.randrange(1, 400)) + b"\0",
                whole[: rng.randrange(1, len(whole))] + b"\0",
                b'{"method":"org.varlink.service.GetInfo","parameters":7}\0',
                b'{"method":' + str(rng.random()).encode() + b"}\0",
            ][kind]
            with client(daemon) as own:
                own.sendall(data)
                own.shutdown(socket.SHUT_WR)
                assert _is_over(own), data


def _take(own: socket.socket) -> int:
    """Send until the daemon hangs up, at most so much; return how much it was."""
    sent = 0
    try:
        while sent < 64 * MIB:
            sent += own.send(b"x" * 65536)
    except (ConnectionResetError, BrokenPipeError):
        return sent
    return sent


def test_row_44_a_request_without_end(house: House) -> None:
    """Cut off long before it could fill any memory."""
    with house.row() as daemon, client(daemon) as own:
        assert _take(own) < 2 * MIB


def test_row_45_slow_requests(house: House) -> None:
    """A hundred who say one byte each hold up nobody."""
    with house.row() as daemon:
        slow = []
        for _ in range(100):
            own = socket.socket(socket.AF_UNIX)
            own.connect(str(daemon.control_path))
            own.send(b"{")
            slow.append(own)
        supervisor = daemon.supervisor_pid
        begun_s = cpu_s(supervisor)
        assert daemon.answers()
        assert cpu_s(supervisor) - begun_s < 0.25
        for own in slow:
            own.close()


def _ask_for_ever(own: socket.socket, request: bytes) -> int:
    """Ask without reading until nothing more is taken; return how often that was."""
    for number in range(20_000):
        try:
            own.sendall(request)
        except OSError:  # in time, or it has hung up
            return number
    return 20_000


def test_row_46_a_client_that_never_reads(house: House) -> None:
    """After some answers it gets no more; the daemon's memory stays as it is."""
    text = f"[worker.many]\n{SLEEP}{QUICK}pool_size = 20\nautostart = false\n"
    request = b'{"method":"io.supervisordlite.Manager.Status","parameters":{"names":[]}}\0'
    with house.row(text) as daemon:
        before = rss_bytes(daemon.supervisor_pid)
        with client(daemon, timeout_s=0.2) as own:
            assert _ask_for_ever(own, request) < 20_000, "it is asked no more than it takes"
        assert rss_bytes(daemon.supervisor_pid) - before < 24 * MIB


def test_row_47_two_hundred_at_once(house: House) -> None:
    """All of them are served."""
    request = b'{"method":"org.varlink.service.GetInfo","parameters":{}}\0'
    with house.row() as daemon:
        crowd = [socket.socket(socket.AF_UNIX) for _ in range(200)]
        for own in crowd:
            own.settimeout(20)
            own.connect(str(daemon.control_path))
        for own in crowd:
            own.sendall(request)
        for own in crowd:
            assert own.recv(65536).startswith(b'{"parameters"')
            own.close()


def test_row_48_a_client_that_leaves_in_the_middle(house: House) -> None:
    """What was ordered is carried out as a whole."""
    request = (
        b'{"method":"io.supervisordlite.Manager.%s","parameters":{"names":["p"],"wait":true},'
        b'"more":true}\0'
    )
    with house.row(f"[worker.p]\n{SLEEP}{QUICK}pool_size = 3\nautostart = false\n") as daemon:
        for verb, state in ((b"Start", "running"), (b"Stop", "stopped")):
            with client(daemon) as own:
                own.sendall(request % verb)
            for number in (1, 2, 3):
                daemon.wait_state(f"p-{number}", state)


def test_row_49_another_user(house: House) -> None:
    """One who is named nowhere does not even reach the socket."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to be another user")
    with house.row() as daemon:
        script = (
            "import os, socket, sys\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
            "except PermissionError: print('refused')\n"
        )
        done = subprocess.run(
            ["python3", "-ISc", script, daemon.control_path], capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert done.stdout == "refused\n"


#: Becomes somebody, asks as often as it is told, and says how often it was answered.
_ASKS = """
import os, socket, sys
uid, times, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.setgroups([]); os.setgid(uid); os.setuid(uid)
answered = 0
for _ in range(times):
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(path)
        try:
            own.sendall(b'{"method": "io.supervisordlite.Manager.Status"}\\0')
            answered += own.recv(65536)[:1] == b'{'
        except (BrokenPipeError, ConnectionResetError):
            pass
print(answered)
"""


def test_row_49_one_who_may_nothing(house: House) -> None:
    """Where others are let in, the kernel says who comes; it is told once, and how often."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to be another user")
    with house.row(f"[worker.o]\n{SLEEP}{QUICK}operators = ['daemon']\n") as daemon:
        for uid, times, answered in ((65534, 50, 0), (1, 3, 3)):
            done = subprocess.run(
                ["python3", "-ISc", _ASKS, str(uid), str(times), daemon.control_path],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert int(done.stdout) == answered
        wait_until(lambda: daemon.events("control.denied"), what="it is told")
        told = [(each["uid"], each.get("count", 1)) for each in daemon.events("control.denied")]
        assert told == [(65534, 1)]


def _of_another(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, 65534, 65534)


def _link_to_another(folder: Path) -> None:
    _of_another(folder.with_name("real"))
    folder.symlink_to(folder.with_name("real"))


@pytest.mark.parametrize("spoil", [_of_another, _link_to_another])
def test_row_50_a_folder_of_somebody_else(spoil: Callable[[Path], None]) -> None:
    """A control folder of another user, or a link to one, is refused with 77."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to give a folder away")
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    spoil(daemon.control_path.parent)
    done = subprocess.run(
        [*daemon.argv, "run", "-c", str(daemon.config)],
        capture_output=True, text=True, env=daemon.environment, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 77
    assert "belongs to somebody else" in " ".join(done.stderr.split())


def test_row_50_a_folder_that_is_open_to_all() -> None:
    """It is ours: so it is closed before the socket is in it."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    folder = daemon.control_path.parent
    folder.mkdir()
    folder.chmod(0o777)
    with daemon:
        wait_until(daemon.answers, what="an answer")
        assert folder.stat().st_mode & 0o777 == 0o700


def test_row_51_no_pid_file_is_trusted() -> None:
    """There is none: a lock that is no file of ours is refused, whatever it says."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    state = daemon.folder / "state"
    state.mkdir()
    victim = daemon.folder / "victim"
    victim.write_text("1\n")
    (state / "lock").symlink_to(victim)
    done = subprocess.run(
        [*daemon.argv, "run", "-c", str(daemon.config)],
        capture_output=True, text=True, env=daemon.environment, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 77
    assert victim.read_text() == "1\n"


def _open_to_all(folder: Path) -> None:
    folder.mkdir()
    (folder / "something").touch()
    folder.chmod(0o777)


def _open_to_a_group(folder: Path) -> None:
    _open_to_all(folder)
    os.chown(folder, 0, 65534)
    folder.chmod(0o770)


def _link_of_another(folder: Path) -> None:
    folder.with_name("real").mkdir(mode=0o700)
    folder.symlink_to(folder.with_name("real"))
    os.chown(folder, 65534, 65534, follow_symlinks=False)
    folder.parent.chmod(0o1777)


def _below_an_open_one(folder: Path) -> None:
    real = folder.with_name("open") / "real"
    real.mkdir(parents=True, mode=0o700)
    real.parent.chmod(0o777)
    folder.symlink_to(real)


SPOILT: dict[Callable[[Path], None], str] = {
    _of_another: "belongs to somebody else",
    _open_to_all: "everybody may write there",
    _open_to_a_group: "group 65534 may write there",
    _link_of_another: "is a link, and others may change it",
    _below_an_open_one: "everybody may put another one in its place",
}


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("key", ["state", "runtime"])
def test_row_50_where_locks_sockets_and_secrets_stand(
    spoil: Callable[[Path], None], key: str
) -> None:
    """State and runtime folders into which others may write, or lead us, are refused with 77."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to give a folder away")
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    spoil(daemon.folder / key)
    done = subprocess.run(
        [*daemon.argv, "run", "-c", str(daemon.config)],
        capture_output=True, text=True, env=daemon.environment, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 77, done.stderr
    assert SPOILT[spoil] in " ".join(done.stderr.split())
    assert f"{key}_dir: " in done.stderr


def test_row_50_an_empty_folder_that_is_open_is_closed() -> None:
    """As a file system in memory is at first: nobody has anything in it."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    for key in ("state", "runtime"):
        (daemon.folder / key).mkdir()
        (daemon.folder / key).chmod(0o1777)
    with daemon:
        modes = [(daemon.folder / key).stat().st_mode & 0o7777 for key in ("state", "runtime")]
    assert modes == [0o700, 0o711]
