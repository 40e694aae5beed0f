"""Requests for runs that are forks, and modules to be forked with."""

import sys
from pathlib import Path
from typing import Any

import supervisord_lite
from tests.support.keeper import request

BOOT = Path(supervisord_lite.__file__).parent / "worker" / "boot.py"

#: Targets; what they write goes to files below the folder that they run in.
TARGETS = """
import json, os, signal, sys, time
from pathlib import Path
from supervisord_lite.worker import context

def leave(code=0):
    sys.exit(code)

def rest():
    context.sleep(600)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def daemonize():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path("orphan").write_text(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    context.sleep(600)

def status():
    print(Path("/proc/self/status").read_text() + f"nice: {os.nice(0)}")

def tell():
    import resource
    status = dict(
        line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    umask = os.umask(0)
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[name] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass
    about = {
        "pid": os.getpid(), "ppid": os.getppid(), "sid": os.getsid(0), "cwd": os.getcwd(),
        "umask": umask, "nice": os.nice(0), "uids": os.getresuid(), "env": dict(os.environ),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE), "fds": fds,
        "blocked": status["SigBlk"], "comm": Path("/proc/self/comm").read_text(),
        "cmdline": Path("/proc/self/cmdline").read_text(),
        "environ": Path("/proc/self/environ").read_text(),
        "cgroup": Path("/proc/self/cgroup").read_text(), "argv": sys.argv, "path": sys.path[0],
        "random": __import__("random").random(), "modules": sorted(sys.modules),
    }
    print(json.dumps(about))
"""


def a_server(folder: Path, *preload: str, **more: Any) -> dict[str, Any]:
    """Return what a server is described by; *more* replaces what a plain one has."""
    about = {
        "id": "1", "name": "pool", "directory": str(folder), "environment": [], "umask": 0o022,
        "identity": None, "stdout": {"to": "null"}, "stderr": {"to": "null"}, "timeout_s": 60.0,
        "argv": [sys.executable, str(BOOT), "warm", str(folder), *preload],
    }  # fmt: skip
    return {**about, **more}


def forked(
    name: str, target: str, server: dict[str, Any], *, run: int = 1, **more: Any
) -> dict[str, Any]:
    """Return a request for a run of targets.TARGET in a fork of *server*."""
    folder = server["directory"]
    config = more.pop("config", {})
    record = {"target": f"targets:{target}", "directory": folder, "name": name, "config": config}
    about = {"directory": folder, "server": server, "title": f"{name} targets", **more}
    ask = request(name, run=run, **about)
    ask["python"] = record
    ask["environment"] = [*ask["environment"], ["INVOCATION_ID", ask["marker"]]]
    return ask


def with_targets(folder: Path) -> Path:
    """Write the module `targets` into *folder*; return that."""
    (folder / "targets.py").write_text(TARGETS)
    return folder
