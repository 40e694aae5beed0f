"""A whole daemon of which any system call can be refused: keeper, supervisor or scribe.

What it is made of stands in refusing_inside.py. A *scene* is something that people do with a
daemon; while it lasts, one call is refused, and then everything must be as it would be without.
"""

import fcntl
import os
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.daemon import CHECKOUT, Daemon, MethodFailedError
from tests.support.refusing_inside import (
    DONE,
    ERRNO,
    KIND,
    KINDS,
    LEFT,
    PLAN,
    REFUSED,
    ROLE,
    ROLES,
    SLEEPS,
    plan_at,
)
from tests.support.sockets import free_port, get
from tests.support.wait import wait_until

MANAGER = "io.supervisordlite.Manager"
_STUB = """import sys
sys.path.insert(0, {checkout!r})
from tests.support.refusing_inside import main
sys.exit(main(__file__))
"""
_ANSWERS = """
import socket
own = socket.socket(fileno=3)
while True:
    client, _ = own.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    client.close()
"""
_SAYS = """
import itertools, time
for n in itertools.count(1):
    print(n, "x" * 2000)
    time.sleep(0.02)
"""
_QUICK = (
    "max_restarts = 1000\nbackoff.min = '20ms'\nbackoff.max = '20ms'\nbackoff.jitter = false\n"
    "stop_timeout = '2s'\n"
)
_SLEEP = f"command = ['/bin/sleep', '1000']\nready = 'spawned'\n{_QUICK}"
_TARGET = "from supervisord_lite.worker import context\n\n\ndef rest():\n    context.sleep(600)\n"
_ERRANDS = {"config", "note", "carry", "reading", "sampling", "compress", "trial", "zombie"}
_NAME = b"SUPERVISORD_LITE_NAME="
#: More turns than this in one scene is going round and round.
_MOST_SLEEPS = 4000
#: Above what is ever called in one scene.
_MANY = 1 << 40


def _workers(port: int, asked_port: int) -> str:
    asked = f"""command = ['{sys.executable}', '-ISuc', '''{_ANSWERS}''']\nautostart = false\n"""
    return (
        f'[worker.says]\ncommand = [\'{sys.executable}\', \'-ISuc\', """{_SAYS}"""]\n'
        f"ready = 'spawned'\nlog.max_size = '64K'\nlog.backups = 2\n{_QUICK}"
        f"[worker.calm]\n{_SLEEP}[worker.moves]\n{_SLEEP}[worker.changes]\n{_SLEEP}"
        f"[worker.forks]\npython = 'rest:rest'\npreload = ['json']\npool_size = 2\n"
        f"directory = '@DIR@'\n{_QUICK}"
        f"[worker.asked]\n{asked}sockets.probe = 'private'\nhealth.http = 'probe:/'\n"
        f"health.interval = '100ms'\n{_QUICK}"
        f"[worker.open]\ncommand = ['/bin/sleep', '1000']\nautostart = false\n"
        f"sockets.http = '127.0.0.1:{port}'\nhealth.tcp = '127.0.0.1:{asked_port}'\n"
        f"health.interval = '100ms'\n{_QUICK}"
    )


class Refusing(Daemon):
    """The daemon, its plan, and how it was before anything was refused."""

    def __init__(self, *, is_warm: bool = True) -> None:
        """Prepare; one that is warm has played each scene before, and can be compared with itself.

        Some sockets are opened once and held.
        """
        self._is_warm = is_warm
        self.http_port, port = free_port(), free_port()
        self._text = _workers(port, self.http_port)
        http = f"http = '127.0.0.1:{self.http_port}'\n"
        self._http = http
        super().__init__(self._text, supervisor=http)
        (self.folder / "rest.py").write_text(_TARGET)
        self.codes = [self.folder / "one.py", self.folder / "two.py"]
        for code in self.codes:
            code.write_text(_STUB.format(checkout=str(CHECKOUT)))
        self.plan = plan_at(str(self.folder))
        self.run_argv = (sys.executable, str(self.codes[0]), "cli")
        self._roles: Counter[str] = Counter()
        self._open: dict[str, Counter[str]] = {}
        self.pids: dict[str, int] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        for name in ("says", "calm", "moves", "changes", "forks-1", "forks-2"):
            self.wait_state(name, "running", timeout_s=60)
        for name in WARMING if self._is_warm else ():
            self.pids = self.running()
            SCENES[name].act(self)
        self.pids = self.running()

        def is_calm() -> bool:
            before = self._open, self._roles
            self._open, self._roles = self._descriptors(), self._processes()
            is_alone = not self._roles.keys() & _ERRANDS
            return is_alone and before == (self._open, self._roles)

        wait_until(is_calm, what="it is calm", every_s=0.1)
        return self

    def put(self, more: str = "", *, changed: str = "") -> None:
        """Write the configuration with more workers, or another *changed* line of "changes"."""
        text = self._text
        if changed:
            text = text.replace("[worker.changes]\n", f"[worker.changes]\n{changed}\n")
        self.write(text + more, supervisor=self._http)

    # -- refusing ----------------------------------------------------------------------------------

    def arm(self, role: str, kind: str, number: int, which: int) -> None:
        """Let call number *which* of *kind* of a process be refused, from now on; 0: none."""
        self.disarm()
        self.plan[KIND] = KINDS.index(kind)
        self.plan[ERRNO] = number
        self.plan[LEFT] = which or _MANY
        self.plan[DONE] = 0
        self.plan[ROLE] = ROLES.index(role) + 1

    def disarm(self) -> bool:
        """Refuse nothing more; return whether something was."""
        self.plan[ROLE] = 0
        return self.plan[DONE] > 0

    @property
    def counted(self) -> int:
        """How many calls of the kind there were since `arm`."""
        return _MANY - self.plan[LEFT]

    def sleeps(self) -> list[int]:
        """Return how often each of its processes has slept so far."""
        return [self.plan[SLEEPS + number] for number in range(1, len(ROLES) + 1)]

    def where(self) -> str:
        """Return where the last refused call was."""
        with suppress(OSError):
            return (self.folder / REFUSED).read_text().splitlines()[-1]
        return "nowhere"

    # -- what people do ----------------------------------------------------------------------------

    def attempt(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method; once it may fail, and the supervisor die of it.

        Raises:
            MethodFailedError: It has failed twice.
            OSError: Nobody has answered, twice.
        """
        try:
            return self.call(f"{MANAGER}.{method}", **parameters)
        except (MethodFailedError, OSError):  # it has died, and the next one answers
            return self.call(f"{MANAGER}.{method}", **parameters)

    def is_refused(self, method: str, word: str, **parameters: Any) -> bool:
        """Return whether a method refuses with *word*; before, one call may have no answer."""
        for _ in range(2):
            try:
                self.call(f"{MANAGER}.{method}", **parameters)
            except MethodFailedError as error:
                return word in str(error)
            except OSError:
                continue
            return False
        return False

    def pid_of(self, role: str) -> int:
        """Return the pid of one of the daemon's own processes; 0: there is none now."""
        if role == "keeper":
            return self.keeper_pid
        return next((pid for pid, each in self._tree() if each == role), 0)

    def page(self, path: str) -> None:
        """Fetch a page over HTTP; once that may fail."""
        with suppress(OSError):
            get(self.http_port, path)
            return
        get(self.http_port, path)

    def running(self) -> dict[str, int]:
        """Return the pids of all that runs, as the daemon tells them."""
        workers = self.attempt("Status", names=[])["workers"]
        return {each["name"]: each["pid"] for each in workers if each["state"] == "running"}

    def comes_to(self, name: str, *states: str) -> None:
        """Wait until a worker is in one of these states."""

        def reached() -> bool:
            workers = self.attempt("Status", names=[name])["workers"]
            return bool(workers) and workers[0]["state"] in states

        wait_until(
            reached, what=f"{name} is {states}", timeout_s=30, every_s=0.1, on_timeout=self.evidence
        )

    # -- what must be ------------------------------------------------------------------------------

    def check(self, *, renewed: Sequence[str] = ()) -> None:
        """Wait until everything is as it was at the beginning, but for the pids of *renewed*.

        Raises:
            AssertionError: It is not.
        """

        def whole() -> bool:
            return not self._differs(renewed)

        self.wait(whole, "everything is as before", lambda: str(self._differs(renewed)))
        self.pids = self.running()

    def _differs(self, renewed: Sequence[str]) -> object:
        """Return what is not as it was; what comes first is cheap."""
        now = self._descriptors()
        roles = self._processes()
        if roles != self._roles:
            return {"gone": self._roles - roles, "too many": roles - self._roles}
        told = self.running()
        if told.keys() != self.pids.keys():
            return {"told": told, "before": self.pids}
        if strays := self._strays(told):
            return strays
        if kept := {
            name: pid for name, pid in self.pids.items() if name not in renewed if told[name] != pid
        }:
            return {"other pids": kept, "now": told}
        return {
            role: (now[role] - was, was - now[role])
            for role, was in self._open.items()
            if now[role] != was
        }

    def wait(self, holds: Callable[[], bool], what: str, more: Callable[[], str]) -> None:
        wait_until(
            holds, what=what, timeout_s=60, every_s=0.02,
            on_timeout=lambda: f"{more()}\n{self.evidence()}",
        )  # fmt: skip

    def evidence(self) -> str:
        """Return what a reader needs to understand a failure."""
        lines = self.output().splitlines()[-25:]
        return "\n".join([f"refused: {self.where()}", *lines])

    def _strays(self, told: dict[str, int]) -> object:
        """Return what the kernel knows otherwise: who does not live, or lives twice."""
        keeper = self.keeper_pid
        text = Path(f"/proc/{keeper}/task/{keeper}/children").read_text()
        children = set(map(int, text.split()))
        names: Counter[str] = Counter()
        for pid in children:
            with suppress(OSError):
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                names.update(v[22:].decode() for v in variables if v[:22] == _NAME)
        twice = [name for name, count in names.items() if count > 1]
        dead = [name for name, pid in told.items() if pid not in children]
        return {"twice": twice, "dead": dead} if twice or dead else None

    def _processes(self) -> Counter[str]:
        """Count all processes of the daemon, zombies too, by what they are."""
        return Counter(role for _, role in self._tree())

    def kill(self, role: str) -> int:
        """Kill one of the daemon's own processes, when it is there; return its pid."""
        pid = wait_until(
            lambda: self.pid_of(role), what=f"there is a {role}", on_timeout=self.evidence
        )
        os.kill(pid, signal.SIGKILL)
        return pid

    def code_of(self, role: str) -> str:
        """Return the path of what one of the daemon's own processes runs; empty: there is none."""
        with suppress(OSError, IndexError):
            return Path(f"/proc/{self.pid_of(role)}/cmdline").read_text().split("\0")[3]
        return ""

    def _tree(self) -> list[tuple[int, str]]:
        """Return pid and kind of each process of the daemon."""
        found: list[tuple[int, str]] = []
        left = [self.keeper_pid]
        for pid in left:
            with suppress(OSError):
                left += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                found.append((pid, _role(words, state)))
        return found

    def _descriptors(self) -> dict[str, Counter[str]]:
        """Count what its processes have open, by kind."""
        found = {}
        for role in ("keeper", "supervisor"):
            count: Counter[str] = Counter()
            with suppress(OSError):
                folder = f"/proc/{self.pid_of(role)}/fd"
                for name in os.listdir(folder):
                    link = os.readlink(f"{folder}/{name}")
                    if not link.endswith(PLAN):
                        count[link.partition("[")[0].replace(" (deleted)", "")] += 1
            found[role] = count
        return found


def _role(words: list[str], state: str) -> str:
    if state == "Z":
        return "zombie"
    for number, word in enumerate(words[:-1]):
        if word.endswith((".py", "resident.py")):
            return words[number + 1].partition("@")[0]
    return words[0].rpartition("/")[2]


# -- scenes ----------------------------------------------------------------------------------------


def adopt(daemon: Refusing) -> None:
    """The supervisor is killed, and another one adopts."""
    daemon.kill("supervisor")
    daemon.comes_to("calm", "running")


def ask(daemon: Refusing) -> None:
    """Somebody asks for everything that can be asked for, and somebody hangs up."""
    samples = daemon.attempt("Status", names=[], samples=True)
    assert len(samples["workers"]) == len(daemon.running()) + 2
    daemon.attempt("Why", names=["calm"])
    daemon.attempt("Events", events=[], names=[], most=10)
    daemon.attempt("LogFiles", names=[])
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.control_path))
        client.sendall(b'{"method": "org.varlink.serv')
    daemon.page("/readyz")
    daemon.page("/metrics")
    sampling = daemon.pid_of("sampling")
    if sampling:  # it would wait for another question
        os.kill(sampling, signal.SIGKILL)


def reload(daemon: Refusing) -> None:
    """A file is tried, refused, put in force, and the one before is put in force again."""
    daemon.put("[worker.bad]\ncommand = 7\n")
    assert daemon.is_refused("Reload", "supervisord-lite.toml", dry_run=False)
    wait_until(lambda: daemon.running() == daemon.pids, what="nobody is there but who was")
    daemon.put(f"[worker.extra]\n{_SLEEP}", changed="environment.A = '1'")
    daemon.attempt("Reload", dry_run=True)
    assert daemon.running() == daemon.pids
    daemon.attempt("Reload", dry_run=False)
    daemon.comes_to("extra", "running")
    daemon.put()
    daemon.attempt("Reload", dry_run=False)
    daemon.comes_to("changes", "running")


def order(daemon: Refusing) -> None:
    """People stop, start, restart and signal a worker, and change the size of a pool."""
    daemon.attempt("Stop", names=["moves"], wait=False)
    daemon.comes_to("moves", "stopped")
    daemon.attempt("Start", names=["moves"], wait=False)
    daemon.comes_to("moves", "running")
    daemon.attempt("Signal", names=["calm"], signal="SIGCONT")
    daemon.attempt("Scale", sizes={"changes": 2})
    daemon.comes_to("changes-2", "running")
    daemon.attempt("Scale", sizes={"changes": 1})
    daemon.attempt("Restart", names=["moves"], wait=False)
    daemon.comes_to("moves", "running")


def fork(daemon: Refusing) -> None:
    """A pool of forks is restarted: its code is loaded anew before anything is stopped."""
    daemon.attempt("Restart", names=["forks"], wait=True)
    daemon.comes_to("forks-1", "running")
    daemon.comes_to("forks-2", "running")


def probe(daemon: Refusing) -> None:
    """Workers are started that are asked whether they work, over HTTP and TCP."""
    for name in ("asked", "open"):
        daemon.attempt("Start", names=[name], wait=False)
        daemon.comes_to(name, "running")
        daemon.attempt("Stop", names=[name], wait=False)
        daemon.comes_to(name, "stopped")


def crash(daemon: Refusing) -> None:
    """Workers end by themselves, and are started again."""
    for name in ("moves", "forks-1"):
        os.kill(daemon.pids[name], signal.SIGKILL)
        wait_until(
            partial(_is_renewed, daemon, name), what=f"{name} runs again", every_s=0.1,
            timeout_s=30, on_timeout=daemon.evidence,
        )  # fmt: skip


def _is_renewed(daemon: Refusing, name: str) -> bool:
    return daemon.running().get(name, 0) not in (0, daemon.pids[name])


def rewrite(daemon: Refusing) -> None:
    """The scribe is killed, and another one goes on."""
    before = daemon.kill("scribe")

    def is_another() -> bool:
        return daemon.pid_of("scribe") not in (0, before)

    wait_until(is_another, what="there is another scribe", on_timeout=daemon.evidence)
    said = daemon.folder / "log/says.log"
    said.unlink(missing_ok=True)
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGUSR1)
    daemon.wait(said.exists, "its file is made again", daemon.evidence)


def delete(daemon: Refusing) -> None:
    """Somebody clears away the control socket, then the locks, then a folder: all stands again."""
    state, runtime = daemon.folder / "state", daemon.folder / "runtime"
    for gone in ([daemon.control_path], [state / "lock", runtime / "lock"], [state]):
        for path in gone:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        daemon.wait(
            lambda: daemon.answers() and _is_held(state / "lock") and _is_held(runtime / "lock"),
            "it is made again", partial(str, gone),
        )  # fmt: skip


def _is_held(path: Path) -> bool:
    """Return whether a file is there, and somebody has its lock."""
    with suppress(FileNotFoundError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def upgrade(daemon: Refusing, *, keeper: bool = False) -> None:
    """Other code comes into force, or all is of the code before."""
    (target,) = {str(code) for code in daemon.codes} - {daemon.code_of("supervisor")}
    order = {"interpreter": sys.executable, "resident": target, "keeper": keeper}
    before = daemon.pid_of("supervisor")
    with suppress(OSError, MethodFailedError):
        daemon.call(f"{MANAGER}.Upgrade", timeout_s=60, **order)
        daemon.wait(
            lambda: daemon.pid_of("supervisor") not in (0, before), "it is replaced",
            daemon.evidence,
        )  # fmt: skip
    roles = ("keeper", "supervisor", "scribe") if keeper else ("supervisor", "scribe")

    def is_one() -> bool:
        codes = {daemon.code_of(role) for role in roles}
        is_meant = daemon.plan[DONE] or codes == {target}
        return bool(is_meant) and len(codes) == 1 and daemon.answers()

    daemon.wait(is_one, "all is of one code", daemon.evidence)
    daemon.comes_to("calm", "running")


def stop(daemon: Refusing) -> None:
    """The daemon ends, as it should, and nothing of it is left."""
    daemon.stop(timeout_s=60)


class Scene(NamedTuple):
    """What is done, whose pids it changes, and whether the daemon is gone then."""

    act: Callable[[Refusing], None]
    renewed: tuple[str, ...] = ()
    is_end: bool = False


SCENES: dict[str, Scene] = {
    "adoption": Scene(adopt),
    "questions": Scene(ask),
    "reload": Scene(reload, ("changes",)),
    "orders": Scene(order, ("moves",)),
    "forks": Scene(fork, ("forks-1", "forks-2")),
    "probes": Scene(probe),
    "crashes": Scene(crash, ("moves", "forks-1")),
    "scribe": Scene(rewrite),
    "deletions": Scene(delete),
    "upgrade": Scene(upgrade),
    "succession": Scene(partial(upgrade, keeper=True)),
    "stop": Scene(stop, is_end=True),
}
#: What opens something for good.
WARMING = ("reload", "orders", "probes", "succession")


def refused_in(daemon: Refusing, scene: str, role: str, kind: str, number: int, which: int) -> bool:
    """Play a scene while a call is refused; return whether there was such a call.

    Raises:
        AssertionError: Something is not as it would be without.
    """
    played = SCENES[scene]
    slept = daemon.sleeps()
    daemon.arm(role, kind, number, which)
    try:
        played.act(daemon)
    finally:
        was_refused = daemon.disarm()
    if played.is_end:
        return was_refused
    daemon.check(renewed=played.renewed)
    turns = max(now - before for now, before in zip(daemon.sleeps(), slept, strict=True))
    assert turns < _MOST_SLEEPS, f"{turns} turns of a loop\n{daemon.evidence()}"
    return was_refused
