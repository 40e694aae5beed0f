"""Wheels of several versions, installed side by side: one daemon goes to and fro between them."""

import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import secrets
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import flood
from tests.support.daemon import CHECKOUT, Daemon, MethodFailedError, clean_environment
from tests.support.installations import environment
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

MANAGER = "io.supervisordlite.Manager"
TIMES = 100
#: Versions that are built; and one that is a copy of the last, with another protocol.
WHEELS = ("1.0.1", "1.1")
OTHER_PROTOCOL = "2.0"
#: What a wheel is built of, beside the package.
_PARTS = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "systemd", "config")

TARGET = """
import model
from supervisord_lite.worker import context

def rank():
    context.sleep(6000)
"""


class Installed:
    """One version in an environment of its own.

    Attributes:
        version: Its own.
        argv: The command, without a verb.
        python: The interpreter, as `upgrade` names it.
        resident: The file, as `upgrade` names it.
    """

    def __init__(self, folder: Path, version: str) -> None:
        self.version = version
        self.folder = folder
        self.python = str(folder / "bin/python")
        (self.packages,) = folder.glob("lib/python*/site-packages")
        self.argv = [str(folder / "bin/supervisord-lite")]
        self.resident = str(self.packages / "supervisord_lite/base/resident.py")


def pip(*words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(*doing: subprocess.Popen[str]) -> None:
    for each in doing:
        said, _ = each.communicate(timeout=300)
        assert each.returncode == 0, f"{each.args!r}\n{said}"


def changed(package: Path, version: str, **numbers: str) -> None:
    """Give a package another version, and other numbers: FILE__NAME = value."""
    file = package / "__init__.py"
    line = next(line for line in file.read_text().splitlines() if line.startswith("__version__"))
    file.write_text(file.read_text().replace(line, f'__version__ = "{version}"'))
    for key, value in numbers.items():
        path, _, name = key.rpartition("__")
        file = package / f"{path.replace('__', '/')}.py"
        lines = file.read_text().splitlines()
        lines = [f"{name} = {value}" if line.startswith(f"{name} =") else line for line in lines]
        file.write_text("\n".join(lines) + "\n")


def source(folder: Path, version: str) -> Path:
    """Copy what a wheel is built of, as another version."""
    folder.mkdir()
    for part in _PARTS:
        whole = CHECKOUT / part
        copy = shutil.copytree if whole.is_dir() else shutil.copy
        copy(whole, folder / part)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "supervisord_lite", folder / "supervisord_lite", ignore=ignored)
    changed(folder / "supervisord_lite", version)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """Build two wheels and install them; a third version is a copy of the second."""
    folder = tmp_path_factory.mktemp("wheels")
    wheels = folder / "wheels"
    wait_for(
        *(
            pip("wheel", "--no-deps", "--wheel-dir", str(wheels),
                str(source(folder / f"source-{version}", version)))
            for version in WHEELS
        )
    )  # fmt: skip
    doing = []
    for version in WHEELS:
        python = environment(folder / version)
        (wheel,) = wheels.glob(f"supervisord_lite-{version}-*.whl")
        doing.append(pip("--python", python, "install", "--no-deps", str(wheel)))
    wait_for(*doing)
    found = {version: Installed(folder / version, version) for version in WHEELS}
    environment(folder / OTHER_PROTOCOL)
    third = Installed(folder / OTHER_PROTOCOL, OTHER_PROTOCOL)
    package = third.packages / "supervisord_lite"
    shutil.copytree(found["1.1"].packages / "supervisord_lite", package)
    changed(package, OTHER_PROTOCOL, wire__channel__PROTOCOL="2")
    third.argv = [third.python, "-m", "supervisord_lite"]
    return {**found, OTHER_PROTOCOL: third}


class Requests:
    """Somebody who asks all the time, and again where the connection was lost.

    Attributes:
        answered, lost: How often.
        wrong: What must not be: a refusal, an error.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.answered = self.lost = 0
        self.wrong: list[str] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Requests":
        self._thread.start()
        return self

    def __exit__(self, *_rest: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        questions: list[tuple[str, dict[str, Any]]] = [
            ("Status", {"names": []}),
            ("Signal", {"names": ["web"], "signal": "SIGCONT"}),
            ("LogFiles", {"names": ["flood"]}),
        ]
        number = 0
        while not self._is_over.wait(0.005):
            method, parameters = questions[number % len(questions)]
            try:
                self._daemon.call(f"{MANAGER}.{method}", **parameters)
            except (ConnectionRefusedError, FileNotFoundError, TimeoutError) as error:
                self.wrong.append(f"{method}: {error!r}")
            except OSError:
                self.lost += 1
                continue
            except MethodFailedError as error:
                self.wrong.append(f"{method}: {error!r}")
            self.answered += 1
            number += 1


@contextmanager
def follower(daemon: Daemon) -> Iterator[Path]:
    """Let a client follow events from the first one on; yield where it prints them."""
    path = daemon.folder / "followed"
    argv = [*daemon.argv, "events", "--socket", str(daemon.control_path), "-f", "--json"]
    with path.open("wb") as output:
        process = subprocess.Popen(
            [*argv, "-n", "10000"], stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, env=daemon.environment,
        )  # fmt: skip
        try:
            yield path
            process.wait(30)  # the daemon has ended
        finally:
            process.kill()
            process.wait()


def workers(project: Path, script: Path) -> str:
    crashes = "echo $$ >> @DIR@/runs; sleep 0.$(($$ % 4))5; exit 7"
    return f"""
[defaults]
backoff.min = "50ms"
backoff.max = "50ms"
[worker.web]
command = ["sleep", "6000"]
pool_size = 2
[worker.flood]
{flood.writer_command(script, "flood", burst=20, pause_s=0.01)}
log.max_size = "256K"
log.backups = 1000
[worker.crash]
command = ["sh", "-c", "{crashes}"]
ready = "spawned"
max_restarts = 1000
[worker.rank]
python = "rank:rank"
directory = "{project}"
environment.PYTHONDONTWRITEBYTECODE = "1"
preload = ["model"]
pool_size = 2
"""


def supervisor_pid(daemon: Daemon) -> int:
    """Return the pid of the supervisor that answers; 0: none does just now."""
    try:
        about = daemon.call(f"{MANAGER}.Status", names=["web"])["supervisor"]
    except OSError:
        return 0
    return int(about["pid"])


def upgrade(daemon: Daemon, to: Installed, *, keeper: bool) -> None:
    """Put a version in force, as the command does, and return when it answers."""
    before = wait_until(lambda: supervisor_pid(daemon), what="a supervisor answers")
    wanted: dict[str, Any] = {"interpreter": to.python, "resident": to.resident, "keeper": keeper}
    told = daemon.call(f"{MANAGER}.Upgrade", timeout_s=60.0, **wanted)
    assert told["to"] == to.version
    wait_until(lambda: supervisor_pid(daemon) not in (0, before), what="another supervisor answers")
    assert daemon.call(f"{MANAGER}.Version")["version"] == to.version


def kept_pids(daemon: Daemon) -> dict[str, int]:
    shown = daemon.workers().values()
    return {w["name"]: w["pid"] for w in shown if w["name"] != "crash"}


def events_of(daemon: Daemon) -> list[dict[str, Any]]:
    """Return the whole journal, as it stands in its files."""
    segments = flood.segments(daemon.folder / "state/events.jsonl")
    return [json.loads(line) for each in segments for line in each.read_text().splitlines()]


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["id"].rpartition("-")[2]) for event in events]


def test_a_hundred_upgrades_under_load_touch_nothing(
    installed: dict[str, Installed], tmp_path: Path
) -> None:
    """Each process, line, request, crash and event is there, once, whatever version comes next."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201
    rng = random.Random(seed)
    script = tmp_path / "writer.py"
    script.write_text(flood.WRITER)
    (tmp_path / "rank.py").write_text(TARGET)
    (tmp_path / "model.py").write_text("")
    now = installed["1.0.1"]
    variables = {"PYTHONPATH": None, "VIRTUAL_ENV": None}
    table = workers(tmp_path, script)
    with (
        Daemon(table, argv=now.argv, environment=variables) as daemon,
        follower(daemon) as followed,
    ):
        wait_until(lambda: all(kept_pids(daemon).values()), what="all run", timeout_s=30)
        wait_until(
            lambda: all(w["ready"] for w in daemon.workers().values() if w["name"] != "crash"),
            what="all are ready", timeout_s=30,
        )  # fmt: skip
        before, keeper_pid = kept_pids(daemon), daemon.keeper_pid
        with Requests(daemon) as requests:
            for _ in range(TIMES):
                now = rng.choice([each for each in installed.values() if each is not now])
                upgrade(daemon, now, keeper=rng.random() < 0.1)
                assert kept_pids(daemon) == before, seed
                assert not requests.wrong, (requests.wrong, seed)
        assert daemon.keeper_pid == keeper_pid
        crash = daemon.workers()["crash"]
        daemon.stop()
    assert requests.answered > TIMES
    flood.check_lines(daemon.folder / "log/flood.log", "flood")

    told = events_of(daemon)
    assert numbers(told) == list(range(1, len(told) + 1)), seed
    seen = [json.loads(line) for line in followed.read_text().splitlines() if line[:1] == "{"]
    assert numbers(seen) == numbers(told)[: len(seen)], (seed, followed.read_text()[-500:])
    assert len(seen) >= len(told) - 5
    kinds = Counter(event["event"] for event in told)
    assert kinds["daemon.upgraded"] == kinds["daemon.upgrading"] == TIMES, (kinds, seed)
    assert kinds["supervisor.adopted"] == kinds["upgrade.failed"] == 0, (kinds, seed)
    of_crash = [event for event in told if event.get("name") == "crash"]
    started = [event["run"] for event in of_crash if event["event"] == "worker.started"]
    failed = [event["run"] for event in of_crash if event["event"] == "worker.failed"]
    assert started == list(range(1, len(started) + 1)), seed
    assert failed == started[: len(failed)], seed
    assert len((daemon.folder / "runs").read_text().split()) == len(started), seed
    assert crash["restarts"] in (len(failed), len(failed) - 1), seed


def user_command(daemon: Daemon, to: Installed, *words: str) -> subprocess.CompletedProcess[str]:
    daemon.argv = tuple(to.argv)
    return daemon.ctl(*words)


def test_the_command_of_another_wheel_takes_over(installed: dict[str, Installed]) -> None:
    """What is typed is what runs: also back to the older one."""
    old, new = installed["1.0.1"], installed["1.1"]
    clean = {"PYTHONPATH": None, "VIRTUAL_ENV": None}
    assert "PYTHONPATH" not in clean_environment(clean)
    sleeps = "[worker.web]\ncommand = ['sleep', '1000']\nready = 'spawned'\n"
    with Daemon(sleeps, argv=old.argv, environment=clean) as daemon:
        wait_until(lambda: all(kept_pids(daemon).values()), what="it runs")
        before = kept_pids(daemon)
        for of, to in ((old, new), (new, old)):
            shown = user_command(daemon, to, "status").stdout.splitlines()[-1]
            assert shown.startswith(f"! version {to.version} is installed, {of.version} runs: ")
            done = user_command(daemon, to, "upgrade", "--json")
            told = json.loads(done.stdout)
            assert done.returncode == 0, done.stderr
            assert (told["ok"], told["from"], told["to"]) == (True, of.version, to.version)
            assert told["kept"] == 1
            assert kept_pids(daemon) == before
            argv = Path(f"/proc/{supervisor_pid(daemon)}/cmdline").read_text().split("\0")
            assert (argv[0], argv[3]) == (to.python, to.resident)
        assert os.path.samefile(f"/proc/{daemon.keeper_pid}/exe", old.python)
