"""Where memory is short the kernel chooses a worker: the daemon is spared, and nobody by it."""

import errno
import os
import pwd
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.daemon import MODULE, Daemon
from tests.support.forkserver import a_server, with_targets
from tests.support.keeper import CountingCalls, a_household, request
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

OWN = Path("/proc/self/oom_score_adj")
SAY = "cat /proc/self/oom_score_adj"
WORKERS = f"""
[defaults]
ready = "spawned"
[worker.plain]
command = ["/bin/sh", "-c", "{SAY}; exec sleep 1000"]
[worker.limited]
command = ["/bin/sh", "-c", "{SAY}; exec sleep 1000"]
limits.core = 0
[worker.user]
command = ["/bin/sh", "-c", "{SAY}; exec sleep 1000"]
user = "nobody"
[worker.forked]
python = "calm:rest"
preload = ["calm"]
[worker.asked]
command = ["/bin/sleep", "1000"]
ready = "health"
health.exec = ["/bin/sh", "-c", "{SAY} >>@DIR@/asked"]
health.interval = "1h"
"""


def may_be_spared() -> bool:
    try:
        OWN.write_text("-1")
    except OSError:
        return False
    OWN.write_text("0")
    return True


class SparedCalls(CountingCalls):
    """The keeper is told that it is spared; not every root may have that (CAP_SYS_RESOURCE)."""

    def do_open(self, path: str, flags: int, *rest: Any, **more: Any) -> int:
        if path == str(OWN) and flags & os.O_ACCMODE == os.O_RDONLY:
            reader, writer = os.pipe()
            os.write(writer, b"-900\n")
            os.close(writer)
            return reader
        return os.open(path, flags, *rest, **more)


class ClosedCalls(SparedCalls):
    """And a child may not write its own, as one of a keeper that is not root."""

    def do_open(self, path: str, flags: int, *rest: Any, **more: Any) -> int:
        if path == str(OWN) and flags & os.O_ACCMODE == os.O_WRONLY:
            raise PermissionError(errno.EACCES, path)
        return super().do_open(path, flags, *rest, **more)


@pytest.fixture
def raised() -> Iterator[None]:
    """The test's own process, which is the keeper, is one that is chosen early."""
    before = OWN.read_text()
    OWN.write_text("300")
    yield
    OWN.write_text(before)


@pytest.mark.usefixtures("raised")
def test_whatever_is_started_by_one_that_is_spared_is_not() -> None:
    """By vfork, by fork, as another user; and the keeper stays as it is."""
    nobody = pwd.getpwnam("nobody")
    identity = {"uid": nobody.pw_uid, "gid": nobody.pw_gid, "groups": [], "user": "nobody"}
    asked: dict[str, dict[str, Any]] = {"plain": {}, "limited": {"rlimits": [["core", 0]]}}
    if os.geteuid() == 0:
        asked["user"] = {"identity": identity}
    stream = {"path": "/log", "max_size": 0, "backups": 0}
    with a_household(SparedCalls()) as house:
        for name, more in asked.items():
            stdout = {"to": "log", "stream": stream}
            # The program is there before it is told to the kernel, where there was no fork.
            words = f"while [ $({SAY}) = 300 ]; do :; done; {SAY}"
            house.ask(request(name, "sh", "-c", words, stdout=stdout, **more))
            assert house.fact(name, "exited")["code"] == 0
            assert os.read(house.run_of(name).streams[0].descriptor, 100) == b"0\n"
        assert OWN.read_text() == "300\n"


@pytest.mark.usefixtures("raised")
def test_where_a_child_may_not_say_so_itself_the_keeper_does(tmp_path: Path) -> None:
    """Of a run, a probe and a forkserver that were forked, once their programs run."""
    forked: dict[str, Any] = {"rlimits": [["core", 0]]}
    words = f"while [ $({SAY}) = 300 ]; do :; done; {SAY}"
    with a_household(ClosedCalls()) as house:
        house.ask(request("web", "sleep", "100", **forked))
        pid = house.fact("web", "spawned")["pid"]
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "0\n"
        probe = request("web", "sh", "-c", words, **forked)
        house.ask({**probe, "do": "probe", "number": 1, "timeout_s": 5.0})
        house.until(lambda: any("probed" in told for told in house.told), "a probe is over")
        (told,) = (told["probed"] for told in house.told if "probed" in told)
        assert told[4] == {"code": 0, "signal": None, "line": "0"}

        asked = a_server(with_targets(tmp_path))
        house.ask({"do": "build", "server": {**asked, "privileges": {"no_new_privs": True}}})
        house.until(lambda: any("servers" in told for told in house.told), "the server has said")
        pid = house.runs.servers._by_id[asked["id"]].run.pid
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "0\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for a worker of another user")
@pytest.mark.parametrize(("own", "theirs"), [("-900", "0"), ("300", "300")])
def test_no_worker_is_spared_with_the_daemon(own: str, theirs: str) -> None:
    """However it is started; where the daemon is not spared, everybody has what it has."""
    if own.startswith("-") and not may_be_spared():
        pytest.skip("this root lacks CAP_SYS_RESOURCE")
    made = Daemon(WORKERS)
    (made.folder / "calm.py").write_text("import time\n\ndef rest():\n    time.sleep(1000)\n")
    script = f'echo {own} >/proc/self/oom_score_adj; exec "$@"'
    made.run_argv = ("/bin/sh", "-c", script, "sh", *MODULE)
    with made as daemon:
        for name in ("plain", "limited", "user", "forked", "asked"):
            daemon.wait_state(name, "running")
        for name in ("plain", "limited", "user"):
            wait_until(partial(daemon.log, name), what=f"{name} says it")
        assert [daemon.log(name) for name in ("limited", "user")] == [f"{theirs}\n"] * 2
        assert (daemon.folder / "asked").read_text() == f"{theirs}\n"
        workers = {each["pid"] for each in daemon.workers().values()}
        children = {
            each.pid: each.cmdline() for each in psutil.Process(daemon.keeper_pid).children()
        }
        servers = {pid for pid, words in children.items() if "warm" in words[:4]}
        daemon.kill_supervisor()
        ours = {daemon.keeper_pid, daemon.supervisor_pid, daemon.scribe_pid}

        def score(pid: int) -> str:
            return Path(f"/proc/{pid}/oom_score_adj").read_text().strip()

        assert len(servers) == 1
        assert {score(pid) for pid in workers | servers} == {theirs}
        assert {score(pid) for pid in ours} == {own}
