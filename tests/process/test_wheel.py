"""The built wheel, installed and used where the source is not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import CHECKOUT, Daemon, clean_environment
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]


def pip(python: str | Path, *arguments: str) -> None:
    words = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def wheel_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it with what it asks for, and give the folder of its commands."""
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT))
    (wheel,) = folder.glob("supervisord_lite-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip(folder / "venv/bin/python", "install", str(wheel))
    return folder / "venv/bin"


def user_variables(wheel_bin: Path) -> dict[str, str | None]:
    """Return what is different for a user who installed the wheel: nothing leads to the source."""
    path = f"{wheel_bin}:{os.environ['PATH']}"
    return {"PYTHONPATH": None, "PYTHONHOME": None, "VIRTUAL_ENV": None, "PATH": path}


def command(wheel_bin: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [wheel_bin / words[0], *words[1:]],
        cwd=cwd,
        env=clean_environment(user_variables(wheel_bin)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def words_of(pid: int) -> list[str]:
    """Return the command line of a process; nothing of one that has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_the_wheel_brings_all_files(wheel_bin: Path, tmp_path: Path) -> None:
    """Code, interface, type marker, unit file and demo are there; the source is not used."""
    script = (
        "import supervisord_lite as s, pathlib as p, json;"
        "r = p.Path(s.__file__).parent;"
        "print(json.dumps([str(r), sorted(str(f.relative_to(r)) for f in r.rglob('*'))]))"
    )
    done = command(wheel_bin, tmp_path, "python", "-c", script)
    assert done.returncode == 0, done.stderr
    root, files = json.loads(done.stdout)

    assert Path(root).is_relative_to(wheel_bin.parent)
    assert {
        "__init__.pyi",
        "py.typed",
        "control/io.supervisordlite.Manager.varlink",
        "share/systemd/supervisord-lite.service",
        "share/config/demo.toml",
        "share/config/supervisord-lite.toml",
        "share/README.md",
    } <= set(files)
    sources = {
        str(path.relative_to(CHECKOUT / "supervisord_lite"))
        for path in (CHECKOUT / "supervisord_lite").rglob("*.py")
    }
    assert sources <= set(files)


@pytest.mark.parametrize("name", ["supervisord-lite", "sdl"])
def test_the_wheel_installs_the_command(wheel_bin: Path, tmp_path: Path, name: str) -> None:
    """Both names of the command print the version that the package has."""
    script = "from importlib.metadata import version; print(version('supervisord-lite'))"
    version = command(wheel_bin, tmp_path, "python", "-c", script).stdout.strip()

    done = command(wheel_bin, tmp_path, name, "version")

    assert done.returncode == 0, done.stderr
    assert version
    assert version in done.stdout.split()


def test_the_wheel_brings_its_manual(wheel_bin: Path, tmp_path: Path) -> None:
    """`help` reads the README that was installed."""
    done = command(wheel_bin, tmp_path, "supervisord-lite", "help", "exit-codes")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Exit codes\n==========\n")


def test_the_shipped_demo_is_a_good_file(wheel_bin: Path, tmp_path: Path) -> None:
    """`check` accepts the demo that the wheel brings."""
    (demo,) = wheel_bin.parent.rglob("share/config/demo.toml")

    done = command(wheel_bin, tmp_path, "supervisord-lite", "check", "-c", str(demo))

    assert done.returncode == 0, done.stderr


def test_the_installed_daemon_keeps_the_demo_alive(wheel_bin: Path) -> None:
    """The demo's workers run from the wheel; one that is killed runs again."""
    (demo,) = wheel_bin.parent.rglob("share/config/demo.toml")
    text = demo.read_text()
    workers = text[text.index("[worker.") :]  # its [supervisor] names folders of this machine
    argv = [str(wheel_bin / "supervisord-lite")]
    with Daemon(workers, argv=argv, environment=user_variables(wheel_bin)) as daemon:
        name = wait_until(
            lambda: next((n for n, w in daemon.workers().items() if w["state"] == "running"), None),
            what="a worker runs",
        )
        code = {
            Path(word)
            for pid in daemon.marked_pids()
            for word in words_of(pid)
            if word.endswith("resident.py")
        }
        assert code
        assert all(path.is_relative_to(wheel_bin.parent) for path in code), code
        before = daemon.workers()[name]

        os.kill(before["pid"], signal.SIGKILL)

        after = wait_until(
            lambda: (
                worker
                if (worker := daemon.workers()[name])["state"] == "running"
                and worker["pid"] != before["pid"]
                else None
            ),
            what=f"{name} runs again",
            timeout_s=20,
        )
        assert after["restarts"] == before["restarts"] + 1
        assert not leftovers.is_alive(before["pid"])
