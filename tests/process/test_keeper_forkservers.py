"""Runs that are forks of a warm interpreter: started once, each status exact, whoever is killed."""

import errno
import json
import os
import pwd
import random  # noqa: TID251  # seeded, and the seed is printed
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.base.capabilities import NAMES
from supervisord_lite.scribe.marks import NO_RUN
from supervisord_lite.wire import channel
from tests.support.forkserver import BOOT, a_server, forked, with_targets
from tests.support.keeper import (
    CountingCalls,
    Household,
    NoCgroupCalls,
    a_household,
    below,
    open_descriptors,
)
from tests.support.leftovers import short_folder

pytestmark = pytest.mark.process

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody")
IDENTITY = {"uid": NOBODY.pw_uid, "gid": NOBODY.pw_gid, "groups": [NOBODY.pw_gid], "user": "nobody"}


@pytest.fixture
def folder() -> Path:
    # Below those of pytest nobody else may look, whenever another session of it begins.
    folder = short_folder()
    for each in (folder, folder.parent):
        each.chmod(each.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    return with_targets(folder)


@pytest.fixture(params=["cgroup", "no cgroup"])
def house(request: pytest.FixtureRequest) -> Iterator[Household]:
    calls = NoCgroupCalls() if request.param == "no cgroup" else None
    with a_household(calls, environment={"PATH": os.defpath, "KEPT": "1"}) as it:
        if request.param == "cgroup" and it.runs.cgroups is None:
            pytest.skip("needs a writable cgroup v2")
        before = below(os.getpid())
        yield it
        it.runs.kill_all(0.0)
        it.until(lambda: it.runs.are_gone, "all is gone")
        assert below(os.getpid()) <= before  # what was there may have ended meanwhile


def seeded() -> tuple[int, random.Random]:
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    return seed, random.Random(seed)


def log(path: str) -> dict[str, Any]:
    return {"to": "log", "stream": {"path": path, "max_size": 0, "backups": 0}}


def output(house: Household) -> bytes:
    """Return what is in the first stream that a run has."""
    for run in house.table.runs.values():
        for stream in run.streams:
            return os.read(stream.descriptor, 1 << 16)
    raise AssertionError


def server_pid(house: Household, id: str = "1") -> int:  # noqa: A002  # as the request says
    return house.runs.servers._by_id[id].run.pid


def ready(house: Household, server: dict[str, Any]) -> int:
    """Have a server ready; return its pid."""
    house.ask({"do": "build", "server": server})
    said = lambda: any(server["id"] in each.get("servers", ()) for each in house.told)  # noqa: E731
    house.until(said, "the server has said")
    return server_pid(house, server["id"])


def test_a_forked_run_is_as_its_request_wants_it(house: Household, folder: Path) -> None:
    """Descriptors, environment, limits, niceness, umask, session and marks are the run's own."""
    ask = forked(
        "web-2", "tell", a_server(folder), stdout=log("/log"), umask=0o027, nice=3,
        rlimits=[["core", 4096], ["nofile", 300]], environment=[["COLOUR", "red"], ["KEPT", None]],
    )  # fmt: skip
    house.ask(ask)

    assert house.fact("web-2", "exited")["code"] == 0
    said = json.loads(output(house))
    assert said["pid"] == house.fact("web-2", "spawned")["pid"] == said["sid"]
    assert said["ppid"] == os.getpid()
    assert (said["umask"], said["nice"]) == (0o027, 3 + os.nice(0))
    assert (said["core"], said["nofile"]) == ([4096, 4096], [300, 300])
    assert said["env"]["COLOUR"] == "red"
    assert "KEPT" not in said["env"]
    assert said["env"]["INVOCATION_ID"] == ask["marker"]
    assert f"INVOCATION_ID={ask['marker']}\0" in said["environ"]
    assert said["comm"] == "web-2\n"
    assert "web-2 targets" in said["cmdline"]
    assert said["argv"] == ["targets:tell"]
    assert said["path"] == said["cwd"] == str(folder)
    assert int(said["blocked"], 16) == 0
    assert said["fds"]["0"] == "/dev/null"
    assert set(said["fds"]) - {"0", "1", "2"} <= {"3", "4"}  # the listing's own, and the voice
    if house.runs.cgroups is not None:
        assert "web-2.1.1\n" in said["cgroup"]


def test_a_fork_is_born_in_its_cgroup(house: Household, folder: Path) -> None:
    """To be moved there it would wait for the whole machine, and so would the keeper."""
    house.ask(forked("web", "tell", a_server(folder), stdout=log("/log")))
    assert house.fact("web", "exited")["code"] == 0
    is_in_its_own = "/web.1.1\n" in json.loads(output(house))["cgroup"]
    assert is_in_its_own == (house.runs.cgroups is not None)
    assert isinstance(house.calls, CountingCalls)
    assert str(house.fact("web", "spawned")["pid"]).encode() not in house.calls.written


def test_runs_that_are_forked_together_have_nothing_of_each_other(
    house: Household, folder: Path
) -> None:
    """Requests that were waiting are read at once; the descriptors of one are not for the next."""
    server = a_server(folder, "targets")
    pid = ready(house, server)
    names = [f"web-{number}" for number in range(1, 21)]
    os.kill(pid, signal.SIGSTOP)
    house.ask(*(forked(name, "tell", server, stdout=log(f"/{name}")) for name in names))
    os.kill(pid, signal.SIGCONT)

    for name in names:
        assert house.fact(name, "exited")["code"] == 0
    said = [
        json.loads(os.read(stream.descriptor, 1 << 16))
        for run in house.table.runs.values()
        for stream in run.streams
    ]
    assert len({each["fds"]["1"] for each in said}) == len(names)
    # Of the pipes and sockets a run has its own output and, while it lists them, one more.
    assert all(set(each["fds"]) <= {"0", "1", "2", "3", "4"} for each in said)


def test_what_a_server_knows_of_a_target_changes_nothing(house: Household, folder: Path) -> None:
    """One that is imported already is judged by the server, and refused by its worker as ever."""
    server = a_server(folder, "targets")
    ready(house, server)
    for run, config in enumerate(({"code": 3}, {"cod": 3}, {"code": 4}), 1):
        house.ask(forked("web", "leave", server, run=run, config=config))
        house.until(lambda: len(house.facts("web", "exited")) == run, "it has ended")  # noqa: B023
    assert [each["code"] for each in house.facts("web", "exited")] == [3, 1, 4]


def test_one_whose_environment_fits_into_no_message_fails_and_leaves_nothing_open(
    house: Household, folder: Path
) -> None:
    """Its request came in a memory file, which may be larger than what a forkserver takes."""
    server = a_server(folder)
    ready(house, server)
    before = open_descriptors()
    house.ask(forked("web", "tell", server, environment=[["LONG", "x" * 300_000]]))
    assert "is the most" in house.fact("web", "spawn_failed")["reason"]
    assert open_descriptors() == before


def test_a_forked_run_finds_its_sockets_from_3_on(house: Household, folder: Path) -> None:
    """Whatever numbers they had on the way; and who was meant is said."""
    sockets = [
        {"key": f"web/{fd}", "name": name, "kind": "tcp", "host": "127.0.0.1", "place": "0",
         "mode": 0o660, "uid": None, "gid": None, "backlog": 8, "fd": fd}
        for fd, name in enumerate("abcdefghijklmnop", start=3)
    ]  # fmt: skip
    house.ask(forked("web", "tell", a_server(folder), stdout=log("/log"), sockets=sockets))
    house.until(lambda: _is_over(house, "web"), "it is over")
    assert [fact.get("code") for fact in house.facts("web", "exited")] == [0], house.facts("web")
    said = json.loads(output(house))
    assert all(said["fds"][str(fd)].startswith("socket:") for fd in range(3, 19))
    assert said["env"]["LISTEN_FDS"] == "16"
    assert said["env"]["LISTEN_FDNAMES"] == ":".join("abcdefghijklmnop")
    assert said["env"]["LISTEN_PID"] == str(said["pid"])
    house.runs._listeners.close()


def test_each_fork_draws_other_random_numbers(house: Household, folder: Path) -> None:
    """What one interpreter has seeded is seeded anew in each worker."""
    (folder / "seeded.py").write_text("import random\nrandom.seed(7)\n")
    server = a_server(folder, "seeded")
    for number in range(2):
        house.ask(forked(f"p-{number}", "tell", server, stdout=log("/log")))
        house.fact(f"p-{number}", "exited")
    drawn = [
        json.loads(os.read(run.streams[0].descriptor, 1 << 16))["random"]
        for run in house.table.runs.values()
    ]
    assert drawn[0] != drawn[1]


def test_many_that_end_at_once_keep_each_its_status(house: Household, folder: Path) -> None:
    """Two hundred workers that exit as soon as they may: one start and one status each."""
    server = a_server(folder, "targets")
    count = 200
    house.ask(
        *[
            forked(f"p-{number}", "leave", server, config={"code": number})
            for number in range(count)
        ]
    )
    for number in range(count):
        name = f"p-{number}"
        assert house.fact(name, "exited")["code"] == number
        assert len(house.facts(name, "spawned")) == 1
        assert house.facts(name)[0]["fact"] == "spawned"


def test_a_run_that_is_asked_for_twice_is_started_once(house: Household, folder: Path) -> None:
    ask = forked("p", "rest", a_server(folder))
    house.ask(ask, ask)
    house.fact("p", "spawned")
    house.ask(ask)
    house.kill("p")
    house.fact("p", "exited")
    assert [fact["fact"] for fact in house.facts("p")].count("spawned") == 1


def test_the_death_of_an_idle_forkserver_is_nobodys_matter(house: Household, folder: Path) -> None:
    """Its workers live on, and the next start builds it again."""
    server = a_server(folder)
    house.ask(forked("a", "rest", server))
    pid = house.fact("a", "spawned")["pid"]
    first = server_pid(house)
    os.kill(first, signal.SIGKILL)
    house.until(lambda: not house.runs.servers._by_id, "its death is known")

    house.ask(forked("b", "leave", server))

    assert house.fact("b", "exited")["code"] == 0
    assert server_pid(house) != first
    os.kill(pid, 0)
    assert not house.facts("a", "exited")


def test_what_a_server_prints_is_the_output_of_no_run(house: Household, folder: Path) -> None:
    """Though it stands in the log of one: marks tell them apart."""
    server = a_server(folder, stdout=log(str(folder / "pool.log")))
    house.ask(forked("p", "rest", server, stdout=log(str(folder / "pool.log"))))
    house.fact("p", "spawned")
    (own,) = house.runs.servers._by_id["1"].start.streams
    (run,) = house.table.runs.values()
    assert own.entry["run"].startswith(NO_RUN)
    assert [stream.entry["run"].partition(".")[0] for stream in run.streams] == ["1"]


def kill_server(house: Household) -> None:
    """Kill the server, and wait until another one is there, or none."""
    pid = server_pid(house)
    os.kill(pid, signal.SIGKILL)
    house.until(lambda: all(s.run.pid != pid for s in house.runs.servers._by_id.values()), "gone")


def test_what_waits_for_a_server_that_is_killed_is_asked_of_another(
    house: Household, folder: Path
) -> None:
    """It never began, so that is no failure; but a server may die of what it is asked."""
    (folder / "slow.py").write_text(
        "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    )
    names = [f"p-{number}" for number in range(3)]
    house.ask(*[forked(name, "rest", a_server(folder, "slow")) for name in names])
    for _ in range(3):
        assert not any(house.facts(name) for name in names)
        kill_server(house)
    for name in names:
        fact = house.fact(name, "spawn_failed")
        assert (fact["stage"], "SIGKILL" in fact["reason"]) == ("preload", True)

    house.ask(*[forked(name, "leave", a_server(folder, "slow"), run=2) for name in names])
    kill_server(house)
    (folder / "go").touch()
    for name in names:
        assert house.fact(name, "exited")["run"] == 2


def test_a_forkserver_killed_at_any_moment_loses_no_start(house: Household, folder: Path) -> None:
    """Each request ends as one start with its exit status, or as one failed start."""
    seed, rng = seeded()
    names = []
    for round_number in range(12):
        server = a_server(folder, "targets", id=str(round_number))
        if rng.random() < 0.7:
            house.told.clear()
            ready(house, server)
        asked = [f"p-{round_number}-{number}" for number in range(rng.randrange(1, 6))]
        names += asked
        house.ask(*[forked(name, "leave", server, config={"code": 7}) for name in asked])
        for _ in range(rng.randrange(40)):
            house.turn()
        found = house.runs.servers._by_id.get(str(round_number))
        if found is not None:
            os.kill(found.run.pid, signal.SIGKILL)
    for name in names:
        house.until(lambda name=name: _is_over(house, name), f"{name} is over")  # type: ignore[misc]
    for name in names:
        kinds = [fact["fact"] for fact in house.facts(name) if fact["fact"] != "emptied"]
        assert kinds in (["spawned", "exited"], ["spawn_failed"]), (seed, name, house.facts(name))
        for fact in house.facts(name, "exited"):
            assert fact["code"] == 7, (seed, fact)
        for fact in house.facts(name, "spawn_failed"):
            assert fact["stage"] in ("forkserver", "preload"), (seed, fact)


def _is_over(house: Household, name: str) -> bool:
    kinds = {fact["fact"] for fact in house.facts(name)}
    return bool(kinds & {"exited", "spawn_failed"})


def test_a_worker_killed_at_its_gate_is_an_exit_like_any_other(
    house: Household, folder: Path
) -> None:
    """A process that has said hello and dies before it may run is found by its pid."""
    seed, rng = seeded()
    server = a_server(folder, "targets")
    pid = ready(house, server)
    for number in range(20):
        name = f"p-{number}"
        house.ask(forked(name, "rest", server))
        for _ in range(rng.randrange(10)):
            house.turn()
        for child in below(os.getpid()) - {pid}:
            with suppress(ProcessLookupError):  # what stands between ends by itself
                os.kill(child, signal.SIGKILL)
        house.until(lambda name=name: _is_settled(house, name), f"{name} has settled")  # type: ignore[misc]
        if not _is_over(house, name):
            house.kill(name)
            house.fact(name, "exited")
        kinds = [fact["fact"] for fact in house.facts(name) if fact["fact"] != "emptied"]
        assert kinds in (["spawned", "exited"], ["spawn_failed"]), (seed, house.facts(name))


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM])
def test_one_that_cannot_be_let_in_has_failed(house: Household, folder: Path, number: int) -> None:
    """It leaves its gate with 0; that would be one that has done its work."""
    server = a_server(folder, "targets")
    ready(house, server)
    assert isinstance(house.calls, CountingCalls)
    house.calls.fail = ("send", house.calls.counts["send"] + 1, number)
    house.ask(forked("refused", "rest", server))
    failed = house.fact("refused", "spawn_failed")
    assert (failed["stage"], failed["reason"]) == ("fork", os.strerror(number))
    assert not house.facts("refused", "spawned")
    house.ask(forked("later", "rest", server))
    house.fact("later", "spawned")
    house.kill("later")
    house.fact("later", "exited")


def _is_settled(house: Household, name: str) -> bool:
    return bool(house.facts(name))


def test_a_broken_preload_fails_every_start_with_its_words(house: Household, folder: Path) -> None:
    """All that waited are told the last line of the traceback; the server builds again later."""
    (folder / "broken.py").write_text("import targets\nraise ValueError('no model here')\n")
    server = a_server(folder, "broken")
    house.ask(*[forked(f"p-{number}", "rest", server) for number in range(3)])
    for number in range(3):
        fact = house.fact(f"p-{number}", "spawn_failed")
        assert (fact["stage"], fact["reason"]) == ("preload", "ValueError: no model here")
        assert not fact["hopeless"]
    said = [each["servers"]["1"] for each in house.told if "servers" in each]
    assert [each["state"] for each in said] == ["failed"]
    assert said[0]["lines"][-1] == "ValueError: no model here"
    assert any("broken.py" in line for line in said[0]["lines"])
    assert not any("importlib" in line for line in said[0]["lines"])

    (folder / "broken.py").write_text("import targets\n")
    house.ask(forked("p-0", "leave", server, run=2))
    house.until(lambda: bool(house.facts("p-0", "exited")), "it has run")


def test_a_preload_that_hangs_is_given_up(house: Household, folder: Path) -> None:
    (folder / "slow.py").write_text("import time\ntime.sleep(600)\n")
    house.ask(forked("p", "rest", a_server(folder, "slow", timeout_s=0.3)))
    fact = house.fact("p", "spawn_failed")
    assert (fact["stage"], fact["reason"]) == ("preload", "not ready after 0.3s")
    house.until(lambda: house.runs.are_gone, "it is gone")


def test_a_start_that_waits_for_imports_can_be_taken_back(house: Household, folder: Path) -> None:
    (folder / "slow.py").write_text("import time\ntime.sleep(600)\n")
    house.ask(forked("p", "rest", a_server(folder, "slow")))
    house.ask({"do": "cancel", "pool": "p", "index": 1, "run": 1})
    assert house.fact("p", "spawn_failed")["stage"] == "forkserver"
    house.ask({"do": "keep_servers", "ids": []})
    house.until(lambda: house.runs.are_gone, "nobody needs it")


def test_a_preload_that_leaves_a_thread_is_refused_by_its_name(
    house: Household, folder: Path
) -> None:
    (folder / "threaded.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), name='poller', daemon=True).start()\n"
    )
    house.ask(forked("p", "rest", a_server(folder, "threaded")))
    fact = house.fact("p", "spawn_failed")
    assert fact["stage"] == "preload"
    assert '"poller"' in fact["reason"]


def test_a_preload_that_listens_is_warned_of(house: Household, folder: Path) -> None:
    (folder / "listening.py").write_text(
        "import socket\nown = socket.create_server(('127.0.0.1', 0))\n"
    )
    ready(house, a_server(folder, "listening"))
    warned = house.told[-1]["servers"]["1"]["warnings"]
    assert len(warned) == 1
    assert "listens on ('127.0.0.1'" in warned[0]


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        ({"argv": ["/nowhere/python", "-c", ""]}, "exec"),
        ({"directory": "/nowhere"}, "directory"),
    ],
)
def test_a_server_that_cannot_start_says_at_which_stage(
    house: Household, folder: Path, change: dict[str, Any], stage: str
) -> None:
    ask = forked("p", "rest", a_server(folder))
    ask["server"] = {**ask["server"], **change}
    house.ask(ask)
    fact = house.fact("p", "spawn_failed")
    assert (fact["stage"], fact["missing"]) == (stage, True)


def test_what_a_worker_leaves_behind_is_found_as_its_own(house: Household, folder: Path) -> None:
    """An orphan with a session of its own is killed with its worker, not with the forkserver."""
    server = a_server(folder)
    house.ask(forked("p", "daemonize", server))
    house.fact("p", "spawned")
    orphan = folder / "orphan"
    house.until(lambda: orphan.exists() and orphan.read_text().isdigit(), "the orphan lives")
    house.ask({"do": "keep_servers", "ids": []})
    house.until(lambda: not house.runs.servers._by_id, "the forkserver has ended")
    house.until(lambda: house.runs.servers.are_gone, "nothing of it is left")
    os.kill(int(orphan.read_text()), 0)

    house.kill("p")

    assert house.fact("p", "exited")["signal"] == signal.SIGKILL
    house.empty("p")
    assert not Path(f"/proc/{orphan.read_text()}/cmdline").exists()


def test_an_old_server_ends_when_its_last_start_is_over(house: Household, folder: Path) -> None:
    server = a_server(folder)
    house.ask(forked("p", "rest", server), {"do": "keep_servers", "ids": ["2"]})
    house.fact("p", "spawned")
    house.until(lambda: house.runs.servers.are_gone, "the old one has ended")
    assert not house.facts("p", "exited")


@NEEDS_ROOT
def test_a_fork_has_given_up_what_its_server_has(house: Household, folder: Path) -> None:
    """Before anything was imported, so nothing that is imported can keep more; root too."""
    chown = 1 << NAMES.index("CAP_CHOWN")
    privileges = {"capabilities": ["CAP_CHOWN"], "no_new_privs": True}
    server = a_server(folder, privileges=privileges)
    house.ask(forked("web", "status", server, stdout=log("/log"), nice=-3))

    assert house.fact("web", "exited")["code"] == 0, house.facts("web")
    lines = output(house).decode().splitlines()
    said = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    sets = ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")
    assert [int(said[key][0], 16) for key in sets] == [chown, chown, chown, 0, 0]
    assert said["NoNewPrivs"] == ["1"]
    # What it has no right to any more is done from outside.
    assert said["nice"] == [str(os.nice(0) - 3)]


@NEEDS_ROOT
def test_a_server_of_another_user_never_is_root(house: Household, folder: Path) -> None:
    """Imports and workers run as the worker's user; what only root may do is done from outside."""
    (folder / "whoami.py").write_text("import os\nassert os.getuid() != 0, 'root'\n")
    package = folder / "installed" / "supervisord_lite"
    shutil.copytree(BOOT.parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("needs a python3 that nobody may run: apt install python3")
    argv = [python, str(package / "worker" / "boot.py"), "warm", str(folder), "whoami"]
    server = a_server(folder, identity=IDENTITY, argv=argv)
    ask = forked("p", "tell", server, stdout=log("/log"), nice=-5, rlimits=[["core", 123]])
    house.ask(ask)
    house.until(lambda: _is_over(house, "p"), "it is over")
    assert [fact.get("code") for fact in house.facts("p", "exited")] == [0], house.facts("p")
    said = json.loads(output(house))
    assert said["uids"] == [NOBODY.pw_uid] * 3
    if house.runs.cgroups is not None:
        assert "/p.1.1\n" in said["cgroup"]  # which it may not enter: it is moved
    assert said["nice"] == os.nice(0) - 5
    assert said["core"] == [123, 123]
    assert f"INVOCATION_ID={ask['marker']}\0" in said["environ"]


def test_a_directory_that_has_gone_is_a_stage_of_its_own(house: Household, folder: Path) -> None:
    server = a_server(folder)
    ready(house, server)
    house.ask(forked("p", "rest", server, directory="/nowhere"))
    fact = house.fact("p", "spawn_failed")
    assert (fact["stage"], fact["missing"]) == ("directory", True)


FORGED_HELLO = """
import errno
import json
honest = json.dumps
def dumps(said, *rest, **more):
    if isinstance(said, dict) and "hello" in said:
        said["hello"]["left"] = {"nice": -5, "rlimits": [[4, 12345], [7, 999], [99999, 1]]}
    return honest(said, *rest, **more)
json.dumps = dumps
"""


def test_a_fork_has_no_say_in_what_its_limits_are(house: Household, folder: Path) -> None:
    """What is imported there is not ours, and what the keeper may is more than it may."""
    (folder / "forger.py").write_text(FORGED_HELLO)
    server = a_server(folder, "forger")
    house.ask(forked("web", "tell", server, stdout=log("/log"), rlimits=[["core", 4096]]))
    assert house.fact("web", "exited")["code"] == 0
    said = json.loads(output(house))
    assert (said["core"], said["nice"]) == ([4096, 4096], os.nice(0))
    assert said["nofile"][0] != 999


LOUD = """
import os, socket
for name in os.listdir("/proc/self/fd"):
    try:
        own = socket.socket(fileno=os.dup(int(name)))
    except OSError:
        continue
    if own.type == socket.SOCK_SEQPACKET:
        line = '"' + chr(0x1F600) * 500 + '"'
        own.send(('{"failed":{"reason":"no","lines":[' + ",".join([line] * 80) + "]}}").encode())
    own.close()
"""


def test_what_a_server_says_fits_into_what_the_supervisor_is_told(
    house: Household, folder: Path
) -> None:
    """However long its traceback is, and whatever it is written in."""
    (folder / "loud.py").write_text(LOUD)
    house.ask({"do": "build", "server": a_server(folder, "loud")})
    house.until(lambda: any("servers" in each for each in house.told), "it has failed")
    (about,) = (each["servers"]["1"] for each in house.told if "servers" in each)
    assert (about["state"], about["reason"]) == ("failed", "no")
    assert 0 < len(about["lines"]) < 80
    assert channel.encode({"servers": {"1": about}})
    house.until(lambda: house.runs.servers.are_gone, "nothing of it is left")


GENEROUS = """
import os, socket
for name in os.listdir("/proc/self/fd"):
    try:
        own = socket.socket(fileno=os.dup(int(name)))
    except OSError:
        continue
    if own.type == socket.SOCK_SEQPACKET:
        for _ in range(3):
            socket.send_fds(own, [b"{}"], [2] * 50)
    own.close()
"""


def test_descriptors_that_nobody_has_asked_for_are_closed(house: Household, folder: Path) -> None:
    """Else what is imported could leave the keeper without any."""
    (folder / "generous.py").write_text(GENEROUS)
    before = len(open_descriptors())
    ready(house, a_server(folder, "generous"))
    assert len(open_descriptors()) < before + 20
