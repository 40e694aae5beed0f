"""A worker that runs as the daemon's own user can take nothing out of the daemon's processes."""

import json
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.support.daemon import MODULE, Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

#: Tries every way into each process whose pid stands in `targets`, and says which have worked.
ATTACK = """
import ctypes, json, os, sys, time

libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_DETACH, PIDFD_GETFD = 0x4206, 17, 438

def taken_by_pidfd(pid):
    pidfd = os.pidfd_open(pid)
    for number in range(16):
        if libc.syscall(PIDFD_GETFD, pidfd, number, 0) >= 0:
            return True
    return False

def seized(pid):
    return libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0

def read(name):
    def way(pid):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return len(file.read(1)) == 1 or name == "mem"
    return way

def opened_for_writing(pid):
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))
    return True

WAYS = {
    "pidfd_getfd": taken_by_pidfd, "ptrace": seized, "write mem": opened_for_writing,
    "environ": read("environ"), "maps": read("maps"),
    "link fd": lambda pid: bool(os.readlink(f"/proc/{pid}/fd/0")),
    "open fd": lambda pid: os.close(os.open(f"/proc/{pid}/fd/0", os.O_RDONLY)) is None,
    "cwd": lambda pid: bool(os.readlink(f"/proc/{pid}/cwd")),
}

def tried(way, pid):
    try:
        return bool(WAYS[way](pid))
    except OSError:
        return False

while not os.path.exists("targets"):
    time.sleep(0.01)
targets = json.load(open("targets"))
found = {name: [way for way in WAYS if tried(way, pid)] for name, pid in targets.items()}
with open("found.new", "w") as file:
    json.dump({"uid": os.getuid(), "ways": len(WAYS), "found": found}, file)
os.rename("found.new", "found")
time.sleep(1000)
"""
WORKERS = """
[defaults]
ready = "spawned"
[worker.attacker]
command = ["python3", "-I", "attack.py"]
[worker.victim]
command = ["/bin/sleep", "1000"]
[worker.forked]
python = "calm:rest"
preload = ["calm"]
"""


def test_a_worker_with_the_daemons_uid_can_take_nothing() -> None:
    """Descriptors, memory, environment: open with a plain process, shut with each of ours."""
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if subprocess.run([*as_user, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces")
    made = Daemon(WORKERS, argv=(*as_user, *MODULE))
    (made.folder / "attack.py").write_text(ATTACK)
    (made.folder / "calm.py").write_text("import time\n\ndef rest():\n    time.sleep(1000)\n")
    with made as daemon:
        for name in ("attacker", "victim", "forked"):
            daemon.wait_state(name, "running")
        children = psutil.Process(daemon.keeper_pid).children()
        (server,) = (each.pid for each in children if "warm" in each.cmdline()[:4])
        targets = {
            "victim": daemon.workers()["victim"]["pid"], "keeper": daemon.keeper_pid,
            "supervisor": daemon.supervisor_pid, "scribe": daemon.scribe_pid, "forkserver": server,
        }  # fmt: skip
        (daemon.folder / "targets.new").write_text(json.dumps(targets))
        (daemon.folder / "targets.new").rename(daemon.folder / "targets")
        wait_until((daemon.folder / "found").exists, what="it has tried")

        said = json.loads((daemon.folder / "found").read_text())

        assert said["uid"] == 1000
        if Path("/proc/sys/kernel/yama/ptrace_scope").exists():
            said["found"].pop("victim")  # Yama may refuse there too: that proves nothing of ours
        else:
            assert len(said["found"].pop("victim")) == said["ways"]
        assert said["found"] == {name: [] for name in targets if name != "victim"}
