"""When the keeper is asked for a worker's last sign of life, and what its answer means."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from supervisord_lite.config.spec import Spec
from supervisord_lite.core import events
from supervisord_lite.core.states import Running, Stopping
from supervisord_lite.supervisor.words import Words
from supervisord_lite.wire import channel
from tests.support.supervisor import Daemon, a_spec

WEB = ("web", 1)
Run = Callable[..., Daemon]


@pytest.fixture
def run() -> Iterator[Run]:
    """Return what makes a daemon whose worker runs since 101 s and must beat every 30 s."""
    with ExitStack() as stack:

        def make(*more: Spec) -> Daemon:
            launch = {"notify": True, "heartbeat_timeout_s": 30.0}
            daemon = Daemon(a_spec("web", launch=launch), *more)
            stack.callback(daemon.close)
            daemon.settle()
            daemon.pass_s(1.0)
            assert isinstance(daemon.workers[WEB].state, Running)
            return daemon

        yield make


def at(daemon: Daemon, at_s: float) -> list[dict[str, Any]]:
    """Let it be *at_s*, in one step; return for whom the keeper is asked."""
    daemon.keeper.asked_beats.clear()
    daemon.clock.s = at_s
    daemon.turn()
    return daemon.keeper.asked_beats


def due_s(daemon: Daemon) -> float | None:
    return daemon.supervisor._heartbeats.deadline_s


def answer(daemon: Daemon, beat_s: float | None, *, run: int = 1) -> None:
    daemon._channel.send(channel.encode({"beats": [["web", 1, run, beat_s]]}))
    daemon.turn()


def test_a_worker_that_beats_is_asked_again_a_timeout_after_its_last_beat(run: Run) -> None:
    """Nobody wakes for the beats themselves."""
    daemon = run()
    assert due_s(daemon) == 131.0
    assert at(daemon, 130.9) == []
    assert [(each["pool"], each["run"]) for each in at(daemon, 131.0)] == [("web", 1)]
    assert due_s(daemon) is None  # until the answer
    answer(daemon, 120.0)
    assert due_s(daemon) == 150.0
    assert isinstance(daemon.workers[WEB].state, Running)


def test_one_that_has_not_beaten_is_ended_when_the_keeper_says_so_too(run: Run) -> None:
    """Two witnesses: the time, and what the kernel had kept."""
    daemon = run()
    at(daemon, 131.0)
    answer(daemon, None)
    state = daemon.workers[WEB].state
    assert isinstance(state, Stopping)
    assert state.reason == "no heartbeat for 30s"
    assert due_s(daemon) is None


def test_an_answer_about_an_older_run_changes_nothing(run: Run) -> None:
    """It was restarted meanwhile."""
    daemon = run()
    at(daemon, 131.0)
    answer(daemon, None, run=7)
    assert isinstance(daemon.workers[WEB].state, Running)


def test_after_a_gap_everybody_has_the_whole_time_again(run: Run) -> None:
    """Whoever was stopped together with us could not beat."""
    daemon = run()
    assert at(daemon, 500.0) == []
    assert due_s(daemon) == 530.0
    assert len(at(daemon, 530.5)) == 1


def test_one_that_is_stopped_is_asked_no_more_and_a_new_run_begins_anew(run: Run) -> None:
    """Time counts from ready."""
    daemon = run()
    daemon.supervisor._fleet.feed(WEB, events.RestartRequested())
    assert due_s(daemon) is None
    (living,) = daemon.keeper.live()
    daemon.keeper.end(living, 0)
    daemon.settle()
    daemon.pass_s(1.0)
    assert due_s(daemon) == 132.0


def test_a_new_supervisor_asks_at_once_about_those_whose_time_is_up(run: Run) -> None:
    """What it does not know the keeper knows."""
    daemon = run()
    daemon.clock.s = 131.5
    daemon.replace()
    assert len(at(daemon, 131.6)) == 1
    answer(daemon, 131.0)
    assert due_s(daemon) == 161.0


def test_words_end_with_their_run() -> None:
    """And the keeper's handover has those of before."""
    words = Words([{"pool": "web", "index": 1, "run": 3, "words": {"status": "old"}}])
    assert words.of(WEB, 3) == "old"
    words.take({"words": ["web", 1, 3, {"state": "reloading", "status": "new"}]})
    assert words.of(WEB, 3) == "reloading: new"
    assert words.of(WEB, 4) == ""
    assert words.of(("db", 1), 1) == ""
