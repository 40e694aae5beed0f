"""What `upgrade` prints, and its exit codes, with a daemon that the test plays."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import supervisord_lite
from supervisord_lite.base.resident import own_code
from supervisord_lite.cli import upgrade as upgrade_verb
from supervisord_lite.control.errors import NoDaemonError
from tests.support.control import MANAGER, FakeDaemon, a_worker

pytestmark = pytest.mark.process
OURS = supervisord_lite.__version__


def upgrade(daemon: FakeDaemon, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command against *daemon*."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SUPERVISORD_", "XDG_"))}
    root = str(Path(supervisord_lite.__file__).parents[1])
    script = "import sys; from supervisord_lite.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", script, "upgrade", "--socket", daemon.path, *words],
        capture_output=True, text=True, timeout=30, check=False, env={**clean, "PYTHONPATH": root},
    )  # fmt: skip


def played(daemon: FakeDaemon, *, runs: str = OURS, told: dict[str, Any] | None = None) -> None:
    """Let an upgrade be ordered, and another supervisor answer from then on."""

    def on_upgrade(call: Any) -> None:
        is_dry = bool(call.parameters.get("dry_run"))
        call.reply({"from": "9.8.7", "to": OURS, "keeper": False, "done": not is_dry})
        if not is_dry:
            daemon.supervisor |= {"pid": 202, "version": runs}
            daemon.workers = after

    after = [dict(worker) for worker in daemon.workers]
    event = told or {"event": "daemon.upgraded"}
    daemon.answers["Upgrade"] = on_upgrade
    daemon.answers["Events"] = lambda call: call.reply({"problem": None, "events": [event]})


def test_it_asks_for_its_own_code_and_tells_what_it_has_seen() -> None:
    """0: another supervisor answers, of this version, and each process is the same."""
    with FakeDaemon([a_worker("a"), a_worker("b", pid=5)]) as daemon:
        played(daemon)
        done = upgrade(daemon)
        assert done.returncode == 0, done.stderr
        text = " ".join(done.stdout.split())
        assert text.startswith(f"9.8.7 -> {OURS}: 2 workers keep running; control answered again")
        assert text.endswith("; keeper kept")
        asked = dict(daemon.asked)["Upgrade"]
        interpreter, resident = own_code()
        assert (asked["interpreter"], asked["resident"]) == (interpreter, resident)

        dry = json.loads(upgrade(daemon, "--dry-run", "--json").stdout)
        assert dry == {"ok": True, "dry_run": True, "from": "9.8.7", "to": OURS, "keeper": "kept"}


def test_a_process_that_is_another_one_is_named() -> None:
    """1: who was ready and is not the same; whoever was not ready before is no concern of it."""
    ended = {"code": 3, "signal": None, "reason": "exit 3", "at": "2026-11-18T12:00:00Z",
             "ok": False, "asked": False}  # fmt: skip
    down = a_worker("c", pid=None, state="backoff", ready=False)
    with FakeDaemon([a_worker("a"), a_worker("b", pid=5), down]) as daemon:
        played(daemon)
        order = daemon.answers["Upgrade"]

        def ordered(call: Any) -> None:
            order(call)
            daemon.workers[1] |= {"pid": 6, "last_exit": ended}
            daemon.workers[2] |= {"pid": 7, "state": "running", "ready": True}

        daemon.answers["Upgrade"] = ordered
        done = upgrade(daemon)
        assert done.returncode == 1
        assert done.stderr == "! b: was pid 5, is pid 6 (exit 3)\n"
        assert "1 worker keeps running" in " ".join(done.stdout.split())


def test_a_version_that_was_taken_back_is_a_failure() -> None:
    """1: with the reason that the daemon has told the journal."""
    with FakeDaemon([a_worker("a")]) as daemon:
        event = {"event": "upgrade.failed", "reason": "its supervisor died: exit 1"}
        played(daemon, runs="9.8.7", told=event)
        done = upgrade(daemon)
        assert done.returncode == 1
        assert "its supervisor died: exit 1" in done.stderr
        assert "version 9.8.7 runs" in done.stderr
        assert done.stdout == ""


def test_a_daemon_that_has_died_of_it_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3, long before its time: the main process would still hold the socket."""
    monkeypatch.setattr(upgrade_verb, "_DEAD_S", 0.1)
    typed = argparse.Namespace(socket=str(tmp_path / "gone.sock"), instance=None)
    before = {"supervisor": {"pid": 201}, "workers": []}
    with pytest.raises(NoDaemonError) as caught:
        upgrade_verb._wait_for_other(typed, before, {"to": OURS}, time.monotonic() + 30)
    assert caught.value.hint.endswith("it has ended since the upgrade was ordered: see its log")


def test_a_refusal_and_a_silence_are_told_apart() -> None:
    """1: refused, with the reason; 6: ordered, and nobody answered in time."""
    with FakeDaemon([a_worker("a")]) as daemon:
        told = {"name": "", "reason": "SyntaxError: x", "hint": "nothing was changed"}
        daemon.answers["Upgrade"] = lambda call: call.error(f"{MANAGER}.Refused", told)
        refused = upgrade(daemon)
        assert refused.returncode == 1
        assert refused.stderr.splitlines() == [
            "supervisord-lite: upgrade: SyntaxError: x", "  nothing was changed",
        ]  # fmt: skip

        reply = {"from": "9.8.7", "to": OURS, "keeper": False, "done": True}
        daemon.answers["Upgrade"] = lambda call: call.reply(reply)
        silent = upgrade(daemon, "--timeout", "0.2")
        assert silent.returncode == 6
        assert f"version {OURS} was ordered, and does not answer" in silent.stderr
