"""Who is asked whether it works, and what the answers mean, by a clock that the test moves."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Health, Spec
from supervisord_lite.core import events
from supervisord_lite.core.probing import Pace
from supervisord_lite.core.states import Running, Starting, Stopping
from supervisord_lite.wire import channel
from tests.support.supervisor import Daemon, a_spec

WEB = ("web", 1)
PACE = Pace(interval_s=10.0, timeout_s=3.0, failures=3)
PROGRAM = Health("exec", PACE, argv=("check", "%i"))
Run = Callable[..., Daemon]


@pytest.fixture
def run() -> Iterator[Run]:
    """Return what makes a daemon of these specs, all spawned at 100 s."""
    with ExitStack() as stack:

        def make(*specs: Spec) -> Daemon:
            daemon = Daemon(*specs)
            stack.callback(daemon.close)
            daemon.settle()
            return daemon

        yield make


def asked(health: Health = PROGRAM, size: int = 1, **policy: Any) -> Spec:
    policy.setdefault("ready_by", "health")
    return replace(a_spec("web", size, **policy), health=health)


def until(daemon: Daemon, at_s: float) -> list[dict[str, Any]]:
    """Let time pass, each deadline at its time; return what the keeper was asked."""
    daemon.keeper.asked_probes.clear()
    while (due_s := daemon.supervisor._health.deadline_s) is not None and due_s <= at_s:
        daemon.clock.s = max(daemon.clock.s, due_s)
        daemon.turn()
    daemon.clock.s = at_s
    daemon.turn()
    return list(daemon.keeper.asked_probes)


def answer(daemon: Daemon, request: dict[str, Any], **outcome: Any) -> None:
    told = {"code": 0, "signal": None, "line": "", **outcome}
    about = [request["pool"], request["index"], request["run"], request["number"], told]
    daemon._channel.send(channel.encode({"probed": about}))
    daemon.turn()


def next_question(daemon: Daemon) -> dict[str, Any]:
    due_s = daemon.supervisor._health.deadline_s
    assert due_s is not None
    (request,) = until(daemon, due_s)
    assert request["do"] == "probe"
    return request


def note(daemon: Daemon) -> str:
    return daemon.supervisor._health.note(WEB, daemon.workers[WEB].run)


def test_a_program_makes_ready_and_then_ends_what_answers_badly(run: Run) -> None:
    """Asked 50 ms after the start, then once an interval."""
    daemon = run(asked())
    request = next_question(daemon)
    assert daemon.clock.s == pytest.approx(100.05)
    assert (request["argv"], request["timeout_s"]) == (["check", "1"], 3.0)
    assert request["name"] == "web"
    answer(daemon, request, code=1, line="not yet")
    assert isinstance(daemon.workers[WEB].state, Starting)
    assert note(daemon) == "health: exit 1: not yet"
    answer(daemon, next_question(daemon))
    assert isinstance(daemon.workers[WEB].state, Running)
    assert note(daemon) == ""
    ready_s = daemon.clock.s
    outcomes: list[dict[str, Any]] = [{"code": 2}, {"late_s": 3.0}]
    for number, outcome in enumerate(outcomes, start=1):
        answer(daemon, next_question(daemon), **outcome)
        assert daemon.clock.s <= ready_s + 10.0 * number + 0.07
        assert note(daemon).startswith(f"health: {number} of 3 bad: ")
    answer(daemon, next_question(daemon), code=None, signal=11, line="boom")
    state = daemon.workers[WEB].state
    assert isinstance(state, Stopping)
    assert state.reason == "health: SIGSEGV: boom, 3 times"
    assert daemon.supervisor._health.deadline_s is None


def test_what_a_program_says_is_told_without_the_secrets_of_its_worker(run: Run) -> None:
    """In the note, and in the reason of the end that everybody is told."""
    launch = {"environment": (("DB_PASSWORD", "hunter2"),)}
    pace = replace(PACE, failures=1)
    daemon = run(asked(replace(PROGRAM, pace=pace), launch=launch))
    answer(daemon, next_question(daemon), code=1, line="no login with hunter2")
    assert note(daemon) == "health: exit 1: no login with ***"
    answer(daemon, next_question(daemon))
    answer(daemon, next_question(daemon), code=1, line="no login with hunter2")
    state = daemon.workers[WEB].state
    assert isinstance(state, Stopping)
    assert "hunter2" not in state.reason


def test_only_the_answer_to_the_question_that_is_under_way_counts(run: Run) -> None:
    """Not one of an older run, nor a doubled one, nor one that nobody asked for."""
    daemon = run(asked())
    request = next_question(daemon)
    answer(daemon, {**request, "number": request["number"] + 1})
    answer(daemon, {**request, "run": 7})
    answer(daemon, {**request, "pool": "nobody"})
    assert isinstance(daemon.workers[WEB].state, Starting)
    answer(daemon, request)
    for _ in range(5):
        answer(daemon, request, code=1)
    assert isinstance(daemon.workers[WEB].state, Running)
    assert note(daemon) == ""


def test_with_the_beginning_of_an_end_nobody_is_asked_any_more(run: Run) -> None:
    """The program that is under way is ended too."""
    daemon = run(asked(ready_by="alive"))
    until(daemon, 101.0)
    daemon.pass_s(0.5)
    next_question(daemon)
    daemon.keeper.asked_probes.clear()
    daemon.supervisor._fleet.feed(WEB, events.StopRequested())
    daemon.turn()
    assert [each["do"] for each in daemon.keeper.asked_probes] == ["end_probe"]
    assert until(daemon, 500.0) == []


def test_a_new_supervisor_counts_anew(run: Run) -> None:
    """The run is ready still; an answer to the old one's question is nothing to it."""
    daemon = run(asked())
    answer(daemon, next_question(daemon))
    for _ in range(2):
        answer(daemon, next_question(daemon), code=1)
    request = next_question(daemon)
    daemon.replace()
    daemon.turn()
    answer(daemon, request, code=1)
    assert isinstance(daemon.workers[WEB].state, Running)
    assert note(daemon) == ""
    for _ in range(2):
        answer(daemon, next_question(daemon), code=1)
        assert isinstance(daemon.workers[WEB].state, Running)
    answer(daemon, next_question(daemon), code=1)
    assert isinstance(daemon.workers[WEB].state, Stopping)


def test_what_says_nothing_about_the_worker_is_asked_again(run: Run) -> None:
    """The keeper could not start the program, or has forgotten it with its channel."""
    daemon = run(replace(asked(), health=replace(PROGRAM, pace=Pace(10.0, 3.0, 1))))
    answer(daemon, next_question(daemon))
    answer(daemon, next_question(daemon), not_started="no process", is_its_own=False)
    assert note(daemon) == "health: could not be asked: no process"
    at_s = daemon.clock.s
    next_question(daemon)
    assert daemon.clock.s == at_s + 1.0
    (again,) = until(daemon, at_s + 1.0 + 3.0 + 10.0)
    assert isinstance(daemon.workers[WEB].state, Running)
    answer(daemon, again, not_started="no such file: check", is_its_own=True)
    state = daemon.workers[WEB].state
    assert isinstance(state, Stopping)
    assert state.reason == "health: could not be asked: no such file: check"


def test_so_many_programs_run_at_once_and_no_more(run: Run) -> None:
    """The others wait in a row, and each has its turn."""
    daemon = run(asked(size=40))
    done: set[int] = set()
    requests = until(daemon, 100.2)
    assert len(requests) == 16
    while requests:
        request = requests.pop(0)
        assert request["index"] not in done
        done.add(request["index"])
        daemon.keeper.asked_probes.clear()
        answer(daemon, request)
        requests += [each for each in daemon.keeper.asked_probes if each["index"] not in done]
        assert len(requests) <= 16
    assert done == set(range(1, 41))


def test_a_large_pool_is_asked_evenly_over_the_interval(run: Run) -> None:
    """No second has more than its share."""
    daemon = run(asked(size=200, ready_by="alive", ready_after_s=0.0))
    counts = []
    for second in range(10):
        requests = until(daemon, 101.0 + second)
        for request in requests:
            answer(daemon, request)
        counts.append(len(requests))
    assert max(counts) <= 24, counts


def test_questions_that_are_due_at_about_the_same_time_are_asked_together(run: Run) -> None:
    """Thousands of workers are no thousands of wake-ups; and the beat does not drift."""
    daemon = run(asked(size=300, ready_by="alive", ready_after_s=0.0))
    turns = set()
    for _ in range(2):
        begun_s = daemon.clock.s
        while (due_s := daemon.supervisor._health.deadline_s) is not None:
            if due_s > begun_s + 10.0:
                break
            turns.add(due_s % 10.0)
            for request in until(daemon, due_s):
                answer(daemon, request)
        daemon.clock.s = begun_s + 10.0
    assert len(turns) <= 162


def test_other_keys_hold_at_once_and_the_row_begins_anew(run: Run) -> None:
    """Without a new process; also where nobody was asked before, and where nobody is any more."""
    daemon = run(asked(ready_by="alive"))
    until(daemon, 101.0)
    for _ in range(2):
        answer(daemon, next_question(daemon), code=1)
    daemon.reload(asked(replace(PROGRAM, pace=Pace(10.0, 3.0, 2)), ready_by="alive"))
    daemon.turn()
    assert note(daemon) == ""
    answer(daemon, next_question(daemon), code=1)
    assert note(daemon) == "health: 1 of 2 bad: exit 1"
    daemon.reload(a_spec("web"))
    daemon.turn()
    assert daemon.supervisor._health.deadline_s is None
    daemon.reload(asked(ready_by="alive"))
    daemon.turn()
    assert next_question(daemon)["argv"] == ["check", "1"]
    assert [run.key for run in daemon.keeper.live()] == [("web", 1, 1)]


def test_a_run_of_an_earlier_configuration_is_asked_as_that_one_said(run: Run) -> None:
    """A pool is replaced one by one: those whose turn is not yet are no failures of the new one."""
    daemon = run(asked(size=2, ready_by="alive"))
    until(daemon, 101.0)
    other = replace(PROGRAM, argv=("other",))
    daemon.reload(
        replace(asked(other, 2, ready_by="alive"), launch=a_spec("x", launch={"nice": 3}).launch)
    )
    daemon.turn()
    assert isinstance(daemon.workers["web", 1].state, Stopping)
    (request,) = until(daemon, 110.9)
    assert (request["index"], request["argv"][0]) == (2, "check")


def test_late_answers_count_and_those_after_a_gap_do_not(run: Run) -> None:
    """A server that takes connections and says nothing; the clock stands for us being stopped."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        pace = Pace(10.0, 3.0, 2)
        http = Health("http", pace, host="x", port=port, path="/", addresses=("127.0.0.1",))
        daemon = run(asked(http, ready_by="alive"))
        poller = daemon.supervisor._poller
        until(daemon, 101.0)
        due_s = daemon.supervisor._health.deadline_s
        assert due_s is not None
        until(daemon, due_s)
        poller.wait(1.0)
        until(daemon, due_s + 3.0)
        assert note(daemon) == "health: 1 of 2 bad: no answer within 3s"
        until(daemon, due_s + 10.0)
        poller.wait(1.0)
        daemon.clock.s = due_s + 100.0  # nobody could wake
        daemon.turn()
        assert note(daemon) == "health: 1 of 2 bad: no answer within 3s"
        poller.wait(1.0)
        assert isinstance(daemon.workers[WEB].state, Running)
        until(daemon, due_s + 103.5)
        state = daemon.workers[WEB].state
        assert isinstance(state, Stopping)
        assert state.reason == "health: no answer within 3s, 2 times"


def test_each_address_of_a_name_is_tried(run: Run) -> None:
    """A server may listen on one of them only."""
    with socket.create_server(("127.0.0.3", 0)) as server:
        port = str(server.getsockname()[1])
        addresses = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
        daemon = run(asked(Health("tcp", PACE, port=port, addresses=addresses)))
        until(daemon, 100.05)
        for _ in range(3):
            daemon.supervisor._poller.wait(0.1)
        assert isinstance(daemon.workers[WEB].state, Running)
