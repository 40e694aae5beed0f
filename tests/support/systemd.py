"""A real systemd as PID 1, in namespaces over a copy-on-write view of this machine.

Booted in about half a second by `systemd_boot.sh`. Inside stands the machine's own file system,
where changes are thrown away; /run, /tmp, /dev and the enabled units are fresh. `shared` is one
folder with the same path on both sides. The network is the machine's.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import cgroups, leftovers
from tests.support.wait import wait_until

CHECKOUT = Path(__file__).parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
_BOOT = Path(__file__).with_name("systemd_boot.sh")
_TOOLS = ("bash", "mount", "pivot_root", "nsenter", "setpriv", "unshare", "systemctl", "journalctl")
# --kill-child: when unshare is killed, so is PID 1 inside, and the kernel ends the rest.
_UNSHARE = ("unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--cgroup", "--kill-child")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def what_is_missing() -> str:
    """Return why no systemd can be booted here (a text with "needs" first), empty if it can."""
    if os.geteuid() != 0:
        return "needs root and namespaces: run as root"
    if not SYSTEMD.exists():
        return "needs systemd: apt-get install systemd dbus"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install util-linux mount systemd"
    own = cgroups.own()
    if own is None or not os.access(own, os.W_OK):
        return "needs root and namespaces: no cgroup v2 in which one may be made"
    done = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"needs root and namespaces: {done.stderr.strip()}" if done.returncode else ""


class Machine:
    """One booted systemd. Paths are those inside, unless said otherwise.

    Attributes:
        shared: A folder with the same path and content outside and inside.
        cgroup: Outside path of the cgroup that is the root inside.
        init_pid: Outside pid of PID 1.
    """

    def __init__(self) -> None:
        """Boot, and return when services can be started.

        Raises:
            AssertionError: It did not come up; the message holds what it said.
        """
        self._folder = leftovers.short_folder()
        self.shared = self._folder / "shared"
        self._log = self._folder / "boot.log"
        own = cgroups.own()
        assert own is not None
        self.cgroup = own / f"sdl-systemd-{os.getpid()}-{self._folder.name}"
        self._creator_pid = os.getpid()
        self._outer: subprocess.Popen[bytes] | None = None
        self.init_pid = 0
        atexit.register(self.close)
        try:
            self._boot()
        except BaseException:
            self.close()
            raise

    def _boot(self) -> None:
        self.shared.mkdir()
        (self._folder / "mounts").mkdir()
        self.cgroup.mkdir()
        visible = {str(CHECKOUT), os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)}
        arguments = [str(self._folder / "mounts"), str(self.shared), *sorted(visible - {"/usr"})]
        # pdeathsig: a test process that is itself killed leaves no machine behind.
        argv = ["setpriv", "--pdeathsig", "KILL", *_UNSHARE, "bash", str(_BOOT), *arguments]
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        with self._log.open("wb") as log:
            self._outer = subprocess.Popen(
                ["/bin/bash", "-c", enter, str(self.cgroup), *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.init_pid = wait_until(
            self._find_init, what="systemd runs", timeout_s=20, on_timeout=self._log.read_text
        )
        wait_until(
            self._is_up,
            what="systemd has reached tests.target",
            timeout_s=60,
            every_s=0.02,
            on_timeout=self._evidence,
        )

    def _find_init(self) -> int | None:
        assert self._outer is not None
        assert self._outer.poll() is None, f"systemd did not boot:\n{self._log.read_text()}"
        pid = self._outer.pid
        try:
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        except OSError:  # it ended in between: the next look says so
            return None
        return None

    def _is_up(self) -> bool:
        return self.systemctl("is-active", "tests.target", check=False).stdout.strip() == "active"

    def _evidence(self) -> str:
        jobs = self.systemctl("list-jobs", check=False).stdout
        journal = self.run("journalctl", "--no-pager", "-n", "60", check=False).stdout
        return f"{self._log.read_text()}\n{jobs}\n{journal}"

    def close(self) -> None:
        """End the machine and remove all that it had; harmless when it has ended already."""
        if os.getpid() != self._creator_pid:  # a child forked by a test ends through atexit too
            return
        atexit.unregister(self.close)
        if self._outer is not None:
            if self.init_pid and self._outer.poll() is None:
                os.kill(self.init_pid, signal.SIGKILL)  # ours: `unshare` has not reaped it
            else:
                self._outer.kill()
            self._outer.wait()
        cgroups.remove(self.cgroup)
        shutil.rmtree(self._folder, ignore_errors=True)

    # Commands and files.

    def run(
        self,
        *argv: str,
        check: bool = True,
        input: str | None = None,  # noqa: A002  # as subprocess.run has it
        timeout_s: float = 30.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root, with a clean environment; return what it said.

        Raises:
            AssertionError: It failed, and *check* was asked for.
        """
        enter = ["nsenter", "--target", str(self.init_pid), "--all", "--root", "--wd"]
        clean = ["/usr/bin/env", "-i", f"PATH={_PATH}", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER="]
        done = subprocess.run(
            [*enter, *clean, *argv],
            capture_output=True,
            text=True,
            errors="backslashreplace",  # a journal holds whatever programs have said
            input=input or "",
            timeout=timeout_s,
            check=False,
        )
        if check:
            said = f"{done.stdout}{done.stderr}"
            assert done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}\n{said}"
        return done

    def systemctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run systemctl inside; on failure the message holds the journal of the last lines."""
        done = self.run("systemctl", "--no-pager", "--plain", *arguments, check=False, timeout_s=60)
        if check and done.returncode:
            journal = self.run("journalctl", "--no-pager", "-n", "40", check=False).stdout
            said = f"exit {done.returncode}\n{done.stderr}{journal}"
            message = f"systemctl {' '.join(arguments)}: {said}"
            raise AssertionError(message)
        return done

    def journal(self, unit: str) -> str:
        """Return the messages of *unit*, complete up to now."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file inside, making the folders above it."""
        script = 'mkdir -p "${1%/*}" && cat > "$1" && chmod "$2" "$1"'
        self.run("sh", "-c", script, "sh", path, f"{mode:o}", input=text)

    def read(self, path: str) -> str:
        """Return the content of a file inside."""
        return self.run("cat", path).stdout

    # Units.

    def install_unit(self, name: str, text: str, **drop_ins: str) -> None:
        """Install a unit file and its drop-ins (name without .conf -> text), and reload systemd."""
        self.write(f"/etc/systemd/system/{name}", text)
        for drop_in, lines in drop_ins.items():
            self.write(f"/etc/systemd/system/{name}.d/{drop_in}.conf", lines)
        self.systemctl("daemon-reload")

    def remove_unit(self, name: str) -> None:
        """Stop a unit, forget its state and remove its files."""
        self.systemctl("stop", name, check=False)
        self.systemctl("reset-failed", name, check=False)
        self.run("rm", "-rf", f"/etc/systemd/system/{name}", f"/etc/systemd/system/{name}.d")
        self.systemctl("daemon-reload")

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit, as systemctl shows them."""
        text = self.systemctl("show", unit, f"--property={','.join(properties)}").stdout
        return dict(line.partition("=")[::2] for line in text.splitlines() if line)

    def main_pid(self, unit: str) -> int:
        """Return the pid inside of the main process, 0 if none."""
        return int(self.show(unit, "MainPID")["MainPID"])

    def unit_cgroup(self, unit: str) -> Path | None:
        """Return the outside path of the unit's cgroup, None while it has none."""
        path = self.show(unit, "ControlGroup")["ControlGroup"]
        return self.cgroup / path.lstrip("/") if path else None

    # Processes.

    def kill(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process inside, by its pid inside."""
        os.kill(self.host_pid(pid), number)

    def host_pid(self, pid: int) -> int:
        """Return the pid outside of a process inside.

        Raises:
            ProcessLookupError: Nothing inside has this pid.
        """
        for outside, inside in self._pids():
            if inside == pid:
                return outside
        raise ProcessLookupError(pid)

    def pids(self) -> set[int]:
        """Return the pids inside of all that lives inside, commands of ours included."""
        return {inside for _, inside in self._pids()}

    def _pids(self) -> Iterator[tuple[int, int]]:
        namespace = os.readlink(f"/proc/{self.init_pid}/ns/pid")
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") != namespace:
                    continue
                lines = Path(f"/proc/{entry}/status").read_text().splitlines()
            except OSError:  # ended in between
                continue
            numbers = next(line for line in lines if line.startswith("NSpid:")).split()
            if leftovers.is_alive(int(entry)):
                yield int(entry), int(numbers[-1])
