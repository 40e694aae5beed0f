"""How the keeper starts a command: exactly as asked, or the stage that failed by name."""

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

from tests.support.keeper import (
    Household,
    NoCgroupCalls,
    a_household,
    marked,
    open_descriptors,
    request,
)

pytestmark = pytest.mark.process

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody")
IDENTITY = {"uid": NOBODY.pw_uid, "gid": NOBODY.pw_gid, "groups": [NOBODY.pw_gid], "user": "nobody"}
#: Says on stdout all that a process can find out about itself.
PROBE = """
import json, os, resource, signal, sys
fds = []
for name in os.listdir("/proc/self/fd"):
    try:
        fds.append([int(name), os.readlink("/proc/self/fd/" + name)])
    except OSError:
        pass
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
umask = os.umask(0)
print(json.dumps({
    "argv": sys.argv[1:], "env": dict(os.environ), "fds": fds, "cwd": os.getcwd(), "umask": umask,
    "pid": os.getpid(), "sid": os.getsid(0), "pgid": os.getpgid(0), "nice": os.nice(0),
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "blocked": status["SigBlk"], "ignored": status["SigIgn"],
    "cgroup": open("/proc/self/cgroup").read(),
}))
"""
PROBE_ARGV = (sys.executable, "-I", "-S", "-c", PROBE, "one", "two words")
#: Forces the fork path, and asks for nothing that a plain start would not have.
FORKED = {"rlimits": [["core", 0]]}


@pytest.fixture
def house() -> Iterator[Household]:
    with a_household(environment={"PATH": os.defpath, "KEPT": "1", "NOTIFY_SOCKET": "/x"}) as it:
        yield it


@pytest.fixture(params=["step in, vfork", "step in, fork", "clone"])
def way(request: pytest.FixtureRequest, house: Household) -> dict[str, Any]:
    """Force one of the ways in which a process is started; return what a request needs for it."""
    cgroups = house.runs.cgroups
    if request.param == "clone" and cgroups is None:
        pytest.skip("needs a writable cgroup v2")
    if cgroups is not None:
        cgroups.can_clone = request.param == "clone"
    return FORKED if request.param == "step in, fork" else {}


def log(path: str) -> dict[str, Any]:
    return {"to": "log", "stream": {"path": path, "max_size": 0, "backups": 0}}


def probe(house: Household, **more: Any) -> dict[str, Any]:
    """Start the probe with its output to a log stream; return what it says."""
    ask = marked(request("probe", *PROBE_ARGV, stdout=log("/log"), **more))
    house.ask(ask)
    assert house.fact("probe", "exited")["code"] == 0, house.facts("probe")
    (stream,) = house.run_of("probe").streams
    said: dict[str, Any] = json.loads(os.read(stream.descriptor, 65536))
    assert said["env"]["INVOCATION_ID"] == ask["marker"]
    return said


def test_a_worker_gets_what_it_asked_for_and_nothing_of_the_daemon(
    house: Household, tmp_path: Path, way: dict[str, Any]
) -> None:
    """Arguments, directory, umask, three descriptors, clean signals and a session of its own."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        said = probe(
            house,
            directory=str(tmp_path),
            umask=0o027,
            environment=[("ADDED", "a=b"), ("PATH", None)],
            **way,
        )
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    assert said["argv"] == ["one", "two words"]
    assert said["cwd"] == str(tmp_path)
    assert said["umask"] == 0o027
    assert said["sid"] == said["pgid"] == said["pid"]
    assert int(said["blocked"], 16) == 0
    ignored = int(said["ignored"], 16)
    # Python's own two, and libc's, which no program can set.
    assert (
        ignored & ~sum(1 << number - 1 for number in (signal.SIGPIPE, signal.SIGXFSZ, 32, 33)) == 0
    )
    assert {name for name in said["env"] if name != "LC_CTYPE"} == {
        "KEPT", "ADDED", "INVOCATION_ID",
    }  # fmt: skip
    assert said["env"]["ADDED"] == "a=b"
    numbers = {number for number, link in said["fds"] if not link.startswith("/proc/")}
    assert numbers == {0, 1, 2}
    links = dict(said["fds"])
    assert links[0] == links[2] == "/dev/null"
    assert links[1].startswith("pipe:")


def test_the_daemons_own_descriptor_limit_does_not_reach_workers(
    house: Household, way: dict[str, Any]
) -> None:
    """The soft limit of before the daemon raised its own is what a worker gets."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    said = probe(house, **way)

    assert said["nofile"] == [house.boot.nofile_soft, before[1]]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_workers_start_when_the_daemon_holds_more_descriptors_than_a_worker_may(
    house: Household, way: dict[str, Any]
) -> None:
    """A thousand workers' pipes are no hindrance where the usual limit is 1024."""
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(house.boot.nofile_soft)]
    try:
        said = probe(house, **way)
    finally:
        for descriptor in held:
            os.close(descriptor)

    assert said["nofile"][0] == house.boot.nofile_soft


def test_limits_and_niceness_are_set(house: Household) -> None:
    """An rlimit holds for soft and hard; niceness adds to the daemon's."""
    said = probe(house, rlimits=[["nofile", 64], ["core", None]], nice=3)

    assert said["nofile"] == [64, 64]
    assert said["core"] == [resource.RLIM_INFINITY] * 2
    assert said["nice"] == os.nice(0) + 3


@NEEDS_ROOT
def test_another_user_gets_its_groups_and_no_way_back(house: Household) -> None:
    """Real, effective and saved ids are the user's, and root's groups are gone."""
    house.ask(request("other", "cat", "/proc/self/status", stdout=log("/log"), identity=IDENTITY))
    assert house.fact("other", "exited")["code"] == 0
    (stream,) = house.run_of("other").streams
    lines = os.read(stream.descriptor, 65536).decode().splitlines()
    said = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    assert said["Uid"] == [str(NOBODY.pw_uid)] * 4
    assert said["Gid"] == [str(NOBODY.pw_gid)] * 4
    assert said["Groups"] == [str(NOBODY.pw_gid)]


def test_the_keeper_comes_back_after_each_start(house: Household, tmp_path: Path) -> None:
    """Directory, umask, cgroup and descriptors of the keeper are what they were."""
    cgroup = Path("/proc/self/cgroup").read_text()
    umask = os.umask(0o022)
    os.umask(umask)
    house.ask(request("warm", "true"))
    house.fact("warm", "exited")
    before = open_descriptors()

    ways: tuple[dict[str, Any], ...] = ({}, FORKED, {"directory": "/missing"})
    for run, more in enumerate(ways, start=2):
        house.ask(request("warm", "true", run=run, **{"directory": str(tmp_path), **more}))
    house.until(lambda: len(house.facts("warm")) >= 7, "all have ended")

    assert os.getcwd() == "/"
    assert os.umask(umask) == umask
    assert Path("/proc/self/cgroup").read_text() == cgroup
    house.until(lambda: house.runs.are_gone, "all are empty")
    assert open_descriptors() == before


def test_output_goes_where_it_was_sent(house: Household) -> None:
    """stderr may follow stdout into one pipe, or go its own way."""
    script = "echo out; echo err >&2"
    house.ask(request("both", "sh", "-c", script, stdout=log("/a"), stderr={"to": "stdout"}))
    house.fact("both", "exited")
    house.ask(request("apart", "sh", "-c", script, stdout={"to": "null"}, stderr=log("/b")))
    house.fact("apart", "exited")

    (both,) = house.run_of("both").streams
    (apart,) = house.run_of("apart").streams
    assert os.read(both.descriptor, 100) == b"out\nerr\n"
    assert os.read(both.descriptor, 100) == b""  # nobody holds its other end
    assert os.read(apart.descriptor, 100) == b"err\n"
    assert os.read(apart.descriptor, 100) == b""


# -- failures --------------------------------------------------------------------------------------


def a_file(path: Path, text: str, mode: int) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def bad_files(tmp_path: Path) -> Path:
    a_file(tmp_path / "not_executable", "#!/bin/sh\n", 0o644)
    a_file(tmp_path / "no_format", "no program\n", 0o755)
    a_file(tmp_path / "no_interpreter", "#!/nowhere/sh\n", 0o755)
    (tmp_path / "folder").mkdir()
    a_file(tmp_path / "here", "#!/bin/sh\n", 0o755)
    return tmp_path


FAILURES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("/nowhere/x", {}, {"stage": "exec", "missing": True, "reason": "no such file: /nowhere/x"}),
    ("absent", {}, {"stage": "exec", "missing": True, "reason": "no such file in PATH: absent"}),
    ("here", {}, {"stage": "exec", "missing": True, "reason": "no such file in PATH: here"}),
    ("./not_executable", {}, {"stage": "exec", "reason": "Permission denied: ./not_executable"}),
    ("./folder", {}, {"stage": "exec", "reason": "Permission denied: ./folder"}),
    ("./no_format", {}, {"stage": "exec", "reason": "not a program; a script begins with #!"
                         " and its interpreter: ./no_format"}),
    ("./no_interpreter", {}, {"stage": "exec", "missing": True,
                              "reason": "its interpreter is missing: ./no_interpreter"}),
    ("no_interpreter", {"environment": [("PATH", ".")]}, {
        "stage": "exec", "missing": True, "reason": "its interpreter is missing: no_interpreter"}),
    ("not_executable", {"environment": [("PATH", "/bin:.")]}, {
        "stage": "exec", "reason": "Permission denied: not_executable"}),
    ("true", {"directory": "/nowhere"}, {
        "stage": "directory", "missing": True, "reason": "No such file or directory: /nowhere"}),
    ("true", {"directory": "/dev/null"}, {
        "stage": "directory", "missing": True, "reason": "Not a directory: /dev/null"}),
    ("x" * 5000, {}, {"stage": "exec", "missing": True}),
    ("/bin/nul\0byte", {}, {"stage": "exec", "hopeless": True}),
]  # fmt: skip


@pytest.mark.parametrize(("command", "more", "told"), FAILURES)
def test_a_start_that_fails_names_its_stage(
    house: Household,
    bad_files: Path,
    way: dict[str, Any],
    command: str,
    more: dict[str, Any],
    told: dict[str, Any],
) -> None:
    """The reason names the file, and whether a deploy or nothing at all can heal it."""
    house.ask(request("bad", command, **{"directory": str(bad_files), **way, **more}))

    fact = house.fact("bad", "spawn_failed")

    expected = {"missing": False, "hopeless": False, **told}
    assert {key: fact[key] for key in expected} == expected
    assert len(house.facts("bad")) == 1
    house.until(lambda: house.runs.are_gone, "nothing is left")


def test_arguments_that_the_kernel_refuses_are_a_failure(
    house: Household, way: dict[str, Any]
) -> None:
    """Too long a command line fails that start alone, for good, with the kernel's words."""
    house.ask(request("bad", "true", "x" * 200_000, **way))

    fact = house.fact("bad", "spawn_failed")

    assert fact["stage"] == "exec"
    assert fact["reason"] == "Argument list too long: true"
    assert fact["hopeless"]


def test_a_limit_that_is_refused_is_named(house: Household) -> None:
    """No retry heals a limit above the hard one, or one that the kernel does not know."""
    house.ask(request("high", "true", rlimits=[["nofile", 2**40]]))
    house.ask(request("odd", "true", rlimits=[["nonsense", 1]]))

    high, odd = house.fact("high", "spawn_failed"), house.fact("odd", "spawn_failed")

    assert (high["stage"], high["hopeless"]) == ("limits", True)
    assert high["reason"].startswith("nofile = 1099511627776: ")
    assert (odd["stage"], odd["hopeless"]) == ("limits", True)


@NEEDS_ROOT
def test_a_user_who_may_not_enter_the_directory_is_told_so(
    house: Household, tmp_path: Path
) -> None:
    """The directory is entered as the worker's user, as it would by hand."""
    tmp_path.chmod(0o700)
    house.ask(request("bad", "true", identity=IDENTITY, directory=str(tmp_path)))

    fact = house.fact("bad", "spawn_failed")

    assert fact["stage"] == "directory"
    assert fact["reason"] == f"Permission denied: {tmp_path}"
    assert not fact["missing"]


@NEEDS_ROOT
def test_an_impossible_user_is_named() -> None:
    """An id that the kernel refuses fails at its stage with the user's name."""
    with a_household() as house:
        identity = {"uid": 2**32 - 1, "gid": 0, "groups": [], "user": "ghost"}
        house.ask(request("bad", "true", identity=identity))

        fact = house.fact("bad", "spawn_failed")

    assert fact["stage"] == "user"
    assert "ghost" in fact["reason"] or fact["hopeless"]


def test_a_request_that_arrives_twice_starts_one_process(house: Household) -> None:
    """A supervisor that is not sure may ask again."""
    ask = request("once", "sleep", "100")
    house.ask(ask, ask)
    house.ask(ask)
    house.fact("once", "spawned")

    assert len(house.facts("once", "spawned")) == 1
    assert len(house.table.by_pid) == 1


def test_an_older_run_is_not_started_any_more(house: Household) -> None:
    """A request that belongs to the past changes nothing."""
    house.ask(request("late", "true", run=3))
    house.ask(request("late", "true", run=2))
    house.fact("late", "exited")

    assert {fact["run"] for fact in house.facts("late")} == {3}


def test_nonsense_in_a_request_fails_that_start_alone(house: Household) -> None:
    """A fault in one request costs its worker one failure, and nobody else anything."""
    bad = request("bad", "true", stdout=log("/log"))
    del bad["umask"]
    house.ask(bad, request("good", "true"))

    assert house.fact("bad", "spawn_failed")["stage"] == "fork"
    assert house.fact("good", "exited")["code"] == 0
    house.turn()
    assert [stream.entry["name"] for stream in house.runs.streams._open.values()] == [""]


def test_a_kill_before_exec_is_an_end_like_any_other(house: Household) -> None:
    """A worker that is stopped while it is being set up ends, and is told as ended."""
    ask = request("early", "sleep", "100", rlimits=[["core", 0]])
    about = {"pool": "early", "index": 1, "run": 1}
    house.ask(ask, {"do": "signal", **about, "signal": 15, "scope": "leader", "stop": True})

    assert house.fact("early", "exited")["signal"] == signal.SIGTERM
    assert [fact["fact"] for fact in house.facts("early")] == ["spawned", "exited"]


def test_an_exit_before_anybody_looked_is_told_in_order(
    house: Household, way: dict[str, Any]
) -> None:
    """Spawned comes before exited, however fast the worker is."""
    for run in range(1, 21):
        house.ask(request("fast", "sh", "-c", f"exit {run}", run=run, **way))
    house.until(lambda: len(house.facts("fast", "exited")) == 20, "all have ended")

    for run in range(1, 21):
        facts = [fact for fact in house.facts("fast") if fact["run"] == run]
        assert [fact["fact"] for fact in facts][:2] == ["spawned", "exited"]
        assert facts[1]["code"] == run


def test_without_a_writable_cgroup_workers_start_all_the_same() -> None:
    """Where no cgroup may be made, nothing is missing but the cgroup."""
    with a_household(NoCgroupCalls()) as house:
        assert house.runs.cgroups is None
        house.ask(request("plain", "true"))

        assert house.fact("plain", "exited")["code"] == 0


def test_a_worker_is_born_in_its_cgroup(house: Household, way: dict[str, Any]) -> None:
    """Not even its first moment is spent elsewhere, in either way of starting."""
    if house.runs.cgroups is None:
        pytest.skip("needs a writable cgroup v2")

    assert "/workers/probe.1.1\n" in probe(house, **way)["cgroup"]


def test_a_refused_limit_of_a_cgroup_is_a_failed_start() -> None:
    """Better not started than without the limit that was asked for."""
    with a_household() as house:
        if house.runs.cgroups is None:
            pytest.skip("needs a writable cgroup v2")
        house.runs.cgroups.controllers = ("cgroup",)  # any controller that there is a file of
        house.ask(request("bad", "true", cgroup={"cgroup.type": "nonsense"}))

        fact = house.fact("bad", "spawn_failed")

        assert fact["stage"] == "cgroup"
        folders = [f.name for f in Path(house.runs.cgroups.workers).iterdir() if f.is_dir()]
        assert folders == []
