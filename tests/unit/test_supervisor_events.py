"""The event journal at its source: each event once, whoever dies, and who asked for it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_lite.config.spec import Grant
from supervisord_lite.control import interface
from supervisord_lite.control.calls import Call, Peer
from supervisord_lite.core.policy import BackoffPolicy
from tests.support.supervisor import Daemon, a_spec

ANNA = Peer(77, 1003, 100)
BOB = Peer(78, 1004, 100)
POOLS = st.sampled_from(("a", "b", "c"))


class Line:
    """A client that hears."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.closed = False
        self.heard: list[dict[str, Any]] = []

    def answer(self, data: bytes, *, final: bool) -> None:
        del final
        self.heard += [json.loads(each) for each in data.split(b"\0") if each]


def running(made: list[Daemon], *pools: str, **policy: Any) -> Daemon:
    daemon = Daemon(*(a_spec(pool, **policy) for pool in pools))
    made.append(daemon)
    daemon.supervisor._rights._own_uid = ANNA.uid  # she may everything
    daemon.settle()
    daemon.pass_s(1.0)
    daemon.settle()
    return daemon


def order(daemon: Daemon, verb: str, *names: str, peer: Peer = ANNA, **more: Any) -> Line:
    line = Line(peer)
    rights = daemon.supervisor._rights
    rights._own_uid = peer.uid
    call = Call(line, f"{interface.MANAGER}.{verb}", {"names": list(names), **more}, more=True)
    daemon.supervisor._verbs.handle(call)
    return line


def told(daemon: Daemon, *names: str) -> list[dict[str, Any]]:
    return [event for event in daemon.keeper.journal if event["event"] in names]


def numbers(daemon: Daemon) -> list[int]:
    return [int(event["id"].rpartition("-")[2]) for event in daemon.keeper.journal]


def by(event: dict[str, Any]) -> tuple[Any, ...]:
    return event.get("by_uid"), event.get("by_verb")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((0.1, 0.6, 2.0)),
            st.none() | st.tuples(st.integers(0, 2), st.integers(0, 1)),
            st.none() | st.tuples(st.sampled_from(("Stop", "Start", "Restart", "Reset")), POOLS),
            st.none() | st.integers(0, 4),
        ),
        min_size=5,
        max_size=40,
    )
)
def test_no_event_is_lost_or_doubled_when_supervisors_die(
    turns: list[tuple[float, tuple[int, int] | None, tuple[str, str] | None, int | None],],
) -> None:
    """Killed after any message: ids go on without a gap, and each run begins and ends once."""
    daemon = Daemon(*(a_spec(pool, backoff=BackoffPolicy(0.5, 0.5)) for pool in ("a", "b", "c")))
    try:
        for passes_s, end, ordered, dies_after in turns:
            daemon.clock.s += passes_s
            live = daemon.keeper.live()
            if end is not None and live:
                daemon.keeper.end(live[end[0] % len(live)], end[1])
            if ordered is not None:
                order(daemon, *ordered)
            daemon.turn(dies_after=dies_after)
        daemon.settle()
        _check(daemon)
    finally:
        daemon.close()


def _check(daemon: Daemon) -> None:
    assert numbers(daemon) == list(range(1, len(daemon.keeper.journal) + 1))
    started = [(e["pool"], e["run"]) for e in told(daemon, "worker.started")]
    spawned = [(f["pool"], f["run"]) for f in daemon.keeper.table.log if f["fact"] == "spawned"]
    assert sorted(started) == sorted(spawned)
    ends = told(daemon, "worker.failed", "worker.exited", "worker.stopped")
    over = [(e["pool"], e["run"]) for e in ends if "ran_s" in e]
    exited = [(f["pool"], f["run"]) for f in daemon.keeper.table.log if f["fact"] == "exited"]
    assert sorted(over) == sorted(exited)
    assert len(told(daemon, "daemon.started")) == 1
    assert len(told(daemon, "daemon.ready")) <= 1


def test_a_fact_that_waited_is_told_with_the_time_it_happened(made: list[Daemon]) -> None:
    """While there was no supervisor, say."""
    daemon = running(made, "web")
    (run,) = daemon.keeper.live()
    happened_s = daemon.clock.s
    daemon.keeper.end(run, 1)
    daemon.clock.s += 40.0
    daemon.turn()
    (event,) = told(daemon, "worker.failed")
    wall = daemon.clock.wall_s() - (daemon.clock.s - happened_s)
    assert event["at"].endswith(f":{int(wall % 60):02d}.000Z")


def test_who_asked_stands_in_what_came_of_it(made: list[Daemon]) -> None:
    """Also when another supervisor tells the end of it."""
    daemon = running(made, "web", "db")
    before = len(daemon.keeper.journal)
    order(daemon, "Stop", "web")
    daemon.turn()
    daemon.replace()
    (run,) = [each for each in daemon.keeper.live() if each.key[0] == "web"]
    daemon.keeper.end(run, 0)
    daemon.settle()
    (stopped,) = told(daemon, "worker.stopped")
    assert (stopped["asked"], *by(stopped), stopped["by_pid"]) == ("stop", 1003, "stop", 77)
    assert not [key for key in daemon.keeper.table.saves if key.startswith("asked/")]

    order(daemon, "Start", "web", peer=BOB)
    daemon.settle()
    started = daemon.keeper.journal[-1]
    assert (started["event"], *by(started)) == ("worker.started", 1004, "start")
    assert all(by(event) == (None, None) for event in daemon.keeper.journal[:before])


def test_an_order_that_changes_nothing_is_nobodys_doing(made: list[Daemon]) -> None:
    """What happens later by itself has no name on it."""
    daemon = running(made, "web")
    order(daemon, "Start", "web")
    order(daemon, "Reset", "web")
    daemon.settle()
    (run,) = daemon.keeper.live()
    daemon.keeper.end(run, 1)
    daemon.settle()
    daemon.pass_s(10.0)
    daemon.settle()
    assert [by(e) for e in told(daemon, "worker.failed", "worker.started")] == [(None, None)] * 3


def test_an_order_that_changes_nothing_leaves_an_earlier_one(made: list[Daemon]) -> None:
    """Anna's stop is under way; Bob says stop again."""
    daemon = running(made, "web")
    order(daemon, "Stop", "web")
    daemon.turn()
    order(daemon, "Stop", "web", peer=BOB)
    (run,) = daemon.keeper.live()
    daemon.keeper.end(run, 0)
    daemon.settle()
    assert by(told(daemon, "worker.stopped")[0]) == (1003, "stop")


def test_each_of_a_roll_has_the_name_of_who_began_it(made: list[Daemon]) -> None:
    """Also those that are replaced later, and after the supervisor's death."""
    daemon = Daemon(a_spec("web", 3))
    made.append(daemon)
    daemon.settle()
    daemon.pass_s(1.0)
    daemon.settle()
    order(daemon, "Restart", "web")
    for _ in range(3):
        daemon.settle()
        daemon.replace()
        stopping = {r["index"] for r in daemon.keeper.signalled}
        for run in daemon.keeper.live():
            if run.key[2] == 1 and run.key[1] in stopping:
                daemon.keeper.end(run, 0)
        daemon.settle()
        daemon.pass_s(1.0)
    daemon.settle()
    stopped = told(daemon, "worker.stopped")
    assert [(e["name"], *by(e)) for e in stopped] == [
        (f"web-{n}", 1003, "restart") for n in (1, 2, 3)
    ]
    assert [by(e) for e in told(daemon, "worker.started")[3:]] == [(1003, "restart")] * 3


def test_a_name_comes_from_the_configuration_alone(made: list[Daemon]) -> None:
    """This process looks none up; whoever prints does."""
    daemon = running(made, "web")
    fleet = daemon.supervisor._fleet
    fleet.settings = type(fleet.settings)(
        **{
            name: getattr(fleet.settings, name)
            for name in fleet.settings.__slots__  # type: ignore[attr-defined]
        }
        | {"operate": (Grant("anna", uid=1003),)}
    )
    order(daemon, "Signal", "web", signal="SIGUSR1")
    order(daemon, "Signal", "web", peer=BOB, signal="SIGUSR1")
    daemon.settle()
    users = [(e["signal"], e.get("by_user"), e["by_uid"]) for e in told(daemon, "worker.signalled")]
    assert users == [("SIGUSR1", "anna", 1003), ("SIGUSR1", None, 1004)]


def test_the_end_of_the_daemon_is_told_once(made: list[Daemon]) -> None:
    """Also when the supervisor dies in its last words."""
    daemon = running(made, "web")
    order(daemon, "Shutdown")
    daemon.turn()
    daemon.keeper.end(daemon.keeper.live()[0], 0)
    daemon.settle()
    for _ in range(2):
        daemon.supervisor._events.end(0)
        daemon.turn()
        daemon.replace()
    daemon.settle()
    (stopping,) = told(daemon, "daemon.stopping")
    assert stopping["by_uid"] == 1003
    assert [event["code"] for event in told(daemon, "daemon.stopped")] == [0]


def test_a_client_that_follows_is_told_what_the_keeper_was(made: list[Daemon]) -> None:
    """Nothing before its question, nothing that it did not ask for."""
    daemon = running(made, "web", "db")
    line = order(daemon, "Events", "web", follow=True, events=["worker.*"])
    assert daemon.questions[-1]["until"] == daemon.keeper.journal[-1]["id"]
    assert line.heard[0]["parameters"] == {"problem": "Input/output error", "events": []}
    for run in daemon.keeper.live():
        daemon.keeper.end(run, 1)
    daemon.settle()
    heard = [each for answer in line.heard for each in answer["parameters"]["events"]]
    assert [(e["event"], e["name"]) for e in heard] == [("worker.failed", "web")]
    assert heard[0] in daemon.keeper.journal


def test_why_says_how_all_is_also_without_a_journal(made: list[Daemon]) -> None:
    """A frozen disk costs the story, not the answer."""
    daemon = running(made, "web")
    line = order(daemon, "Why", "web")
    (answer,) = line.heard
    (story,) = answer["parameters"]["workers"]
    assert story["worker"]["state"] == "running"
    assert answer["parameters"]["problem"] == "Input/output error"
    line = order(daemon, "Why", "web", peer=ANNA)
    daemon.keeper.end(daemon.keeper.live()[0], 1)
    daemon.settle()
    order(daemon, "Why", "web")
    assert daemon.questions[-1]["slots"] == [("web", 1)]


@pytest.mark.parametrize("left", range(4))
def test_the_traceback_of_a_crash_is_told_once_whenever_the_supervisor_dies(
    made: list[Daemon], left: int
) -> None:
    """The fact of its end may come again when a record has it already."""
    daemon = running(made, "a")
    (run,) = daemon.keeper.live()
    daemon.keeper.table.note_reaped(run)
    daemon.keeper.table.fact(
        "exited", daemon.clock.s, run.key, code=1, signal=None, emptied=True,
        words="ValueError: no", traceback="line 1\nValueError: no",
    )  # fmt: skip
    daemon.keeper.table.note_emptied(run, daemon.keeper.table.last)
    daemon.keeper.keeps_facts = True
    daemon.turn(dies_after=left)
    daemon.keeper.keeps_facts = False
    daemon.settle()
    names = [event["event"] for event in told(daemon, "worker.crashed", "worker.failed")]
    assert names == ["worker.crashed", "worker.failed"]
