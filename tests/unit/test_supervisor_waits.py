"""Whoever waits for workers is told when they are there, or that they never will be."""

from collections.abc import Iterator

import pytest

from supervisord_lite.control.calls import Call
from supervisord_lite.control.parameters import InvalidParameterError
from supervisord_lite.core import events
from supervisord_lite.supervisor.names import NoSuchWorkerError
from supervisord_lite.supervisor.waits import Goal, Waits, judge
from tests.support.core import OneWorker, a_policy
from tests.support.driven import Line
from tests.support.supervisor import Daemon, a_spec


class Taker(Line):
    """A connection that tells what came since the last time."""

    def take(self) -> list[tuple[str, str, bool]]:
        """Return name, outcome and whether it is good, as told since the last time."""
        told, self.messages = self.messages, []
        outcomes = [message["parameters"].get("outcome") for message in told]
        return [(o["name"], o["outcome"], o["ok"]) for o in outcomes if o]

    @property
    def is_done(self) -> bool:
        return bool(self.messages) and self.messages[-1]["parameters"] == {
            "outcome": None,
            "done": True,
        }


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon(
        a_spec("web", 2),
        a_spec("job", max_restarts=1, restart="on-failure"),
        a_spec("off", autostart=False),
    )
    daemon.settle()
    yield daemon
    daemon.close()


def ask(daemon: Daemon, goal: str, *names: str, **more: object) -> tuple[Taker, Call]:
    line = Taker()
    parameters = {"names": list(names), "goal": goal, **more}
    call = Call(line, "io.supervisordlite.Manager.Wait", parameters, more=True)
    daemon.supervisor._verbs._waits.begin(call)
    daemon.settle()
    return line, call


def end(daemon: Daemon, pool: str, code: int) -> None:
    """Let every process of a pool end."""
    for run in daemon.keeper.live():
        if run.key[0] == pool:
            daemon.keeper.end(run, code)
    daemon.settle()


def test_each_is_told_when_it_is_there_and_then_that_all_are(daemon: Daemon) -> None:
    """Who has to be waited for is told once; the last word is `done`."""
    line, call = ask(daemon, "ready", "web", "job")
    assert line.messages == []

    daemon.pass_s(2.0)
    daemon.settle()

    assert line.is_done
    assert call.answered
    assert sorted(line.take()) == [
        ("job", "ready", True),
        ("web-1", "ready", True),
        ("web-2", "ready", True),
    ]
    assert not daemon.supervisor._verbs._waits._waits


def test_what_is_so_already_is_told_at_once(daemon: Daemon) -> None:
    """A wait is about how a worker stands, not about what happens to it."""
    daemon.pass_s(2.0)

    line, _ = ask(daemon, "ready", "web-2", since_s=daemon.clock.s - 7.0)

    assert line.messages[0]["parameters"]["outcome"]["elapsed_s"] == 7.0
    assert line.is_done


def test_those_whom_nobody_wants_up_are_no_failure_of_all(daemon: Daemon) -> None:
    """Named, the same worker is one."""
    daemon.pass_s(2.0)

    for names in ((), ("all",), ("o*", "web", "job")):
        line, _ = ask(daemon, "ready", *names)
        assert line.is_done
        assert ("off", "stopped", True) in line.take()
    line, _ = ask(daemon, "ready", "*", "off")
    assert ("off", "failed", False) in line.take()


def test_a_failure_is_waited_out_and_an_open_breaker_is_not(daemon: Daemon) -> None:
    """Only what needs somebody ends the wait early."""
    line, _ = ask(daemon, "ready", "web-1", "job")
    end(daemon, "web", 3)
    assert line.take() == []

    end(daemon, "job", 3)

    (message,) = line.messages
    outcome = message["parameters"]["outcome"]
    assert (outcome["name"], outcome["ok"]) == ("job", False)
    assert outcome["detail"].startswith("its breaker is open: exit 3")
    line.messages.clear()
    daemon.pass_s(5.0)
    daemon.settle()
    daemon.pass_s(2.0)
    daemon.settle()
    assert line.is_done
    assert line.take() == [("web-1", "ready", True)]


def test_the_end_of_the_daemon_ends_every_wait_but_the_one_for_it(daemon: Daemon) -> None:
    """Nobody gets ready any more, so nobody is told that "all" are."""
    ready, _ = ask(daemon, "ready", "web", "job*")
    stopped, _ = ask(daemon, "stopped", "web")
    daemon.supervisor._daemon.begin_stop("SIGTERM")
    daemon.settle()
    assert {ok for _, _, ok in ready.take()} == {False}
    assert stopped.messages == []

    end(daemon, "web", 0)
    assert stopped.is_done


def test_one_that_is_taken_out_of_the_file_has_stopped(daemon: Daemon) -> None:
    """It is no worker any more, and whoever named it is told why."""
    stopped, _ = ask(daemon, "stopped", "web-2")
    ready, _ = ask(daemon, "exited", "web-2")

    daemon.reload(a_spec("web", 1), a_spec("job"), a_spec("off"))
    daemon.settle()
    end(daemon, "web", 0)

    assert stopped.take() == [("web-2", "stopped", True)]
    assert ready.take() == [("web-2", "failed", False)]


def test_who_has_left_is_forgotten(daemon: Daemon) -> None:
    """By hanging up, or found gone when there is something to tell."""
    line, call = ask(daemon, "ready", "web")
    gone, _ = ask(daemon, "ready", "web")
    assert call.on_hang_up is not None
    call.on_hang_up()
    gone.closed = True

    daemon.pass_s(2.0)

    assert line.messages == gone.messages == []
    assert not daemon.supervisor._verbs._waits._waits


def test_a_wrong_question_is_refused(daemon: Daemon) -> None:
    """A goal that is none, a name that nobody has, and one answer where there are many."""
    waits = Waits(daemon.supervisor._fleet, daemon.supervisor._daemon, daemon.clock)
    line = Taker()
    for parameters, error in (
        ({"goal": "done"}, InvalidParameterError),
        ({}, InvalidParameterError),
        ({"goal": "ready", "names": ["wbe"]}, NoSuchWorkerError),
    ):
        call = Call(line, "io.supervisordlite.Manager.Wait", dict(parameters), more=True)
        with pytest.raises(error):
            waits.begin(call)
    waits.begin(Call(line, "io.supervisordlite.Manager.Wait", {"goal": "ready"}))
    assert [m.get("error") for m in line.messages] == ["org.varlink.service.ExpectedMore"]
    assert not waits._waits


def verdicts(bench: OneWorker) -> dict[Goal, tuple[str, bool] | None]:
    goals: tuple[Goal, ...] = ("ready", "stopped", "exited")
    found = {goal: judge(goal, bench.worker) for goal in goals}
    return {goal: None if o is None else (o.word, o.ok) for goal, o in found.items()}


def test_every_goal_has_its_answer_in_every_state() -> None:
    """What time may still bring is waited for; what needs a person is told."""
    bench = OneWorker(a_policy(restart="on-failure", max_restarts=2))
    stopped = ("stopped", True)
    failed = ("failed", False)
    assert verdicts(bench) == {"ready": failed, "stopped": stopped, "exited": failed}
    bench.start()
    assert set(verdicts(bench).values()) == {None}
    bench.spawned()
    bench.wake()
    assert verdicts(bench) == {"ready": ("ready", True), "stopped": None, "exited": None}
    bench.exits(3, 1.0)
    assert set(verdicts(bench).values()) == {None}, "it comes again"
    bench.start()
    bench.spawned()
    bench.exits(3, 0.1)
    assert verdicts(bench) == {"ready": failed, "stopped": ("tripped", True), "exited": failed}


@pytest.mark.parametrize(("code", "verdict"), [(0, ("exited", True)), (3, ("failed", False))])
def test_a_job_that_has_ended_is_judged_by_how(code: int, verdict: tuple[str, bool]) -> None:
    """One that ended well counts as ready: that is what people wait for in a script."""
    bench = OneWorker(a_policy(restart="never"))
    bench.start()
    bench.spawned()
    bench.exits(code, 2.0)

    down = ("exited", True)
    assert verdicts(bench) == {"ready": verdict, "stopped": down, "exited": verdict}


def test_a_trial_may_still_come() -> None:
    """A breaker that opens itself again after a while is waited for."""
    bench = OneWorker(a_policy(max_restarts=1, circuit_cooldown_s=60.0))
    bench.start()
    bench.spawned()
    bench.exits(3, 0.1)
    assert set(verdicts(bench).values()) == {None}
    bench.tell(events.ResetRequested())
    assert set(verdicts(bench).values()) == {None}
