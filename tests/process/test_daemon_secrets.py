"""Secrets with the real daemon: they reach the worker, follow their files, and are seen nowhere."""

import json
import os
import pwd
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite import Manager
from tests.support.canary import CANARY, command_lines, environments_but_of, everything_of
from tests.support.daemon import Daemon
from tests.support.memory import memory_of
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
#: Says who it is and what it was given, and stays.
SHOW = (
    'command = ["/bin/sh", "-c", "echo $(id -u) $TOKEN$(cat $TOKEN_FILE); exec sleep 1000"]\n'
    'ready = "spawned"\n'
)
SLEEP = 'command = ["/bin/sleep", "1000"]\nready = "spawned"\n'
KEPT = 'secrets.TOKEN = "file:kept/token"\n'


def keep(daemon: Daemon, text: str, name: str = "token", mode: int = 0o600) -> Path:
    """Put a secret beside the file of *daemon*; by a rename, as one should."""
    folder = daemon.folder / "kept"
    folder.mkdir(mode=0o700, exist_ok=True)
    new = folder / f".{name}"
    new.write_text(text)
    new.chmod(mode)
    return new.rename(folder / name)


def check(daemon: Daemon, *arguments: str) -> tuple[int, str, str]:
    """Run `check` on the file of *daemon*; return its exit status, output and errors."""
    argv = [*daemon.argv, "check", "-c", str(daemon.config), *arguments]
    done = subprocess.run(
        argv, capture_output=True, text=True, env=daemon.environment, check=False, timeout=30
    )
    return done.returncode, done.stdout, done.stderr


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: worker["pid"] for name, worker in daemon.workers().items()}


def wait_new(daemon: Daemon, name: str, old: int) -> None:
    wait_until(lambda: pids(daemon)[name] not in (None, old), what=f"{name} is new")


@NEEDS_ROOT
@pytest.mark.parametrize("secrets_as", ["environment", "files"])
def test_another_users_worker_gets_what_root_keeps(secrets_as: str) -> None:
    """Variable or file; and the file is gone with the process."""
    made = Daemon(f'[worker.web]\nuser = "nobody"\nsecrets_as = "{secrets_as}"\n{KEPT}{SHOW}')
    keep(made, "s3cret\n")
    uid = pwd.getpwnam("nobody").pw_uid
    with made as daemon:
        wait_until(lambda: daemon.log("web") == f"{uid} s3cret\n", what="it has been given")
        files = list((daemon.folder / "runtime/w").glob("*/TOKEN"))
        assert len(files) == (secrets_as == "files")
        for file in files:
            found = file.stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o400, uid)
        daemon.ctl("stop", "web", check=True)
        assert list((daemon.folder / "runtime/w").glob("*")) == []
        daemon.ctl("start", "web", check=True)
        wait_until(lambda: daemon.log("web").count("s3cret") == 2, what="it is given again")


def test_a_file_that_is_missing_for_a_while_heals() -> None:
    """`check` warns, the others run; the start fails by name, waits, and works when it is there."""
    made = Daemon(
        f"[worker.web]\nautostart = false\nbackoff.max = '1h'\n{KEPT}{SHOW}[worker.db]\n{SLEEP}"
    )
    path = made.folder / "kept/token"
    status, output, errors = check(made)
    assert (status, "ok, 1 warning" in output) == (0, True)
    assert f"no such file: {path}" in " ".join(errors.split())
    with made as daemon:
        daemon.wait_state("db", "running")
        reloaded = daemon.ctl("reload", check=True)
        assert f"no such file: {path}" in " ".join(reloaded.stderr.split())
        done = daemon.ctl("start", "web")
        assert done.returncode == 1
        assert f"no such file: {path}" in " ".join(done.stderr.split())
        daemon.wait_state("web", "backoff")
        (failed,) = daemon.events("worker.failed")
        assert failed["in_s"] == 3600
        why = daemon.ctl("why", "web", check=True).stdout
        assert "no such file" in " ".join(why.split())
        keep(daemon, "s3cret")
        daemon.ctl("start", "web", check=True)
        wait_until(lambda: "s3cret" in daemon.log("web"), what="it is given")


def test_a_file_that_everybody_may_read_stops_the_start_and_the_reload() -> None:
    """Both say what to type; who runs goes on running."""
    made = Daemon(f"[worker.web]\n{KEPT}{SHOW}")
    path = keep(made, "s3cret")
    with made as daemon:
        daemon.wait_state("web", "running")
        before = pids(daemon)
        path.chmod(0o644)
        refused = daemon.ctl("reload")
        assert refused.returncode == 1
        assert f"chmod o= {path}" in " ".join(refused.stderr.split())
        assert pids(daemon) == before
        restarted = daemon.ctl("restart", "web")
        assert restarted.returncode == 1
        assert f"chmod o= {path}" in " ".join(restarted.stderr.split())
        path.chmod(0o600)
        daemon.ctl("reset", "web", check=True)
        daemon.ctl("start", "web", check=True)


def test_a_reload_restarts_whose_secret_has_changed() -> None:
    """And nobody else: by content, not by time; the same after the supervisor was killed."""
    made = Daemon(
        f"[worker.web]\npool_size = 2\n{KEPT}{SLEEP}[worker.db]\n{SLEEP}"
        f'[worker.own]\nsecrets.OTHER = "file:kept/other"\n{SLEEP}'
    )
    keep(made, "one")
    keep(made, "other", "other")
    with made as daemon:
        for name in daemon.workers():
            daemon.wait_state(name, "running")
        for text, killed in (("two", False), ("three", True)):
            before = pids(daemon)
            os.utime(daemon.folder / "kept/other")
            assert "Nothing would change." in daemon.ctl("reload", "--dry-run", check=True).stdout
            keep(daemon, text)
            if killed:
                daemon.kill_supervisor()
            dry = daemon.ctl("reload", "--dry-run", check=True).stdout
            assert "~ web restart, 1 at a time: secret TOKEN has changed" in " ".join(dry.split())
            assert "= 2 workers unchanged" in dry
            assert pids(daemon) == before
            told = json.loads(daemon.ctl("reload", "--json", check=True).stdout)
            (entry,) = told["modified"]
            assert entry["keys"] == [
                {"key": "secrets.TOKEN", "old": "***", "new": "***", "effect": "restart"}
            ]
            for name in ("web-1", "web-2"):
                wait_new(daemon, name, before[name])
                daemon.wait_state(name, "running")
            after = pids(daemon)
            assert (after["db"], after["own"]) == (before["db"], before["own"])
            assert "Nothing has changed." in daemon.ctl("reload", check=True).stdout


def test_check_tells_of_a_secret_what_the_daemon_would() -> None:
    """How it is kept, and never what it is; a bad one is exit 78."""
    made = Daemon(f"[worker.web]\n{KEPT}{SLEEP}")
    path = keep(made, "c4nary-hunter2", mode=0o640)
    with made as daemon:
        shown = check(daemon, "--show", "web")
        line = next(line for line in shown[1].splitlines() if line.startswith("secrets."))
        assert line.split()[:3] == ["secrets.TOKEN", "=", "***"]
        assert "file, 0640 " in line
        path.chmod(0o604)
        status, out, err = check(daemon)
        assert status == 78
        assert "everybody may read" in " ".join(err.split())
        assert "c4nary" not in out + err
        path.chmod(0o640)


# -- the canary ------------------------------------------------------------------------------------

#: Says its secret, badly, and crashes.
LEAKY = (
    'command = ["/bin/sh", "-c", "test -n \\"$TOKEN\\" && exit 3"]\nready = "spawned"\n'
    "max_restarts = 2\nbackoff.max = '10ms'\nbackoff.min = '10ms'\n"
)


def test_a_secret_is_seen_nowhere() -> None:
    """Command lines, what verbs say, the state folder, logs of the daemon, and its own memory."""
    made = Daemon(
        f"[worker.web]\n{KEPT}{SLEEP}"
        f'[worker.files]\nsecrets_as = "files"\nsecrets.F = "file:kept/token"\n{SLEEP}'
        f"[worker.bad]\nautostart = false\n{KEPT}{LEAKY}"
        f'[worker.worse]\nautostart = false\n{KEPT}{SLEEP}directory = "/nowhere"\n'
    )
    keep(made, CANARY)
    said: list[tuple[str, bytes]] = []
    with made as daemon:
        daemon.wait_state("web", "running")
        for name in ("bad", "worse"):
            daemon.ctl("start", name)
        daemon.wait_state("bad", "tripped")
        keep(daemon, f"{CANARY}-2")
        daemon.kill_supervisor()
        for argv in (
            ("status",), ("status", "--json"), ("status", "web", "bad", "worse"), ("why", "bad"),
            ("why", "worse"), ("why", "web"), ("events",), ("events", "--json"),
            ("reload", "--dry-run"), ("reload", "--dry-run", "--json"), ("reload",),
        ):  # fmt: skip
            done = daemon.ctl(*argv)
            said.append((" ".join(argv), (done.stdout + done.stderr).encode()))
        said += [
            (f"check {option}", "".join(check(daemon, *option)[1:]).encode())
            for option in ((), ("--json",), ("--show", "web"), ("--show", "web", "--json"))
        ]
        daemon.wait_state("web", "running")
        daemon.wait_state("files", "running")
        workers = {pid for pid in pids(daemon).values() if pid}
        given = Path(f"/proc/{pids(daemon)['web']}/environ").read_bytes()
        assert f"TOKEN={CANARY}-2".encode() in given.split(b"\0")  # so it would be found
        said += command_lines(daemon.keeper_pid)
        said += environments_but_of(daemon.keeper_pid, workers)
        if os.geteuid() == 0:
            for pid in (daemon.keeper_pid, daemon.supervisor_pid, daemon.scribe_pid):
                said += memory_of(pid)
        said += [pair for pair in everything_of(daemon.folder) if not pair[0].endswith("/F")]
        os.kill(daemon.supervisor_pid, signal.SIGKILL)
        daemon.wait_state("web", "running")
    said += everything_of(daemon.folder)
    assert len(said) > 30
    assert [where for where, data in said if CANARY.encode() in data] == []


def test_a_secret_in_the_file_is_refused_and_told_nowhere() -> None:
    """Neither by the verb, nor in what is remembered of the refusal."""
    with Daemon(f"[worker.web]\n{SLEEP}") as daemon:
        daemon.write(f'[worker.web]\nsecrets.TOKEN = "{CANARY}"\n{SLEEP}')
        said = [daemon.ctl("reload"), daemon.ctl("reload", "--json"), daemon.ctl("status")]
        texts: list[Any] = [done.stdout + done.stderr for done in said]
        assert "a secret does not stand in the file" in " ".join(texts[0].split())
        daemon.write(f"[worker.web]\n{SLEEP}")
        texts += [data.decode(errors="replace") for _, data in everything_of(daemon.folder)]
        assert [text for text in texts if CANARY in text] == []


LEAKY_TARGET = """
import os, threading
from supervisord_lite.worker import context

def leak():
    secret = os.environ.get("TOKEN") or open(os.environ["TOKEN_FILE"]).read().strip()
    context.status(f"connecting with {secret}")
    while not os.path.exists("go"):
        context.sleep(0.01)
    try:
        {secret: 1}[f"{secret} in a key"]
    except KeyError as error:
        raise ConnectionError(f"postgres://shop:{secret}@db refused {secret!r}") from error

def leak_in_a_thread():
    thread = threading.Thread(target=leak)
    thread.start()
    thread.join()

class Never:
    def __init__(self):
        raise RuntimeError(os.environ["TOKEN"])
"""


def test_what_a_python_worker_says_of_itself_holds_no_secret() -> None:
    """Neither its status, nor the reason of its crash and the traceback, whichever way it dies."""
    workers = {
        "call": ("leak", "environment"), "thread": ("leak_in_a_thread", "environment"),
        "file": ("leak", "files"), "never": ("Never", "environment"),
    }  # fmt: skip
    made = Daemon(
        "[defaults]\nrestart = 'never'\nready = 'spawned'\n"
        + "".join(
            f'[worker.{name}]\npython = "leaky:{target}"\nsecrets_as = "{secrets_as}"\n{KEPT}'
            for name, (target, secrets_as) in workers.items()
        )
    )
    keep(made, f"{CANARY}\n")
    (made.folder / "leaky.py").write_text(LEAKY_TARGET)
    with made as daemon:
        for name in ("call", "thread", "file"):
            daemon.wait_state(name, "running")
        wait_until(
            lambda: daemon.ctl("status").stdout.count("connecting with ***") == 3,
            what="all show what they do",
        )
        said = [daemon.ctl("status", "--json").stdout]
        (made.folder / "go").touch()
        for name in workers:
            daemon.wait_state(name, "exited", "tripped", "stopped")
            why = daemon.ctl("why", name, check=True).stdout
            assert "***" in why
            said.append(why)
        assert "postgres://shop:***@db refused" in " ".join(said[1].split())
        assert "KeyError: '*** in a key'" in daemon.log("call")
        said += [daemon.ctl("events", "--json").stdout, daemon.ctl("status", "--json").stdout]
        said += [data.decode(errors="replace") for _, data in everything_of(daemon.folder)]
    assert [text for text in said if CANARY in text] == []


@pytest.mark.parametrize("secrets_as", ["environment", "files"])
def test_a_program_that_asks_about_the_worker_has_its_secrets(secrets_as: str) -> None:
    """`redis-cli` needs the password too."""
    value = "$TOKEN" if secrets_as == "environment" else '\\"$(cat $TOKEN_FILE)\\"'
    made = Daemon(
        f'[worker.web]\nready = "health"\nsecrets_as = "{secrets_as}"\n{KEPT}'
        'command = ["/bin/sleep", "1000"]\nhealth.interval = "50ms"\n'
        f'health.exec = ["/bin/sh", "-c", "test {value} = s3cret"]\n'
    )
    keep(made, "s3cret\n")
    with made as daemon:
        assert daemon.wait_state("web", "running")["ready"]


def test_a_worker_of_a_manager_has_secrets_too(tmp_path: Path) -> None:
    """By the keys of the file, as everything that has no option of its own."""
    kept = tmp_path / "kept"
    kept.write_text("s3cret\n")
    kept.chmod(0o600)
    out = tmp_path / "out"
    manager = Manager()
    manager.register(
        ["/bin/sh", "-c", f'echo "$TOKEN" > {out}; exec sleep 1000'],
        name="web", keys={"secrets.TOKEN": f"file:{kept}"}, ready="spawned",
    )  # fmt: skip
    manager.start()
    try:
        wait_until(lambda: out.exists() and out.read_text() == "s3cret\n", what="it was given")
    finally:
        manager.stop()
