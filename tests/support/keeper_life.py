"""The life of two workers under a whole keeper, in which any system call may be refused."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from supervisord_lite.keeper.traces import records
from tests.support.keeper import as_subreaper, below, marked, open_descriptors, request
from tests.support.keeper_whole import SeamCalls, WholeKeeper

LOG = {"to": "log", "stream": {"path": "/log", "max_size": 0, "backups": 0}}
#: Places tried for each kind; where there are more, as many are spread over all.
PLACES = 15


@contextmanager
def a_keeper(*, cgroups: bool = False, environment: Any = None) -> Iterator[WholeKeeper]:
    with as_subreaper():
        keeper = WholeKeeper(SeamCalls(cgroups=cgroups), environment=environment)
        try:
            yield keeper
        finally:
            keeper.close()


def start(keeper: WholeKeeper, name: str, *argv: str, **more: Any) -> int:
    """Ask for runs until one has started, as the supervisor's policy would; return its run."""
    for run in range(1, 10):
        ask = marked(request(name, *argv, run=run, **more))
        keeper.until(lambda: "supervisor" in keeper.calls.peers, "there is a supervisor")
        keeper.say(save={f"worker/{name}/1": f"run {run}"}, do=[ask])
        keeper.until(partial(outcome, keeper, name, run), f"{name} has an answer")
        if outcome(keeper, name, run) == "spawned":
            return run
    raise AssertionError(keeper.facts)


def outcome(keeper: WholeKeeper, name: str, run: int) -> str | None:
    """Return how the supervisor was answered to its request."""
    for number in sorted(keeper.facts):
        fact = keeper.facts[number]
        if (fact.get("pool"), fact.get("run")) == (name, run):
            return str(fact["fact"])
    return None


def ended(keeper: WholeKeeper, name: str, run: int) -> bool:
    """Return whether the supervisor has heard that nothing of a run is left."""
    mine = [f for f in keeper.facts.values() if (f.get("pool"), f.get("run")) == (name, run)]
    return any(f["fact"] == "emptied" or f.get("emptied") for f in mine)


def ask(keeper: WholeKeeper, name: str, run: int, number: int, *argv: str) -> None:
    """Let a program say whether a run works."""
    probe = marked({**request(name, *argv, run=run), "number": number, "timeout_s": 1000.0})
    keeper.say(do=[{**probe, "do": "probe"}])


def is_answered(keeper: WholeKeeper, name: str, run: int) -> None:
    """Ask until a program has ended, as the supervisor would: a start that failed is no answer."""
    for number in range(1, 10):
        ask(keeper, name, run, number, "sh", "-c", "sleep 100 & exit 3")
        keeper.until(partial(keeper.probed.get, number), "a probe has an answer")
        if "code" in keeper.probed[number]:
            assert keeper.probed[number]["code"] == 3
            return
        assert not keeper.probed[number]["is_its_own"]
    raise AssertionError(keeper.probed)


def live(keeper: WholeKeeper) -> None:
    """Two workers start, one crashes, one is stopped, the supervisor is killed in between.

    One is asked by programs meanwhile.
    """
    forked = {"rlimits": [["core", 0]], "stdout": LOG}
    stays = start(keeper, "stays", "sh", "-c", "sleep 100 & wait", **forked)
    crashes = start(keeper, "crashes", "sh", "-c", "exit 3", stdout=LOG)
    keeper.until(lambda: ended(keeper, "crashes", crashes), "the crash is told")
    is_answered(keeper, "stays", stays)
    ask(keeper, "stays", stays, 99, "sleep", "100")
    before = keeper.supervisor_pid
    keeper.kill_supervisor()
    keeper.until(
        lambda: keeper.supervisor_pid not in (0, before) and "supervisor" in keeper.calls.peers,
        "there is another supervisor",
    )
    keeper.until(lambda: keeper.keeper._runs.probes.are_gone, "the probe ended with who had asked")
    about = {"pool": "stays", "index": 1, "run": stays}
    keeper.say(do=[{"do": "signal", **about, "signal": 15, "scope": "tree", "stop": True}])
    keeper.turn()
    keeper.say(do=[{"do": "kill", **about}])
    keeper.until(lambda: ended(keeper, "stays", stays), "the stop is told")
    keeper.say(applied=max(keeper.facts))
    keeper.until(lambda: not keeper.keeper._table.facts, "all facts are applied")
    keeper.until(lambda: not keeper.keeper._table.runs, "all runs are forgotten")
    # The stub of a scribe says "done" for every stream that is retired.
    keeper.until(lambda: len(keeper.keeper._runs.streams._open) == 1, "all streams are closed")
    # That nothing is left may be a fact of its own, where nobody could look at once.
    for name, run in (("crashes", crashes), ("stays", stays)):
        assert told(keeper, name, run) in (
            ["spawned", "exited"],
            ["spawned", "exited", "emptied"],
        )


def told(keeper: WholeKeeper, name: str, run: int) -> list[str]:
    facts = [keeper.facts[number] for number in sorted(keeper.facts)]
    return [f["fact"] for f in facts if (f.get("pool"), f.get("run")) == (name, run)]


def places(count: int) -> list[int]:
    tried = min(count, PLACES)
    return sorted({1 + count * n // tried for n in range(tried)})


def fails_once(kind: str, number: int, *, cgroups: bool = False) -> None:
    """Live once for each place where *kind* is called, and let it fail there with errno *number*.

    Of many places, as many as `PLACES` are tried.

    Raises:
        AssertionError: Something was lost, leaked, or left behind.
    """
    with a_keeper(cgroups=cgroups) as keeper:
        if cgroups and keeper.keeper._runs.cgroups is None:
            pytest.skip("needs a writable cgroup v2")
        begun = keeper.calls.counts[kind]
        live(keeper)
        count = keeper.calls.counts[kind] - begun
        left, _ = records(os.pread(keeper.boot.traces, 1 << 20, 0))
        assert {line["what"] for line in left} == {"supervisor", "scribe"}, "all else is over"
    for which in places(count):
        fails_at(kind, number, which, cgroups=cgroups)


def fails_at(kind: str, number: int, which: int, *, cgroups: bool = False) -> bool:
    """Live while call number *which* of *kind* fails; return whether there was such a call.

    Raises:
        AssertionError: Something was lost, leaked, or left behind.
    """
    before = open_descriptors()
    with a_keeper(cgroups=cgroups) as keeper:
        inside = open_descriptors()
        keeper.calls.fail = (kind, keeper.calls.counts[kind] + which, number)
        keeper.hurry_s = 0.02  # nobody waits a second for a second try
        live(keeper)
        is_reached = keeper.calls.counts[kind] >= keeper.calls.fail[1]
        allowed = {keeper.keeper._supervisor.channel, keeper.keeper._scribe.channel}
        peers = keeper.calls.peers.values()
        channels = {end.fileno() for end in (*allowed, *peers) if end is not None}
        assert set(open_descriptors()) - set(inside) <= channels, f"{kind} {which}"
        own = {keeper.keeper._supervisor.pid, keeper.keeper._scribe.pid}
        assert below(os.getpid()) <= own, f"{kind} {which}"
    assert open_descriptors() == before, f"{kind} {which}"
    return is_reached
