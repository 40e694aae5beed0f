"""The manager and a daemon that does not answer: nothing waits for ever."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from supervisord_lite import DaemonFailed, Manager

pytestmark = pytest.mark.process

WAIT_S = 20.0

#: Says that it is there, and hears neither a call nor a signal.
DEAF = """#!/bin/sh
trap '' TERM
echo $$ >> {notes}
exec sleep 1000
"""


def test_a_daemon_that_never_answers_does_not_hold_up_the_start_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, told again, and killed; so is the one that was to clear up behind it."""
    interpreter, notes = tmp_path / "python", tmp_path / "pids"
    interpreter.write_text(DEAF.format(notes=notes))
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    for name in ("START_S", "ORDERED_END_S", "END_AT_ONCE_S"):
        monkeypatch.setattr(f"supervisord_lite.manager.daemon.{name}", 0.3)
    manager = Manager()
    manager.register(["/bin/true"])

    with pytest.raises(DaemonFailed, match="does not answer"):
        manager.start()

    assert not manager.is_running
    assert manager.done.is_set()
    pids = notes.read_text().split()
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_stop_that_nobody_answers_is_heard_when_somebody_can() -> None:
    """The limit of `stop` is one for all of it; what was asked for goes on."""
    manager = Manager()
    manager.register(["/bin/sleep", "1000"], ready="50ms")
    manager.start()
    manager.wait_ready(timeout_s=WAIT_S)
    assert manager.pid is not None
    family = [manager.pid, *(each.pid for each in psutil.Process(manager.pid).children())]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    began_s = time.monotonic()
    try:
        with pytest.raises(TimeoutError, match=r"after 0\.3s"):
            manager.stop(0.3)
        assert time.monotonic() - began_s < 5.0, "not as long as an answer may take"
    finally:
        for pid in reversed(family):
            os.kill(pid, signal.SIGCONT)

    assert manager.done.wait(WAIT_S)
    manager.wait()


@pytest.mark.parametrize("what", ["nothing", "a file", "a socket that nobody listens at"])
def test_a_daemon_whose_socket_was_removed_is_stopped(what: str) -> None:
    """A cleaner of /tmp takes the way to ask away, and not the daemon: a stop does not wait."""
    manager = Manager()
    manager.register(["/bin/sleep", "1000"], ready="50ms")
    manager.start()
    manager.wait_ready(timeout_s=WAIT_S)
    assert manager.control_path is not None
    Path(manager.control_path).unlink()
    if what == "a file":
        Path(manager.control_path).touch()
    elif what != "nothing":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            dead.bind(manager.control_path)

    manager.stop(WAIT_S)

    assert not manager.is_running
    manager.wait()
