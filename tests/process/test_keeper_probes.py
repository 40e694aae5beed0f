"""Programs that say whether a run works, in the keeper's hands: small trees beside that run."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from supervisord_lite.keeper.traces import records
from tests.support.keeper import (
    CountingCalls,
    Household,
    NoCgroupCalls,
    a_household,
    below,
    marked,
    request,
)

pytestmark = pytest.mark.process


@pytest.fixture(params=["cgroup", "bare"])
def house(request: pytest.FixtureRequest) -> Iterator[Household]:
    calls = CountingCalls() if request.param == "cgroup" else NoCgroupCalls()
    with a_household(calls) as it:
        if request.param == "cgroup" and it.runs.cgroups is None:
            pytest.skip("needs a writable cgroup v2")
        yield it


def a_worker(house: Household, *argv: str) -> int:
    house.ask(marked(request("web", *(argv or ("sleep", "100")))))
    pid: int = house.fact("web", "spawned")["pid"]
    return pid


def ask(house: Household, number: int, *argv: str, timeout_s: float = 100.0, **more: Any) -> None:
    probe = marked(request("web", *argv, **more))
    house.ask({**probe, "do": "probe", "number": number, "timeout_s": timeout_s})


def outcome(house: Household, number: int) -> dict[str, Any]:
    """Turn until it is told what a probe came to."""

    def found() -> list[dict[str, Any]]:
        probed = (told["probed"] for told in house.told if "probed" in told)
        return [told[4] for told in probed if told[:4] == ["web", 1, 1, number]]

    house.until(lambda: bool(found()), "a probe is over")
    (told,) = found()
    return told


def test_what_a_program_comes_to_is_told_once_with_its_last_line(house: Household) -> None:
    """However much it says, and on whichever stream."""
    a_worker(house)
    ask(house, 1, "sh", "-c", "echo out; echo err >&2; printf ' last words\\t\\n\\n'; exit 4")
    assert outcome(house, 1) == {"code": 4, "signal": None, "line": "last words"}
    ask(house, 2, "sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; echo; printf %0999d 0")
    assert outcome(house, 2) == {"code": 0, "signal": None, "line": "0" * 200}
    ask(house, 3, "sh", "-c", "kill -9 $$")
    assert outcome(house, 3) == {"code": None, "signal": 9, "line": ""}
    ask(house, 4, "sh", "-c", "trap '' PIPE; yes")
    assert outcome(house, 4)["code"] == 1  # nobody reads all that
    house.until(lambda: house.runs.probes.are_gone, "nothing of them is left")
    assert not house.facts("web", "exited")


def test_what_it_is_of_stands_in_the_traces_as_people_call_it(house: Household) -> None:
    """For who must end it when the keeper was killed: of a pool of one, that is the pool."""
    a_worker(house)
    ask(house, 1, "sleep", "100")
    found, _ = records(os.pread(house.boot.traces, 1 << 20, 0))
    assert [(each["what"], each["name"]) for each in found] == [("run", "web"), ("probe", "web")]


@pytest.mark.parametrize("more", [{}, {"rlimits": [["core", 0]]}], ids=["plain", "forked"])
def test_a_program_that_cannot_be_started_is_told_with_the_reason(
    house: Household, more: dict[str, Any]
) -> None:
    """Only its own program is its own fault; what else is wanting says nothing of the worker."""
    a_worker(house)
    ask(house, 1, "/no/such/program", **more)
    told = outcome(house, 1)
    assert (told["not_started"], told["is_its_own"]) == ("no such file: /no/such/program", True)
    assert isinstance(house.calls, CountingCalls)
    house.calls.fail = ("pipe2", house.calls.counts["pipe2"] + 1, 24)
    ask(house, 2, "true", **more)
    assert not outcome(house, 2)["is_its_own"]
    house.calls.fail = None
    ask(house, 3, "true", directory="/no/such/folder", **more)
    told = outcome(house, 3)
    assert told["not_started"] == "No such file or directory: /no/such/folder"
    assert not told["is_its_own"]


def test_one_that_is_late_is_killed_with_all_that_it_started(house: Household) -> None:
    """Told when its time is up, not when the last of it is dead."""
    before = below(os.getpid()) | {a_worker(house)}
    ask(house, 1, "sh", "-c", "setsid sleep 100 & sleep 100", timeout_s=0.3)
    assert outcome(house, 1) == {"late_s": 0.3}
    house.until(lambda: house.runs.probes.are_gone, "nothing of it is left")
    assert below(os.getpid()) - before == set()
    assert not house.facts("web", "exited")


def test_nobody_is_late_when_the_keeper_itself_was_stopped(house: Household) -> None:
    """The whole time is given again."""
    a_worker(house)
    ask(house, 1, "sleep", "100", timeout_s=50.0)
    late_s = time.monotonic() + 60.0
    house.runs.probes.forgive(late_s)
    house.runs.probes.expire(late_s)
    assert not [told for told in house.told if "probed" in told]
    house.runs.probes.expire(late_s + 50.0)
    assert outcome(house, 1) == {"late_s": 50.0}


def test_a_new_question_replaces_the_one_before(house: Household) -> None:
    """Of which nothing more is told."""
    a_worker(house)
    ask(house, 1, "sleep", "100")
    ask(house, 2, "true")
    assert outcome(house, 2)["code"] == 0
    house.until(lambda: house.runs.probes.are_gone, "nothing of them is left")
    assert [told["probed"][3] for told in house.told if "probed" in told] == [2]


def test_a_run_is_empty_only_when_its_probes_are(house: Household) -> None:
    """They are killed when its leader has ended; and a run that has ended is not asked."""
    before = below(os.getpid())
    pid = a_worker(house)
    ask(house, 1, "sh", "-c", "trap '' TERM; sleep 100 & sleep 100")
    house.until(lambda: len(below(os.getpid()) - before) >= 3, "the probe has begun")
    os.kill(pid, 9)
    house.fact("web", "exited")
    house.empty("web")
    assert below(os.getpid()) == before
    assert house.runs.probes.are_gone
    ask(house, 2, "sleep", "100")
    house.turn()
    assert below(os.getpid()) == before
    assert not [told for told in house.told if "probed" in told]


def test_no_descriptor_of_a_probe_stays_open(house: Household) -> None:
    """Whoever keeps its output open is killed, and the pipe closed."""
    a_worker(house)
    ask(house, 1, "true")
    outcome(house, 1)
    house.until(lambda: house.runs.probes.are_gone, "it is gone")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(2, 12):
        ask(house, number, "sh", "-c", "sleep 100 & exit 0")
        outcome(house, number)
    house.until(lambda: house.runs.probes.are_gone, "all are gone")
    assert len(os.listdir("/proc/self/fd")) == before
