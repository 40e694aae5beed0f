"""Whole process trees end: 0 are left, and nobody else is touched, with a cgroup and without."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import leftovers
from tests.support.keeper import (
    CountingCalls,
    Household,
    NoCgroupCalls,
    a_household,
    marked,
    request,
)
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

#: Name -> what a worker does, in Python; each writes a line with a pid when one more stands.
TREES = {
    "term_ignored": "signal.signal(15, signal.SIG_IGN); say(); signal.pause()",
    "children": "child(child, child); say(); signal.pause()",
    "setsid": "child(lambda: (os.setsid(), forever())); say(); signal.pause()",
    "double_fork": "child(lambda: (os.setsid(), child(forever), os._exit(0)));"
                   "say(); signal.pause()",
    "leader_leaves": "child(lambda: (os.setsid(), child(forever), os._exit(0))); say()",
    "deaf_orphan": "child(lambda: (os.setsid(), signal.signal(15, signal.SIG_IGN), forever()));"
                   "say()",
    "threads": "child(lambda: (threading.Thread(target=forever).start(), ctypes.pythonapi."
               "pthread_exit(None))); say(); signal.pause()",
    "stopped": "child(lambda: (say(), os.kill(os.getpid(), 19))); say(); os.kill(os.getpid(), 19)",
}  # fmt: skip
PRELUDE = """
import ctypes, os, signal, sys, threading
def say():
    os.write(1, f"{os.getpid()}\\n".encode())
def forever():
    say()
    while True:
        signal.pause()
def child(*bodies):
    for body in bodies:
        if not os.fork():
            (body if body is not child else forever)()
            forever()
"""
COUNTS = {
    "term_ignored": 1, "children": 3, "setsid": 2, "double_fork": 2, "leader_leaves": 2,
    "deaf_orphan": 2, "threads": 2, "stopped": 2,
}  # fmt: skip


@pytest.fixture(params=["cgroup", "no cgroup"])
def house(request: pytest.FixtureRequest) -> Iterator[Household]:
    calls = CountingCalls() if request.param == "cgroup" else NoCgroupCalls()
    with a_household(calls) as it:
        if request.param == "cgroup" and it.runs.cgroups is None:
            pytest.skip("needs a writable cgroup v2")
        yield it


def calls_of(house: Household) -> CountingCalls:
    assert isinstance(house.calls, CountingCalls)
    return house.calls


def log() -> dict[str, Any]:
    return {"to": "log", "stream": {"path": "/log", "max_size": 0, "backups": 0}}


def grow(house: Household, tree: str, name: str = "tree") -> list[int]:
    """Start a worker that becomes a tree; return the pids that it has said."""
    argv = (sys.executable, "-I", "-S", "-c", PRELUDE + TREES[tree])
    house.ask(marked(request(name, *argv, stdout=log())))
    house.fact(name, "spawned")
    (stream,) = house.run_of(name).streams
    os.set_blocking(stream.descriptor, False)
    said = b""

    def all_said() -> bool:
        nonlocal said
        try:
            said += os.read(stream.descriptor, 4096)
        except BlockingIOError:
            return False
        return said.count(b"\n") >= COUNTS[tree]

    wait_until(all_said, what=f"{tree} has grown", timeout_s=30)
    return [int(word) for word in said.split()]


def alive(pids: list[int]) -> list[str]:
    return [leftovers.describe(pid) for pid in pids if leftovers.is_alive(pid)]


@pytest.mark.parametrize("tree", TREES)
def test_nothing_of_a_killed_tree_is_left(house: Household, tree: str) -> None:
    """Deaf, detached, orphaned, stopped or headless: "emptied" is said when all are gone."""
    pids = grow(house, tree)

    house.kill("tree")
    house.empty("tree")

    assert alive(pids) == []
    kinds = [fact["fact"] for fact in house.facts("tree")]
    assert kinds in (["spawned", "exited"], ["spawned", "exited", "emptied"])


@pytest.mark.parametrize("tree", ["setsid", "double_fork", "children"])
def test_what_a_crashed_leader_leaves_behind_is_cleared_at_once(
    house: Household, tree: str
) -> None:
    """Nobody has to ask: the end of the leader ends its tree, and what was killed is named."""
    pids = grow(house, tree)

    os.kill(house.run_of("tree").pid, signal.SIGKILL)
    exited = house.fact("tree", "exited")
    house.empty("tree")

    assert alive(pids) == []
    assert exited["signal"] == signal.SIGKILL
    if not exited["emptied"]:
        killed = house.fact("tree", "emptied")["killed"]
        assert {int(entry.split()[0]) for entry in killed} <= set(pids)
        assert killed


def test_descendants_that_hide_are_found_by_what_was_seen_at_the_stop() -> None:
    """Without a cgroup a cleared environment and an own session do not help a known process."""
    script = "exec env -i setsid sh -c 'echo $$; exec sleep 100'"
    with a_household(NoCgroupCalls()) as house:
        ask = marked(request("tree", "sh", "-c", f"{script} & wait", stdout=log()))
        house.ask(ask)
        house.fact("tree", "spawned")
        (stream,) = house.run_of("tree").streams
        pid = int(os.read(stream.descriptor, 100))

        house.signal("tree", signal.SIGTERM, stop=True)
        house.empty("tree")

        assert alive([pid]) == []


@pytest.mark.parametrize("scope", ["leader", "tree"])
def test_a_worker_that_was_stopped_by_a_signal_hears_the_stop(house: Household, scope: str) -> None:
    """SIGSTOP keeps nobody from being stopped in order."""
    argv = ("sh", "-c", "trap 'exit 7' TERM; echo; kill -STOP $$; while :; do :; done")
    house.ask(marked(request("deep", *argv, stdout=log())))
    pid = house.fact("deep", "spawned")["pid"]
    stat = Path(f"/proc/{pid}/stat")
    wait_until(lambda: ") T " in stat.read_text(), what="it has stopped itself")

    house.signal("deep", signal.SIGTERM, scope=scope, stop=True)

    assert house.fact("deep", "exited")["code"] == 7


def test_a_stopped_worker_is_killed_all_the_same(house: Household) -> None:
    """The end of the ladder needs nobody's cooperation."""
    pids = grow(house, "stopped")

    house.kill("tree")

    assert house.fact("tree", "exited")["signal"] == signal.SIGKILL
    house.empty("tree")
    assert alive(pids) == []


def test_a_signal_to_the_tree_reaches_all_of_it(house: Household) -> None:
    """`stop_scope = "tree"`: leader, children and orphans hear the first signal."""
    pids = grow(house, "double_fork")

    house.signal("tree", signal.SIGTERM, scope="tree", stop=True)
    house.empty("tree")

    assert {pid for pid, number in calls_of(house).signals if number == 15} >= set(pids[1:])
    assert alive(pids) == []


def test_other_runs_and_strangers_are_never_signalled(house: Household) -> None:
    """Only processes of the one tree get a signal, although others look much the same."""
    mine = grow(house, "setsid", "mine")
    other = grow(house, "double_fork", "other")
    with subprocess.Popen(["setsid", "sleep", "100"], env={"PATH": os.defpath}) as stranger:
        house.kill("mine")
        house.empty("mine")

        reached = {pid for pid, _ in calls_of(house).signals if pid is not None}
        assert reached <= set(mine)
        orphan = [pid for pid in other if leftovers.is_alive(pid)]
        assert orphan == other
        assert stranger.poll() is None
        stranger.kill()


def test_many_trees_end_together(house: Household) -> None:
    """Ten different trees killed at once leave nothing."""
    trees = [list(TREES)[n % len(TREES)] for n in range(10)]
    pids = [pid for n, tree in enumerate(trees) for pid in grow(house, tree, f"t{n}")]

    about = [{"do": "kill", "pool": f"t{n}", "index": 1, "run": 1} for n in range(10)]
    house.ask(*about)
    house.until(lambda: house.runs.are_gone, "all are empty")

    assert alive(pids) == []


def test_cgroups_that_a_worker_made_are_removed_with_it() -> None:
    """A worker may make cgroups below its own; they are no obstacle."""
    with a_household() as house:
        if house.runs.cgroups is None:
            pytest.skip("needs a writable cgroup v2")
        below = f"{house.runs.cgroups.workers}/nest.1.1/a"
        script = f"mkdir -p {below}/b && echo $$ > {below}/b/cgroup.procs && echo && sleep 100"
        house.ask(marked(request("nest", "sh", "-c", script, stdout=log())))
        house.fact("nest", "spawned")
        (stream,) = house.run_of("nest").streams
        assert os.read(stream.descriptor, 1) == b"\n"

        house.kill("nest")
        house.empty("nest")

        assert not Path(below).parent.exists()


def test_a_leader_that_ends_while_the_keeper_stands_in_a_cgroup_is_no_danger() -> None:
    """The keeper leaves a run's cgroup before it kills anything: never itself."""
    with a_household() as house:
        if house.runs.cgroups is None:
            pytest.skip("needs a writable cgroup v2")
        about = {"pool": "one", "index": 1, "run": 1}
        home = Path("/proc/self/cgroup").read_text()

        # In one message: a start, and a kill while the keeper still stands where it started.
        house.ask(request("one", "sleep", "100"), {"do": "kill", **about}, request("two", "true"))
        house.empty("one")

        assert house.fact("two", "exited")["code"] == 0
        assert Path("/proc/self/cgroup").read_text() == home


def test_a_keeper_that_cannot_leave_a_cgroup_kills_nothing_there() -> None:
    """When the kernel refuses the way back, the kill waits until the keeper is home."""
    with a_household() as house:
        if house.runs.cgroups is None:
            pytest.skip("needs a writable cgroup v2")
        calls = calls_of(house)
        house.runs.cgroups.can_clone = False  # so that the keeper must step in and out
        house.ask(request("one", "true"))
        house.fact("one", "exited")
        house.ask(request("two", "sleep", "100"))
        calls.fail = ("write", calls.counts["write"] + 2, 16)  # EBUSY on the way back

        house.ask(request("three", "true"))

        assert calls.fail[1] == calls.counts["write"]
        house.kill("two")
        house.empty("two")
        assert house.fact("three", "exited")["code"] == 0
        assert "/workers/" not in Path("/proc/self/cgroup").read_text()
