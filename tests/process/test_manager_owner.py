"""Programs that own a manager: however they end, and whoever runs them, nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import CHECKOUT, clean_environment
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

WAIT_S = 20.0


@pytest.fixture
def short_path() -> Path:
    """Return a folder for temporary files, short enough for sockets in it."""
    return leftovers.short_folder()


OWNER = """
import os, signal, sys, threading
from supervisord_lite import Manager

def work():
    open({notes!r}, "a").write("started\\n")
    threading.Event().wait()

if __name__ == "__main__":
    manager = Manager()
    manager.register(work, ready="50ms", config={{}})
    manager.register(["/bin/sh", "-c", "trap '' TERM; setsid sleep 1000 & wait"], name="tree",
                     ready="50ms", stop_timeout="100ms")
    manager.start()
    manager.wait_ready(timeout_s=20)
    while not (os.path.exists({notes!r}) and os.path.getsize({notes!r})):
        os.sched_yield()
    print("ready", flush=True)
    {end}
"""


#: A child has the object, but not the daemon.
FORKED = """
    child = os.fork()
    if not child:
        manager.stop()
        sys.exit()
    os.waitpid(child, 0)
    assert not manager.done.wait(0.5)
    assert all(worker.ready for worker in manager.workers.values())
"""


@pytest.mark.parametrize(
    ("end", "number", "status"),
    [
        ("signal.pause()", signal.SIGKILL, -signal.SIGKILL),
        ("signal.pause()", signal.SIGTERM, -signal.SIGTERM),
        ("manager.wait()", signal.SIGINT, -signal.SIGINT),
        ("os._exit(3)", None, 3),
        ("pass", None, 0),
        ("sys.exit(4)", None, 4),
        ("os.waitpid(os.fork() or os._exit(0), 0); manager.stop()", None, 0),
        (FORKED, None, 0),
    ],
)
def test_no_orphan_is_left_however_the_owner_ends(
    end: str, number: signal.Signals | None, status: int, short_path: Path
) -> None:
    """Killed, interrupted, or just over: workers and what they have started are gone."""
    marker, token = "SDL_TEST_OWNER", f"{os.getpid()}-{time.monotonic_ns()}"
    script, notes = short_path / "owner.py", short_path / "notes"
    script.write_text(OWNER.format(end=end, notes=str(notes)))
    environment = clean_environment({marker: token, "TMPDIR": str(short_path)})
    environment["PYTHONPATH"] = str(CHECKOUT)
    owner = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n", owner.communicate()
        assert notes.read_text().splitlines() == ["started"], (
            "the script's own function is run, once"
        )
        if number is not None:
            assert len(leftovers.marked(marker, token)) >= 5
            owner.send_signal(number)
        assert owner.wait(WAIT_S) == status
        wait_until(
            lambda: not leftovers.marked(marker, token),
            what="no process of it lives",
            on_timeout=lambda: "\n".join(map(leftovers.describe, leftovers.marked(marker, token))),
        )
    finally:
        leftovers.kill(leftovers.marked(marker, token))
        owner.communicate()


INTERRUPTED = """
import os, signal, threading
from supervisord_lite import Manager

manager = Manager()
manager.register(["/bin/sleep", "1000"], ready="50ms")

def interrupt():
    while manager.pid is None:
        os.sched_yield()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    manager.start()
except KeyboardInterrupt:
    assert not manager.is_running
    manager.start()
    manager.wait_ready(timeout_s=20)
    manager.stop()
    print("started again")
"""


def test_an_interrupted_start_leaves_nothing_and_may_be_tried_again(short_path: Path) -> None:
    """Ctrl-C while the daemon is not up yet: it is ended before the exception goes on."""
    environment = clean_environment({"TMPDIR": str(short_path), "PYTHONPATH": str(CHECKOUT)})
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "started again\n"), done.stderr
    assert os.listdir(short_path) == []


def test_it_works_without_root(short_path: Path) -> None:
    """An ordinary user's program runs its own daemon; nobody's folders are touched."""
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if subprocess.run([*as_user, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces")
    script, notes = short_path / "owner.py", short_path / "notes"
    script.write_text(OWNER.format(end="manager.stop()", notes=str(notes)))
    environment = clean_environment({"TMPDIR": str(short_path), "PYTHONPATH": str(CHECKOUT)})
    done = subprocess.run(
        [*as_user, sys.executable, str(script)], env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False, cwd="/",
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    assert sorted(os.listdir(short_path)) == ["notes", "owner.py"]


def test_a_script_without_a_guard_does_not_start_daemons_for_ever(short_path: Path) -> None:
    """Its worker runs it again to find the function: that start is refused with the way out."""
    script = short_path / "unguarded.py"
    script.write_text(
        "from supervisord_lite import Manager\n"
        "def work(): pass\n"
        "manager = Manager()\n"
        "manager.register(work, max_restarts=1)\n"
        "manager.start()\n"
        "manager.wait(20)\n"
    )
    environment = clean_environment({"TMPDIR": str(short_path)})
    environment["PYTHONPATH"] = str(CHECKOUT)
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "start() is called while __main__:work is being imported" in done.stderr
    assert 'put it below: if __name__ == "__main__":' in done.stderr
