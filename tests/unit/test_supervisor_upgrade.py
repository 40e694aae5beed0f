"""Upgrades as the supervisor decides them; the keeper, and what it tries, is played by the test."""

import json
from collections.abc import Iterator

import pytest

from supervisord_lite import __version__
from supervisord_lite.base.resident import own_code
from supervisord_lite.control.calls import Peer
from supervisord_lite.core.states import Running
from supervisord_lite.supervisor.upgrade import Accepted, NotAccepted
from tests.support.supervisor import Daemon, a_spec

WEB = ("web", 1)
CODE = ("/opt/new/bin/python", "/opt/new/lib/supervisord_lite/base/resident.py")


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon(a_spec("web"))
    made.settle()
    made.pass_s(1.0)
    made.settle()
    assert isinstance(made.workers[WEB].state, Running)
    yield made
    made.close()


def ask(
    daemon: Daemon, code: tuple[str, str] = CODE, *, is_dry: bool = False, is_forced: bool = False
) -> list[Accepted | NotAccepted]:
    """Ask for an upgrade, and let the keeper be asked; return the list that answers come to."""
    came: list[Accepted | NotAccepted] = []
    daemon.supervisor._upgrades.ask(
        came.append, code, is_dry=is_dry, is_forced=is_forced, by={"by_uid": 7}
    )
    daemon.turn()
    return came


def told(daemon: Daemon, kind: str) -> list[dict[str, object]]:
    return [event for event in daemon.keeper.journal if event["event"] == kind]


def test_code_that_is_good_is_put_in_force(daemon: Daemon) -> None:
    """The order goes with what the next one must know; then this supervisor makes room."""
    came = ask(daemon)
    assert daemon.keeper.trials == [{"id": "0.1", "interpreter": CODE[0], "resident": CODE[1]}]
    assert came == []

    daemon.is_tried()
    daemon.turn()

    assert came == [Accepted("9.9", keeper=False, is_dry=False)]
    order = {"interpreter": CODE[0], "resident": CODE[1], "version": "9.9", "keeper": False}
    assert daemon.keeper.replaced == [order]
    assert daemon.supervisor._upgrades.is_leaving
    assert json.loads(daemon.keeper.table.saves["upgrade"])["to"] == "9.9"
    (event,) = told(daemon, "daemon.upgrading")
    assert (event["from"], event["to"], event["by_uid"]) == (__version__, "9.9", 7)


def test_what_would_have_been_told_later_is_told_before(daemon: Daemon) -> None:
    """The next supervisor does not know of it."""
    for _ in range(3):
        daemon.supervisor._storms.refused(Peer(7, 1005, 1))
    ask(daemon)
    assert [event["count"] for event in told(daemon, "control.denied")] == [1]
    daemon.is_tried()
    daemon.turn()
    assert [event["count"] for event in told(daemon, "control.denied")] == [1, 2]
    assert daemon.supervisor._upgrades.is_leaving


def test_the_order_and_what_is_saved_are_one_message(daemon: Daemon) -> None:
    """Killed before it, nothing has happened."""
    ask(daemon)
    daemon.is_tried()
    daemon.turn(dies_after=0)

    assert daemon.keeper.replaced == []
    assert "upgrade" not in daemon.keeper.table.saves
    assert told(daemon, "daemon.upgrading") == told(daemon, "daemon.upgraded") == []


def upgrade_to(daemon: Daemon, code: tuple[str, str]) -> None:
    ask(daemon, code)
    daemon.is_tried()
    daemon.turn()
    daemon.clock.s += 0.25
    daemon.replace()


def test_the_next_one_tells_what_became_of_it_once(daemon: Daemon) -> None:
    """Also if the first ones that could are killed; a crash behind it is an adoption again."""
    upgrade_to(daemon, own_code())
    daemon.turn(dies_after=0)
    daemon.settle()
    daemon.replace()
    daemon.settle()

    (event,) = told(daemon, "daemon.upgraded")
    assert (event["from"], event["to"], event["keeper"]) == (__version__, "9.9", "kept")
    assert event["gap_ms"] == 250
    assert len(told(daemon, "supervisor.adopted")) == 1
    assert json.loads(daemon.keeper.table.saves["upgrade"])["is_told"]
    state = daemon.workers[WEB].state
    assert isinstance(state, Running)
    assert state.pid == 1001
    assert daemon.workers[WEB].run == 1


@pytest.mark.parametrize(("code", "why"), [(own_code(), "died twice"), (CODE, "died twice"),
                                           (CODE, "")])  # fmt: skip
def test_the_way_back_is_told_as_a_failure(daemon: Daemon, code: tuple[str, str], why: str) -> None:
    """Whoever comes next and is not what was ordered says so, with the keeper's reason."""
    daemon.fell_back = why
    upgrade_to(daemon, code)
    daemon.settle()

    (event,) = told(daemon, "upgrade.failed")
    assert event["reason"] == (why or "its keeper went back")
    assert told(daemon, "daemon.upgraded") == []


def test_the_way_back_may_come_after_it_was_told_as_good(daemon: Daemon) -> None:
    """It answered, and then it fell over: one event each, whoever is killed meanwhile."""
    upgrade_to(daemon, own_code())
    daemon.settle()
    assert len(told(daemon, "daemon.upgraded")) == 1

    daemon.fell_back = "its supervisor died 3 times in a minute: exit 4"
    daemon.replace()
    daemon.turn(dies_after=0)
    daemon.settle()
    daemon.replace()
    daemon.settle()

    (event,) = told(daemon, "upgrade.failed")
    assert (event["from"], event["to"], event["by_uid"]) == (__version__, "9.9", 7)
    assert event["reason"] == daemon.fell_back
    assert "upgrade" not in daemon.keeper.table.saves


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"ok": False, "reason": "SyntaxError: invalid syntax"}, "SyntaxError: invalid syntax"),
        ({"unusable": {"web/1": "no such state"}}, "it cannot go on with web/1: no such state"),
    ],
)
def test_code_that_is_not_good_changes_nothing(
    daemon: Daemon, answer: dict[str, object], why: str
) -> None:
    """Whoever asked is told why, and so is the journal; the next one may ask."""
    came = ask(daemon)
    daemon.is_tried(**answer)
    daemon.turn()

    assert came == [NotAccepted(why)]
    assert daemon.keeper.replaced == []
    (event,) = told(daemon, "upgrade.refused")
    assert event["reason"] == why
    assert ask(daemon) == []
    assert len(daemon.keeper.trials) == 2


def test_what_nobody_could_read_before_is_no_reason_against_it(daemon: Daemon) -> None:
    """A record that is lost already is not lost by an upgrade."""
    daemon.supervisor._fleet.unusable[WEB] = "nonsense"
    came = ask(daemon)
    daemon.is_tried(unusable={"web/1": "nonsense"})
    daemon.turn()
    assert isinstance(came[0], Accepted)


def test_a_dry_run_ends_with_the_answer(daemon: Daemon) -> None:
    """Nothing is ordered, saved or told."""
    came = ask(daemon, is_dry=True)
    daemon.is_tried(protocol=2)
    daemon.turn()

    assert came == [Accepted("9.9", keeper=True, is_dry=True)]
    assert daemon.keeper.replaced == []
    assert not daemon.supervisor._upgrades.is_leaving
    assert told(daemon, "daemon.upgrading") == []


@pytest.mark.parametrize(("protocol", "is_forced"), [(2, False), (1, True)])
def test_the_keeper_is_replaced_where_it_must_or_is_wanted(
    daemon: Daemon, protocol: int, is_forced: bool
) -> None:
    """Another protocol, or somebody's word."""
    ask(daemon, is_forced=is_forced)
    daemon.is_tried(protocol=protocol)
    daemon.turn()
    assert daemon.keeper.replaced[0]["keeper"] is True


def test_one_upgrade_at_a_time_and_none_while_the_daemon_stops(daemon: Daemon) -> None:
    """The second one is refused; a stop that comes meanwhile wins."""
    first = ask(daemon)
    assert ask(daemon) == [NotAccepted("another upgrade is under way")]
    daemon.supervisor._daemon.begin_stop("a test")
    daemon.is_tried()
    daemon.turn()
    assert first == [NotAccepted("the daemon is stopping")]
    assert ask(daemon) == [NotAccepted("the daemon is stopping")]
    assert daemon.keeper.replaced == []


def test_a_file_that_is_being_read_is_put_in_force_before(daemon: Daemon) -> None:
    """Whoever asked for the reload is told, and then there is another supervisor."""
    daemon.write(a_spec("web"), a_spec("new"))
    reloaded: list[object] = []
    daemon.supervisor._reloads.ask(reloaded.append, is_dry=False)
    came = ask(daemon)
    daemon.is_tried()
    daemon.turn()
    assert (came, daemon.keeper.replaced) == ([], [])

    daemon.read_file()
    daemon.turn()

    assert len(reloaded) == 1
    assert isinstance(came[0], Accepted)
    assert "spec/new" in daemon.keeper.table.saves
    assert len(daemon.keeper.replaced) == 1


def test_a_trial_of_which_nobody_tells_is_given_up(daemon: Daemon) -> None:
    """Then the next one may ask; what comes too late is about nobody."""
    came = ask(daemon)
    daemon.pass_s(41.0)
    assert isinstance(came[0], NotAccepted)
    daemon.is_tried()
    daemon.turn()
    assert daemon.keeper.replaced == []


def test_sigusr2_puts_in_force_what_is_installed_in_place(daemon: Daemon) -> None:
    """The path is the one that runs; by nobody's verb."""
    daemon.keeper.table.fact("signalled", daemon.clock.s, signal="SIGUSR2")
    daemon.turn()
    interpreter, resident = own_code()
    assert daemon.keeper.trials[0] | {"id": ""} == {
        "id": "", "interpreter": interpreter, "resident": resident,
    }  # fmt: skip
    daemon.is_tried()
    daemon.turn()
    (event,) = told(daemon, "daemon.upgrading")
    assert event["by"] == "SIGUSR2"
