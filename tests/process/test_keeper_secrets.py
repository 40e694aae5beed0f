"""How secrets reach a worker's process, and nobody else."""

import json
import os
import pwd
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.base.secret_file import MAX_FILE_BYTES, MAX_VALUE_BYTES
from supervisord_lite.keeper import secret_stage
from supervisord_lite.worker import handed
from tests.support import leftovers
from tests.support.forkserver import a_server, forked, with_targets
from tests.support.keeper import Household, a_household, open_descriptors, request
from tests.support.memory import memory_of
from tests.support.slow import unanswering
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody")
IDENTITY = {"uid": NOBODY.pw_uid, "gid": NOBODY.pw_gid, "groups": [NOBODY.pw_gid], "user": "nobody"}
CANARY = b"c4nary-hunter2"


def kept(path: Path, data: bytes = CANARY, mode: int = 0o600) -> str:
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Household]:
    environment = {"PATH": os.defpath, "A": "of the daemon"}
    with a_household(
        environment={**environment, "CREDENTIALS_DIRECTORY": str(tmp_path / "given")}
    ) as it:
        yield it


@pytest.fixture(params=["step in", "clone"], autouse=True)
def way(request: pytest.FixtureRequest, house: Household) -> None:
    """Force one of the ways in which a process is forked."""
    if house.runs.cgroups is not None:
        house.runs.cgroups.can_clone = request.param == "clone"
    elif request.param == "clone":
        pytest.skip("needs a writable cgroup v2")


def asked(folder: Path, script: str, *secrets: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    """Return a request for a shell script whose output goes to a log stream."""
    log = {"to": "log", "stream": {"path": "/log", "max_size": 0, "backups": 0}}
    about = {"secrets": list(secrets), "secrets_as": "environment", "folder": None, "stdout": log}
    if more.get("secrets_as") == "files":
        about["folder"] = str(folder / "w/web.1.1")
    return request("web", "sh", "-c", script, **{**about, **more})


def said(house: Household, ask: dict[str, Any]) -> bytes:
    house.ask(ask)
    assert house.fact("web", "exited")["code"] == 0, house.facts("web")
    (stream,) = house.run_of("web").streams
    return os.read(stream.descriptor, 65536)


def failed(house: Household, ask: dict[str, Any]) -> dict[str, Any]:
    house.ask(ask)
    fact = house.fact("web", "spawn_failed")
    assert CANARY.decode() not in str(fact)
    assert fact["stage"] == "secret"
    return fact


def test_a_value_becomes_a_variable(house: Household, tmp_path: Path) -> None:
    """Byte by byte, but for one newline at its end; it beats a variable of the daemon."""
    (tmp_path / "given").mkdir()
    kept(tmp_path / "given/dsn", b" of systemd \n\n", 0o400)
    value = b"l1\nl2 \xff'\"$HOME"
    path = kept(tmp_path / "a", value + b"\n")
    secrets = (("A", "file", path), ("B", "credential", "dsn"))
    assert said(house, asked(tmp_path, 'printf "%s|%s" "$A" "$B"', *secrets)) == (
        value + b"| of systemd \n"
    )


def test_a_value_becomes_a_file_that_goes_with_the_run(house: Household, tmp_path: Path) -> None:
    """As it is, with its newline and NULs, for the worker alone; however low its limits are."""
    data = b"a\0b\n"
    secrets = (("A", "file", kept(tmp_path / "a", data)), ("B", "file", kept(tmp_path / "b")))
    before = open_descriptors()
    ask = asked(
        tmp_path, 'cat "$A_FILE"; stat -c "|%a %u|" "$A_FILE"; echo "$A$B_FILE"; kill -9 $$',
        *secrets, secrets_as="files", rlimits=[["fsize", 0]],
    )  # fmt: skip
    house.ask(ask)
    assert house.fact("web", "exited")["signal"] == signal.SIGKILL
    (stream,) = house.run_of("web").streams
    folder = ask["folder"]
    told = f"|400 {os.geteuid()}|\nof the daemon{folder}/B\n"
    assert os.read(stream.descriptor, 1000) == data + told.encode()
    house.until(lambda: house.runs.are_gone, "all is gone")
    assert not Path(folder).exists()
    house.runs.streams.retire(stream)
    assert len(open_descriptors()) <= len(before) + 1


@NEEDS_ROOT
@pytest.mark.parametrize("secrets_as", ["environment", "files"])
def test_another_user_gets_what_only_root_may_read(house: Household, secrets_as: str) -> None:
    """It is read before the rights are given up, and no right is left over."""
    folder = leftovers.short_folder()
    folder.chmod(0o711)
    path = kept(folder / "a")
    script = (
        f'if [ -n "$A_FILE" ]; then cat "$A_FILE"; else printf "%s" "$A"; fi; cat {path}; id -u'
    )
    secret = ("A", "file", path)
    ask = asked(folder, script, secret, identity=IDENTITY, secrets_as=secrets_as,
                environment=[("A", None)])  # fmt: skip
    assert said(house, ask) == CANARY + f"{NOBODY.pw_uid}\n".encode()


def test_nothing_of_the_keeper_is_open_in_a_worker_with_secrets(
    house: Household, tmp_path: Path
) -> None:
    """Nor the file that was read."""
    script = "ls /proc/self/fd | wc -l"
    plain = said(house, {**asked(tmp_path, script), "run": 1})
    ask = asked(tmp_path, script, ("A", "file", kept(tmp_path / "a")), run=2)
    house.ask(ask)
    house.until(lambda: len(house.facts("web", "exited")) == 2, "it has ended")
    (stream,) = house.table.runs["web", 1, 2].streams
    assert os.read(stream.descriptor, 100) == plain


OPEN = (
    "everybody may put another file in place of {}/open/in: {}/open is open to all: "
    "chmod o-w {}/open"
)
FAILURES = {
    "missing": ("no such file: {}/missing", True),
    "folder": ("{}/folder is not a file", False),
    "fifo": ("{}/fifo is not a file", False),
    "readable": ("everybody may read {}/readable (mode 0644): chmod o= {}/readable", False),
    "open/in": (OPEN, False),
    "empty": ("{}/empty is empty", False),
    "nul": ('{}/nul has a NUL in it: no variable holds it: secrets_as = "files"', False),
    "large": ('{}/large is larger than 64K: no variable holds it: secrets_as = "files"', False),
    "huge": ("{}/huge is larger than 1024K", False),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_a_secret_that_cannot_be_had_is_a_failed_start(
    house: Household, tmp_path: Path, name: str
) -> None:
    """With the path and the way out; only what is missing waits for a deploy."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo", 0o600)
    kept(tmp_path / "readable", mode=0o644)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    kept(tmp_path / "open/in")
    kept(tmp_path / "empty", b"")
    kept(tmp_path / "nul", CANARY + b"\0")
    kept(tmp_path / "large", b"x" * (MAX_VALUE_BYTES + 1))
    kept(tmp_path / "huge", b"x" * (MAX_FILE_BYTES + 1))
    fact = failed(house, asked(tmp_path, "true", ("A", "file", str(tmp_path / name))))
    reason, missing = FAILURES[name]
    assert fact["reason"] == reason.replace("{}", str(tmp_path))
    assert (fact["missing"], fact["hopeless"]) == (missing, False)
    house.until(lambda: house.runs.are_gone, "nothing is left")


def test_a_large_file_may_stay_a_file(house: Household, tmp_path: Path) -> None:
    """What no variable holds."""
    path = kept(tmp_path / "a", b"x" * MAX_FILE_BYTES)
    ask = asked(tmp_path, 'wc -c < "$A_FILE"', ("A", "file", path), secrets_as="files")
    assert said(house, ask) == f"{MAX_FILE_BYTES}\n".encode()


def test_a_credential_that_the_daemon_does_not_have(tmp_path: Path) -> None:
    """Only another start of the service brings one, so no retry does."""
    with a_household(environment={"PATH": os.defpath}) as house:
        fact = failed(house, asked(tmp_path, "true", ("A", "credential", "dsn")))
    assert "LoadCredential=dsn:PATH" in fact["reason"]
    assert (fact["missing"], fact["hopeless"]) == (False, True)


def test_the_words_of_a_failure_hold_no_value(house: Household, tmp_path: Path) -> None:
    """Whatever comes after the secrets were read."""
    name = f"/nowhere/{CANARY.decode()}"
    ask = asked(tmp_path, "", ("A", "file", kept(tmp_path / "a")), directory=name)
    house.ask(ask)
    fact = house.fact("web", "spawn_failed")
    assert fact["reason"] == "No such file or directory: /nowhere/***"


def test_files_that_were_written_go_when_the_start_fails(house: Household, tmp_path: Path) -> None:
    """At a later stage, and at the second of two secrets."""
    good = ("A", "file", kept(tmp_path / "a"))
    bad = ("B", "file", str(tmp_path / "missing"))
    house.ask(asked(tmp_path, "", good, secrets_as="files", directory="/nowhere"))
    own = str(tmp_path / "w/web.1.2")  # that of the first one goes in its own time
    house.ask({**asked(tmp_path, "", good, bad, secrets_as="files", run=2), "folder": own})
    house.until(lambda: len(house.facts("web", "spawn_failed")) == 2, "both have failed")
    assert {fact["stage"] for fact in house.facts("web")} == {"directory", "secret"}
    house.until(lambda: house.runs.are_gone, "nothing is left")
    assert list((tmp_path / "w").iterdir()) == []


def test_what_stands_in_the_place_of_a_file_is_not_written_to(
    house: Household, tmp_path: Path
) -> None:
    """Whoever may enter the folder could have put a link there."""
    target = tmp_path / "target"
    target.write_text("as it was")
    folder = tmp_path / "w/web.1.1"
    folder.mkdir(parents=True)
    (folder / "A").symlink_to(target)
    ask = asked(tmp_path, "true", ("A", "file", kept(tmp_path / "a")), secrets_as="files")
    assert "File exists" in failed(house, ask)["reason"]
    assert target.read_text() == "as it was"


def test_a_disk_that_does_not_answer_holds_up_one_start_alone(
    house: Household, tmp_path: Path
) -> None:
    """Others start meanwhile, and a kill ends the one that waits."""
    path = kept(tmp_path / "a")
    with unanswering(tmp_path / "a") as is_waiting:
        house.ask(asked(tmp_path, "true", ("A", "file", path)))
        wait_until(is_waiting, what="the worker's process waits for the disk")
        house.ask(request("other", "true"))
        assert house.fact("other", "exited")["code"] == 0
        assert house.facts("web") == []
        house.kill("web")
        house.until(lambda: bool(house.facts("web")), "it has ended")
    assert house.facts("web", "exited") == [] or house.fact("web", "exited")["signal"] == 9


def test_a_hanging_start_keeps_nothing_of_the_keeper_open(house: Household, tmp_path: Path) -> None:
    """Who waits for the end of one of the keeper's descriptors does not wait for that disk."""
    path = kept(tmp_path / "a")
    with unanswering(tmp_path / "a") as is_waiting:
        house.ask(asked(tmp_path, "true", ("A", "file", path)))
        wait_until(is_waiting, what="the worker's process waits for the disk")
        (pid,) = house.table.by_pid
        links = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        # Nothing, its output, and how to report; the place of the file that it waits for.
        others = {link for link in links if not link.startswith(("/dev/null", "pipe:"))}
        assert others <= {path}
        house.kill("web")
        house.until(lambda: house.runs.are_gone, "it has ended")


def test_the_most_that_may_be_given_fits(house: Household, tmp_path: Path) -> None:
    """A variable of 64 KiB; and many together may be more than the kernel takes."""
    path = kept(tmp_path / "a", b"y" * MAX_VALUE_BYTES)
    script = f"{sys.executable} -c 'import os; print(len(os.environ[\"A\"]))'"
    assert said(house, asked(tmp_path, script, ("A", "file", path))) == b"65536\n"
    if resource.getrlimit(resource.RLIMIT_STACK)[0] == 8 << 20:
        many = [(f"A{number}", "file", path) for number in range(40)]
        house.ask(asked(tmp_path, "true", *many, run=2))
        house.until(lambda: bool(house.facts("web", "spawn_failed")), "it has failed")
        (fact,) = house.facts("web", "spawn_failed")
        assert (fact["stage"], fact["reason"]) == ("exec", "Argument list too long: sh")


# -- for a worker that is forked by somebody else --------------------------------------------------


def handed_on(house: Household, ask: dict[str, Any], credentials: str | None = None) -> int:
    """Let a child of the keeper read the secrets; return the descriptor for the worker."""
    descriptor, pid = secret_stage.hand_on(house.calls, ask, credentials)
    house.known.add(pid)
    return descriptor


def test_what_is_handed_on_is_what_a_worker_would_have_got(
    house: Household, tmp_path: Path
) -> None:
    """However large, byte by byte, as variables or as files; and the child is gone after that."""
    value = b"\xff" * (MAX_VALUE_BYTES - 1) + b"\n"
    (tmp_path / "given").mkdir()
    kept(tmp_path / "given/dsn")
    secrets = (("A", "file", kept(tmp_path / "a", value)), ("B", "credential", "dsn"))
    ask = asked(tmp_path, "", *secrets)
    variables = handed.take(handed_on(house, ask, str(tmp_path / "given")))
    assert os.fsencode(variables["A"]) == value.removesuffix(b"\n")
    assert variables["B"] == CANARY.decode()
    (tmp_path / "w/web.1.1").mkdir(parents=True)
    ask = asked(tmp_path, "", *secrets, secrets_as="files")
    variables = handed.take(handed_on(house, ask, str(tmp_path / "given")))
    assert Path(variables["A_FILE"]).read_bytes() == value
    house.until(lambda: not house.known, "both children have ended")


def test_what_cannot_be_handed_on_is_told(house: Household, tmp_path: Path) -> None:
    """With the same words as in a start of a command."""
    path = kept(tmp_path / "a", mode=0o644)
    for secret, words, flags in (
        (("A", "file", path), f"chmod o= {path}", (False, False)),
        (("A", "file", "/nowhere/a"), "no such file: /nowhere/a", (True, False)),
        (("A", "credential", "a"), "LoadCredential=a:PATH", (False, True)),
    ):
        with pytest.raises(handed.HandedError) as caught:
            handed.take(handed_on(house, asked(tmp_path, "", secret)))
        assert words in caught.value.reason
        assert caught.value.stage == "secret"
        assert (caught.value.missing, caught.value.hopeless) == flags
    good = ("A", "file", kept(tmp_path / "b"))
    ask = asked(tmp_path, "", good, secrets_as="files")  # its folder is missing
    with pytest.raises(handed.HandedError, match="No such file or directory"):
        handed.take(handed_on(house, ask))
    house.until(lambda: not house.known, "all children have ended")


def test_a_child_that_nobody_listens_to_ends(house: Household, tmp_path: Path) -> None:
    """The worker died; and one that is killed itself is told of."""
    many = [(f"A{n}", "file", kept(tmp_path / "a", b"x" * MAX_VALUE_BYTES)) for n in range(4)]
    os.close(handed_on(house, asked(tmp_path, "", *many)))
    house.until(lambda: not house.known, "the child has ended")
    with unanswering(tmp_path / "a") as is_waiting:
        descriptor = handed_on(house, asked(tmp_path, "", *many))
        wait_until(is_waiting, what="the child waits for the disk")
        (pid,) = house.known
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(handed.HandedError, match="was killed"):
            handed.take(descriptor)
    house.until(lambda: not house.known, "the child has ended")


def a_fork(
    folder: Path, target: str, *secrets: tuple[str, str, str], **more: Any
) -> dict[str, Any]:
    """Return a request for a fork of a warm interpreter that may speak."""
    with_targets(folder)
    own = str(folder / f"w/web.1.{more.get('run', 1)}")
    log = {"to": "log", "stream": {"path": "/log", "max_size": 0, "backups": 0}}
    names = " ".join(name for name, _, _ in secrets)
    about = {
        "secrets": list(secrets), "secrets_as": "environment", "folder": own, "notify": own,
        "stdout": log, "environment": [["SUPERVISORD_LITE_SECRETS", names]],
    }  # fmt: skip
    ask = forked("web", target, a_server(folder), **{**about, **more})
    ask["python"]["notify"] = f"{own}/notify"
    return ask


def server_pid(house: Household) -> int:
    return house.runs.servers._by_id["1"].run.pid


@pytest.mark.parametrize("secrets_as", ["environment", "files"])
def test_a_fork_has_its_secrets_and_the_warm_interpreter_none(
    house: Household, tmp_path: Path, secrets_as: str
) -> None:
    """Each fork those of its own, read with the keeper's rights."""
    tmp_path.chmod(0o711)
    secret = ("A", "file", kept(tmp_path / "a"))
    house.ask(a_fork(tmp_path, "tell", secret, secrets_as=secrets_as))
    assert house.fact("web", "exited")["code"] == 0, house.facts("web")
    (stream,) = house.run_of("web").streams
    environment = json.loads(os.read(stream.descriptor, 1 << 20))["env"]
    if secrets_as == "environment":
        assert environment["A"] == CANARY.decode()
    else:
        assert environment["A_FILE"] == str(tmp_path / "w/web.1.1/A")
    pid = server_pid(house)
    assert CANARY not in Path(f"/proc/{pid}/environ").read_bytes()
    if os.geteuid() == 0:
        assert not any(CANARY in data for _, data in memory_of(pid))
    (run,) = [run for run in house.table.runs.values() if run.key[0] == "web"]
    house.until(lambda: run.emptied, "its tree is empty")
    assert not (tmp_path / "w/web.1.1").exists()
    # The next fork was given none, and has none.
    house.ask(a_fork(tmp_path, "tell", run=2))
    house.until(lambda: len(house.facts("web", "exited")) == 2, "it has ended")
    (stream,) = house.table.runs["web", 1, 2].streams
    said = json.loads(os.read(stream.descriptor, 1 << 20))["env"]
    assert {said.get("A"), said.get("A_FILE")} <= {"of the daemon", None}


def test_a_fork_whose_secrets_cannot_be_had_is_a_failed_start(
    house: Household, tmp_path: Path
) -> None:
    """With the same fact as a command's."""
    house.ask(a_fork(tmp_path, "rest", ("A", "file", "/nowhere/a")))
    fact = house.fact("web", "spawn_failed")
    assert (fact["stage"], fact["reason"]) == ("secret", "no such file: /nowhere/a")
    assert (fact["missing"], fact["hopeless"]) == (True, False)
    path = kept(tmp_path / "a", mode=0o644)
    house.ask(a_fork(tmp_path, "rest", ("A", "file", path), run=2))
    house.until(lambda: len(house.facts("web", "spawn_failed")) == 2, "it has failed")
    assert f"chmod o= {path}" in house.facts("web", "spawn_failed")[1]["reason"]


def test_a_fork_that_waits_for_a_disk_can_be_killed(house: Household, tmp_path: Path) -> None:
    """It is known to the keeper by then."""
    path = kept(tmp_path / "a")
    with unanswering(tmp_path / "a") as is_waiting:
        house.ask(a_fork(tmp_path, "rest", ("A", "file", path)))
        assert house.fact("web", "spawned")
        wait_until(is_waiting, what="a child of the keeper waits for the disk")
        house.kill("web")
        assert house.fact("web", "exited")["signal"] == signal.SIGKILL
    house.ask({"do": "keep_servers", "ids": []})
    house.until(lambda: not house.known, "all have ended")


def test_a_start_that_reads_secrets_ends_with_the_keeper() -> None:
    """It has let go of the lock, so the next `run` would not wait for it."""
    told, tell = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        me = os.getpid()
        if os.fork() == 0:
            secret_stage.end_with(me)
            os.write(tell, b"%d" % os.getpid())
        signal.pause()
        os._exit(1)
    os.close(tell)
    start = int(os.read(told, 100))
    assert leftovers.is_alive(start)

    os.kill(keeper, signal.SIGKILL)

    os.waitpid(keeper, 0)
    wait_until(lambda: not leftovers.is_alive(start), what="it has ended")
    os.close(told)


def test_a_start_whose_keeper_has_ended_already_ends_too() -> None:
    """The parent may have died before the child asked to die with it."""
    child = os.fork()
    if child == 0:
        secret_stage.end_with(1 << 22)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 127
