"""The net below all tests, proved by test sessions that do wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import CHECKOUT
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

LEAK = """
import subprocess

def test_leaks():
    subprocess.run(["setsid", "--fork", "sleep", "12345"], check=True)
"""
HIDDEN_LEAK = LEAK.replace('"sleep"', '"env", "-i", "/bin/sleep"')
SKIP = """
import pytest

def test_skips():
    pytest.skip("needs a moon: wait for the night")
"""
WAITS = """
import signal, subprocess
from pathlib import Path

def test_waits():
    child = subprocess.Popen(["setsid", "sleep", "12345"])
    Path("pid").write_text(f"{child.pid}\\n")
    signal.pause()
"""


def start(folder: Path, text: str, *options: str, ci: str = "") -> subprocess.Popen[str]:
    """Start a pytest of its own, with our conftest, over one file with *text*."""
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    (folder / "test_it.py").write_text(text)
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder), "-ra", "-q"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *words, *options, "test_it.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "CI": ci},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, text: str, *options: str, ci: str = "") -> tuple[int, str]:
    with start(folder, text, *options, ci=ci) as session:
        output, _ = session.communicate(timeout=60)
    return session.returncode, output


def test_a_process_left_behind_fails_the_run(tmp_path: Path) -> None:
    """The run fails, names the process and ends it."""
    status, output = run(tmp_path, LEAK)

    assert status == 1, output
    assert "the tests left behind:" in output
    line = next(line for line in output.splitlines() if "sleep 12345" in line)
    assert line.split()[0] == "process"
    pid = int(line.split()[1])
    wait_until(lambda: not leftovers.is_alive(pid), what="the leaked process has been ended")


def test_a_process_that_cleared_its_environment_is_found(tmp_path: Path) -> None:
    """Where cgroups may be made, hiding from the marker does not help."""
    if not any("sdl-tests-" in line for line in Path("/proc/self/cgroup").read_text().split()):
        pytest.skip("needs a writable cgroup v2: run as root")
    status, output = run(tmp_path, HIDDEN_LEAK)

    assert status == 1, output
    assert "sleep 12345" in output


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_a_skip_for_a_missing_service_fails_in_ci_only(
    tmp_path: Path, ci: str, status: int
) -> None:
    """A developer may lack a service; CI may not."""
    seen, output = run(tmp_path, SKIP, ci=ci)

    assert seen == status, output
    assert "needs a moon: wait for the night" in output


def test_sigterm_runs_the_clean_up(tmp_path: Path) -> None:
    """A time limit that ends the run leaves nothing either."""
    with start(tmp_path, WAITS) as session:
        file = tmp_path / "pid"
        wait_until(
            lambda: file.exists() and file.read_text().endswith("\n"),
            what="the test waits",
            timeout_s=30,
        )
        session.terminate()
        output, _ = session.communicate(timeout=60)

    assert session.returncode == 143, output
    assert "ended by SIGTERM" in output
    pid = int(file.read_text())
    wait_until(lambda: not leftovers.is_alive(pid), what="the leaked process has been ended")


def test_stopping_at_the_first_failure_is_a_failure_only(tmp_path: Path) -> None:
    """A run ended by -x still tells what was left behind."""
    status, output = run(tmp_path, f"{LEAK}    assert False\n\ndef test_more(): pass\n", "-x")

    assert status == 1, output
    assert "the tests left behind:" in output
    assert "1 failed, 1 error" in output
