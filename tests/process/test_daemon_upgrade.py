"""`upgrade` of a real daemon: other code comes into force, and no worker notices."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon, MethodFailedError
from tests.support.installations import BROKEN, HANGS, Installation
from tests.support.wait import pass_random_time, wait_until

pytestmark = pytest.mark.process

MANAGER = "io.supervisordlite.Manager"
FLEET = """
[defaults]
backoff.min = "20ms"
ready = "spawned"
[worker.web]
command = ["sleep", "1000"]
pool_size = 2
[worker.said]
command = ["sh", "-c", "echo words; exec sleep 1000"]
"""


@pytest.fixture
def folder() -> Path:
    return leftovers.short_folder()


@pytest.fixture
def old(folder: Path) -> Installation:
    return Installation(folder / "old", "1.0")


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: worker["pid"] for name, worker in daemon.workers().items()}


def running(daemon: Daemon) -> dict[str, int]:
    """Return the processes, once all run."""

    def found() -> dict[str, int] | None:
        workers = daemon.workers()
        is_up = all(worker["state"] == "running" for worker in workers.values())
        return {name: worker["pid"] for name, worker in workers.items()} if is_up else None

    return wait_until(found, what="all run")


def version(daemon: Daemon) -> str:
    return str(daemon.call(f"{MANAGER}.Version")["version"])


def is_in_force(daemon: Daemon, wanted: str) -> bool:
    try:
        return version(daemon) == wanted
    except OSError:  # whoever was asked has just made room
        return False


def use(daemon: Daemon, installation: Installation) -> None:
    """Type the command of another installation from now on."""
    daemon.argv = installation.argv


def events(daemon: Daemon, *kinds: str) -> list[dict[str, Any]]:
    done = daemon.ctl("events", "--json", "-n", "1000", *kinds, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def crash(daemon: Daemon, name: str) -> int:
    """Kill a worker as only somebody else would; return the pid of its next run."""
    before = pids(daemon)[name]
    os.kill(before, signal.SIGSEGV)
    wait_until(lambda: pids(daemon)[name] not in (before, None), what=f"{name} runs again")
    return running(daemon)[name]


def test_another_version_takes_over_and_why_tells_both_sides(
    old: Installation, folder: Path
) -> None:
    """A crash, an upgrade, a crash: one story, with the same run on both sides of the upgrade."""
    new = Installation(folder / "new", "1.1")
    with Daemon(FLEET, argv=old.argv) as daemon:
        running(daemon)
        crash(daemon, "web-1")
        before = running(daemon)
        use(daemon, new)
        shown = daemon.ctl("status", check=True).stdout.splitlines()[-1]
        assert shown.startswith("! version 1.1 is installed, 1.0 runs: supervisord-lite ")
        assert shown.endswith(" upgrade")

        dry = daemon.ctl("upgrade", "--dry-run", check=True).stdout
        assert dry.startswith("1.0 -> 1.1: it can take over; the keeper would be kept.")
        assert version(daemon) == "1.0"

        done = daemon.ctl("upgrade", check=True)
        text = " ".join(done.stdout.split())
        assert text.startswith("1.0 -> 1.1: 3 workers keep running; control answered again after ")
        assert text.endswith("; keeper kept")
        assert version(daemon) == "1.1"
        assert pids(daemon) == before
        assert "! version" not in daemon.ctl("status", check=True).stdout
        (event,) = events(daemon, "daemon.upgraded")
        assert (event["from"], event["to"], event["by_uid"]) == ("1.0", "1.1", os.getuid())

        last = crash(daemon, "web-1")
        story = daemon.ctl("why", "web-1", check=True).stdout
        told = [line.split()[1] for line in story.splitlines() if line[2:3] == ":"]
        assert told == ["started", "failed", "started", "daemon", "failed", "started"], story
        assert "upgraded, 1.0 -> 1.1" in story
        assert f"pid {before['web-1']}" in story
        assert f"pid {last}" in story
        ends = {e["pid"]: e["run"] for e in events(daemon, "worker.failed")}
        assert ends[before["web-1"]] == 2
        assert daemon.workers()["web-1"]["restarts"] == 2


def test_versions_that_are_no_good_are_refused(old: Installation, folder: Path) -> None:
    """The dry start finds out; the daemon goes on with the same processes, all of them."""
    bad = {what: version for what, version in BROKEN.items() if what != HANGS}
    with Daemon(FLEET, argv=old.argv) as daemon:
        before = running(daemon)
        supervisor = daemon.status()["supervisor"]["pid"]
        for number, (patches, word) in enumerate(bad.values()):
            broken = Installation(folder / f"broken{number}", "1.1", patches)
            told = refused(daemon, broken)
            assert word in told["reason"], told
            if "Error" in word:  # it also says where
                assert str(broken.package) in told["reason"]
            assert told["hint"] == "nothing was changed"
        patches, word = BROKEN["an import fails"]
        use(daemon, Installation(folder / "last", "1.1", patches))
        failed = daemon.ctl("upgrade")
        assert failed.returncode == 1
        assert word in failed.stderr
        use(daemon, old)
        assert pids(daemon) == before
        assert daemon.status()["supervisor"]["pid"] == supervisor
        assert len(events(daemon, "upgrade.refused")) == len(bad) + 1


def test_a_version_that_hangs_is_refused(old: Installation, folder: Path) -> None:
    """Its dry start is ended when its time is over; here that is short, and only here."""
    old.become("1.0", {"keeper/trial.py": ("LIMIT_S = 30.0", "LIMIT_S = 1.5")})
    patches, word = BROKEN[HANGS]
    with Daemon(FLEET, argv=old.argv) as daemon:
        before = running(daemon)
        told = refused(daemon, Installation(folder / "broken", "1.1", patches))
        assert word in told["reason"], told
        assert pids(daemon) == before


def refused(daemon: Daemon, to: Installation) -> dict[str, Any]:
    """Return the parameters of the error that an upgrade to *to* must be answered with."""
    resident = str(to.package / "base/resident.py")
    with pytest.raises(MethodFailedError) as caught:
        daemon.call(f"{MANAGER}.Upgrade", interpreter=to.argv[0], resident=resident)
    name, told = caught.value.args
    assert name == f"{MANAGER}.Refused"
    return dict(told)


@pytest.mark.parametrize("keeper", ["keeper kept", "keeper replaced"])
def test_a_version_that_fails_only_when_it_is_in_force_is_taken_back(
    old: Installation, folder: Path, keeper: str
) -> None:
    """Its dry start was good; two supervisors die before they answer, and the former is back."""
    dies = ("    supervisor = Supervisor(\n", "    os._exit(0)\n    supervisor = Supervisor(\n")
    new = Installation(folder / "new", "1.1", {"supervisor/__main__.py": dies})
    if keeper == "keeper replaced":
        new.become("1.1", {"wire/channel.py": ("PROTOCOL = 1\n", "PROTOCOL = 2\n")})
    with Daemon(FLEET, argv=old.argv) as daemon:
        before = running(daemon)
        use(daemon, new)
        failed = daemon.ctl("upgrade")
        assert failed.returncode == 1
        assert "its supervisor died before it answered: exit 0" in " ".join(failed.stderr.split())
        assert "version 1.0 runs" in failed.stderr
        use(daemon, old)
        assert pids(daemon) == before
        (event,) = events(daemon, "upgrade.failed")
        assert (event["from"], event["to"]) == ("1.0", "1.1")
        assert "went back to 1.0" in daemon.ctl("why", "web-1", check=True).stdout


def test_a_version_that_answers_and_then_falls_over_again_and_again_is_taken_back(
    old: Installation, folder: Path
) -> None:
    """Nobody could tell it to make room: it is gone back from without being asked."""
    line = "    supervisor = Supervisor(\n"
    dies = "    import threading\n    threading.Timer(0.15, os._exit, [4]).start()\n" + line
    new = Installation(folder / "new", "1.1", {"supervisor/__main__.py": (line, dies)})
    with Daemon(FLEET, argv=old.argv) as daemon:
        before = running(daemon)
        use(daemon, new)
        daemon.ctl("upgrade", "--keeper")
        use(daemon, old)
        failed = wait_until(lambda: told(daemon, "upgrade.failed"), what="1.0 is back")
        assert [(event["from"], event["to"]) for event in failed] == [("1.0", "1.1")]
        assert failed[0]["reason"] == "its supervisor died 3 times in a minute: exit 4"
        assert version(daemon) == "1.0"
        assert pids(daemon) == before
        for _ in range(4):  # what somebody kills is no fault of its code
            os.kill(daemon.status()["supervisor"]["pid"], signal.SIGKILL)
            wait_until(daemon.answers, what="another one answers")
        assert len(events(daemon, "daemon.upgraded")) == len(events(daemon, "upgrade.failed")) == 1


def told(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    """Return the events of a kind; none where nobody answers just now."""
    done = daemon.ctl("events", "--json", "-n", "1000", kind)
    return [json.loads(line) for line in done.stdout.splitlines() if not done.returncode]


def test_files_that_are_replaced_in_place_are_not_mixed(old: Installation) -> None:
    """Until the upgrade the children that would be of the other version do nothing, and say so."""
    words = "version 1.1 is installed, 1.0 runs: supervisord-lite upgrade"
    with Daemon(FLEET, argv=old.argv) as daemon:
        before = running(daemon)
        old.become("1.1")
        failed = daemon.ctl("reload")
        assert failed.returncode == 1
        assert words in " ".join(failed.stderr.split())
        assert words in " ".join(daemon.ctl("why", "web-1").stderr.split())
        assert daemon.status()["supervisor"]["config_errors"] is None  # the file is as it was

        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: is_in_force(daemon, "1.1"), what="1.1 is in force")
        assert pids(daemon) == before
        assert daemon.ctl("reload", check=True).stdout.strip().endswith("Nothing has changed.")
        (event,) = events(daemon, "daemon.upgraded")
        assert event["by"] == "SIGUSR2"
        assert ", by SIGUSR2; " in " ".join(daemon.ctl("why", "web-1", check=True).stdout.split())


def test_a_supervisor_of_another_protocol_has_the_keeper_replaced_first(old: Installation) -> None:
    """The files were replaced by hand, and a supervisor died: no word is misunderstood."""
    with Daemon(FLEET, argv=old.argv) as daemon:
        before = running(daemon)
        keeper_pid = daemon.keeper_pid
        old.become("2.0", {"wire/channel.py": ("PROTOCOL = 1\n", "PROTOCOL = 2\n")})
        os.kill(daemon.status()["supervisor"]["pid"], signal.SIGKILL)
        wait_until(lambda: is_in_force(daemon, "2.0"), what="2.0 answers")
        assert '"event": "keeper.replaced"' in daemon.output()
        assert pids(daemon) == before
        assert daemon.keeper_pid == keeper_pid
        last = crash(daemon, "web-1")
        assert daemon.workers()["web-1"]["restarts"] == 1
        assert last != before["web-1"]


def test_a_stop_that_comes_with_an_upgrade_is_a_stop(old: Installation) -> None:
    """Wherever it meets it: the daemon ends with 0, and nothing is left."""
    for wait_s in (0.0, 0.15, 0.3):
        with Daemon(FLEET, argv=old.argv) as daemon:
            running(daemon)
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGUSR2)
            pass_random_time(Always(wait_s), at_most_s=1.0)
            assert daemon.stop() == 0


class Always:
    """No chance."""

    def __init__(self, value: float) -> None:
        self._value = value

    def random(self) -> float:
        return self._value


def test_nothing_is_imported_after_the_start(old: Installation) -> None:
    """With the package's folder gone, the daemon still does all that it does by itself."""
    with Daemon(FLEET, argv=old.argv) as daemon:
        before = running(daemon)
        aside = old.package.with_name("aside")
        old.package.rename(aside)
        try:
            assert daemon.call(f"{MANAGER}.Version")["version"] == "1.0"
            assert daemon.call(f"{MANAGER}.LogFiles", names=["web"])["files"]
            daemon.call(f"{MANAGER}.Signal", names=["web-2"], signal="SIGCONT")
            daemon.call(f"{MANAGER}.Restart", names=["web"])
            daemon.call(f"{MANAGER}.Stop", names=["said"])
            daemon.call(f"{MANAGER}.Scale", sizes={"web": 3})
            wait_until(lambda: daemon.workers()["said"]["state"] == "stopped", what="it is stopped")
            daemon.call(f"{MANAGER}.Start", names=["said"])
            daemon.call(f"{MANAGER}.Reset", names=["all"])
            is_new = before.items().isdisjoint
            wait_until(lambda: is_new(running(daemon).items()), what="all were replaced")
            crash(daemon, "web-1")
            assert "web-3" in running(daemon)
            os.kill(daemon.status()["supervisor"]["pid"], signal.SIGKILL)
            wait_until(
                lambda: daemon.output().count('"its files are gone"') > 1, what="it is waited for"
            )
            aside.rename(old.package)
            wait_until(daemon.answers, what="another supervisor answers")
            old.package.rename(aside)
            assert "web-3" in running(daemon)
            log = daemon.folder / "log/said.log"
            wait_until(lambda: log.read_text() == "words\nwords\n", what="its output is written")
            told = refused(daemon, old)
            assert "No such file" in told["reason"]
            use(daemon, Installation(aside.with_name("another"), "1.2"))
            words = "the files of version 1.0, which runs, are gone or cannot be read: "
            for verb in (["reload"], ["why", "web-1"]):
                assert words in " ".join(daemon.ctl(*verb).stderr.split())
            use(daemon, old)
        finally:
            aside.rename(old.package)
        assert daemon.ctl("upgrade").returncode == 0
    shutil.rmtree(old.package)
