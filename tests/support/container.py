"""The container of README, made from the very files that README shows.

`container_boot.py` plays the engine: namespaces, a read-only root, tmpfs, volumes, a user without
any capability. Dockerfile and compose.yaml are read as far as the recipe goes; a word that is not
known here fails the test.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.support import cgroups, leftovers
from tests.support.wait import wait_until

CHECKOUT = Path(__file__).parents[2]
README = CHECKOUT / "README.md"
_BOOT = Path(__file__).with_name("container_boot.py")
_UNSHARE = (
    "unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--kill-child",
)  # fmt: skip
#: What of the compose file changes nothing that can be seen from inside.
_FOR_THE_ENGINE = {"build", "restart"}


def what_is_missing() -> str:
    """Return why no container can be made here, empty if one can."""
    if os.geteuid() != 0:
        return "needs root and namespaces: run as root"
    done = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"needs root and namespaces: {done.stderr.strip()}"
    return "" if cgroups.own() is not None else "needs a cgroup v2 mount"


def files_of_readme() -> dict[str, str]:
    """Return the files of the recipe by the name in their first line, `# NAME …`."""
    section = README.read_text().partition("\n## In a container\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```\w+\n(# ([\w./]+).*?)```", section, re.DOTALL)
    return {name: text for text, name in blocks}


def read_dockerfile(text: str) -> dict[str, Any]:
    """Return what the image is: steps of its build, and how it starts.

    Raises:
        AssertionError: It has an instruction that nobody carries out here.
    """
    image: dict[str, Any] = {"steps": [], "env": {}, "cmd": [], "workdir": "/", "user": "root"}
    text = re.sub(r"\\\n\s*", " ", text)
    for line in filter(None, (line.partition("# ")[0].strip() for line in text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            assert re.fullmatch(r"python:3\.\d+-slim", rest), rest
        elif word == "COPY":
            image["steps"].append(("COPY", rest.split()))
        elif word == "RUN":
            image["steps"].append(("RUN", [rest]))
        elif word == "ENV":
            image["env"].update(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in ("USER", "WORKDIR"):
            image[word.lower()] = rest
        elif word in ("ENTRYPOINT", "CMD"):
            image[word.lower()] = json.loads(rest)
        else:
            assert word == "HEALTHCHECK", f"{word} is not known to {__file__}"
            image["health"] = json.loads(rest.partition("CMD ")[2])
    return image


def read_compose(text: str) -> dict[str, Any]:
    """Return the one service of a compose file: keys with texts and lists of texts."""
    service: dict[str, Any] = {}
    lines = (line.partition("  #")[0].rstrip() for line in text.splitlines())
    key = ""
    for line in lines:
        if line.startswith("      - "):
            service.setdefault(key, []).append(line[8:].strip('"'))
        elif line.startswith("    "):
            key, _, value = line.strip().partition(": ")
            key = key.rstrip(":")
            if value.startswith("["):
                service[key] = [each.strip(' "') for each in value.strip("[]").split(",")]
            elif value:
                service[key] = value
    return service


class Container:
    """One container; a context manager that ends it with all that it had.

    Attributes:
        folder: Outside: what is mounted (`etc/`), volumes, its output.
        image: As `read_dockerfile` gives it.
        service: As `read_compose` gives it.
        pid: Outside pid of its PID 1.
    """

    def __init__(self, workers: str | None = None) -> None:
        """Write the files; nothing runs yet.

        Args:
            workers: Another configuration than README's.
        """
        files = files_of_readme()
        self.image = read_dockerfile(files["Dockerfile"])
        self.service = read_compose(files["compose.yaml"])
        self.folder = leftovers.short_folder()
        self.config = self.folder / "etc/workers.toml"
        self.config.parent.mkdir()
        self.config.write_text(files["etc/workers.toml"] if workers is None else workers)
        self._output = self.folder / "output"
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def stop_grace_s(self) -> float:
        """How long `docker stop` waits, in seconds."""
        text = str(self.service["stop_grace_period"])
        assert text.endswith("s"), text
        return float(text[:-1])

    def _spec(self) -> dict[str, Any]:
        service = {k: v for k, v in self.service.items() if k not in _FOR_THE_ENGINE}
        assert service.pop("cap_drop") == ["ALL"]
        assert service.pop("security_opt") == ["no-new-privileges:true"]
        assert service.pop("stop_grace_period")
        binds, volumes = [], []
        for volume in service.pop("volumes"):
            source, point, mode = [*volume.split(":"), "rw"][:3]
            folder = self.folder / source
            if not source.startswith("."):
                folder = self.folder / f"volume-{source}"
                folder.mkdir(exist_ok=True)
                volumes.append(str(folder))
            binds.append((str(folder), point, mode))
        spec = {
            "folder": str(self.folder / "mounts"),
            "image": self.image,
            "context": str(CHECKOUT),
            "libraries": [path for path in sys.path if path.endswith("site-packages")],
            "read_only": service.pop("read_only") == "true",
            "tmpfs": dict(each.partition(":")[::2] for each in service.pop("tmpfs")),
            "binds": binds,
            "volumes": volumes,
        }
        assert not service, f"{set(service)} of compose.yaml is not known to {__file__}"
        return spec

    def start(self) -> None:
        """Start it; its PID 1 may still be on the way to what it runs."""
        (self.folder / "mounts").mkdir(exist_ok=True)
        spec = self.folder / "spec.json"
        spec.write_text(json.dumps(self._spec()))
        argv = ["setpriv", "--pdeathsig", "KILL", *_UNSHARE, sys.executable, "-I", str(_BOOT)]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*argv, str(spec)], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.pid = wait_until(self._find_first, what="it has a first process")

    def _find_first(self) -> int:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def __enter__(self) -> Self:
        """Start it and wait until the daemon in it is all that it should be."""
        try:
            self.start()
            wait_until(
                self.is_healthy, what="it is healthy", timeout_s=30, every_s=0.05,
                on_timeout=self.logs,
            )  # fmt: skip
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """SIGKILL, if it still lives."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def is_healthy(self) -> bool:
        """Return what its HEALTHCHECK says."""
        assert self._process is not None
        assert self._process.poll() is None, f"it has ended:\n{self.logs()}"
        # Before, it is not yet what an engine would look into.
        return self.runs("sdl-keeper") and self.exec(*self.image["health"]).returncode == 0

    def runs(self, name: str) -> bool:
        """Return whether its PID 1 is this program."""
        return Path(f"/proc/{self.pid}/comm").read_text().strip() == name[:15]

    def exec(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as `docker exec` does: as its user, in its folder."""
        environment = [f"{name}={value}" for name, value in self._variables().items()]
        about = Path(f"/proc/{self.pid}/status").read_text()
        uid, gid = (about.split(f"\n{key}:")[1].split()[0] for key in ("Uid", "Gid"))
        return subprocess.run(
            [
                "nsenter", "--target", str(self.pid), "--all", "--root", "--wd",
                "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
                "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--",
                "/usr/bin/env", "-i", f"--chdir={self.image['workdir']}", *environment, *argv,
            ],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=30,
        )  # fmt: skip

    def _variables(self) -> dict[str, str]:
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/app", **self.image["env"]}

    def status(self) -> dict[str, dict[str, Any]]:
        """Return the workers by name."""
        done = self.exec("supervisord-lite", "status", "--json")
        assert done.returncode == 0, done.stderr
        return {worker["name"]: worker for worker in json.loads(done.stdout)["workers"]}

    def processes(self) -> dict[int, tuple[str, str, int]]:
        """Return what lives in it, zombies too: pid inside -> (name, state, parent inside)."""
        script = "cd /proc && cat [0-9]*/stat 2>/dev/null || true"
        found = {}
        for line in self.exec("sh", "-c", script).stdout.splitlines():
            left, _, right = line.rpartition(")")
            pid, _, name = left.partition(" (")
            found[int(pid)] = (name, right.split()[0], int(right.split()[1]))
        return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its PID 1."""
        os.kill(self.pid, number)  # ours: `unshare` has not reaped it

    def stop(self) -> tuple[int, float]:
        """Do what `docker stop` does; return exit status and seconds; 137: it was killed."""
        begun_s = time.monotonic()
        self.send(signal.SIGTERM)
        return self.wait(self.stop_grace_s), time.monotonic() - begun_s

    def wait(self, timeout_s: float) -> int:
        """Return the exit status of its PID 1, as the engine tells it."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def logs(self) -> str:
        """Return what it has written."""
        return self._output.read_text(errors="replace")
