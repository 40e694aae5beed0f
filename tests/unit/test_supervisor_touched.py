"""Whom a reload touches: breakers that stay open, counts that are true, pools that grow."""

from typing import Any

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Grant, Spec
from supervisord_lite.core import events
from supervisord_lite.core.states import Running, Starting, Tripped
from tests.support.driven import end, good, running
from tests.support.supervisor import Daemon, a_spec

WEB = ("web", 1)
OTHER = {"argv": ("other",)}
GRANTS = (Grant("deploy"),)


def tripped(made: list[Daemon], *others: Spec, **policy: Any) -> Daemon:
    """Return a daemon whose `web` has tripped."""
    daemon = running(made, a_spec("web", max_restarts=1, **policy), *others)
    end(daemon, WEB, 1)
    assert isinstance(daemon.workers[WEB].state, Tripped)
    return daemon


def test_other_operators_leave_a_breaker_open(made: list[Daemon]) -> None:
    """Who may operate a worker says nothing about whether it works."""
    daemon = tripped(made)
    other = replace(a_spec("web", max_restarts=1), operators=GRANTS)
    done = good(daemon.reload(other))
    daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Tripped)
    assert daemon.supervisor._fleet.specs["web"].operators == GRANTS
    assert [key.effect for change in done.plan.changed for key in change.keys] == ["live"]
    assert done.touched.started == 0


def test_whoever_starts_because_its_breaker_is_closed_is_counted(made: list[Daemon]) -> None:
    """Also before it is done, and those who finished or wait; those stopped by hand are not."""
    daemon = tripped(made, a_spec("done", restart="never"), a_spec("late"), a_spec("down"))
    end(daemon, ("done", 1))
    end(daemon, ("late", 1), 1)
    daemon.supervisor._fleet.feed(("down", 1), events.StopRequested())
    end(daemon, ("down", 1))
    specs = [a_spec("web", launch=OTHER), a_spec("done", restart="never", launch=OTHER),
             a_spec("late", launch=OTHER), a_spec("down", 3, launch=OTHER)]  # fmt: skip
    dry = good(daemon.reload(*specs, is_dry=True)).touched
    before = len(daemon.keeper.started)
    assert good(daemon.reload(*specs)).touched == dry
    daemon.settle()
    assert len(daemon.keeper.started) - before == dry.started == 3


def test_a_pool_that_grows_with_another_program_keeps_the_old_until_the_new_is_ready(
    made: list[Daemon],
) -> None:
    """There is never nobody left; also not under the next supervisor."""
    daemon = running(made, a_spec("web"))
    daemon.reload(a_spec("web", 2, launch=OTHER))
    daemon.settle()
    assert daemon.keeper.signalled == []
    assert isinstance(daemon.workers["web", 2].state, Starting)
    daemon.replace()
    daemon.settle()
    assert daemon.keeper.signalled == []
    daemon.pass_s(1.0)
    daemon.settle()
    assert [each["index"] for each in daemon.keeper.signalled] == [1]
    end(daemon, WEB)
    daemon.pass_s(1.0)
    daemon.settle()
    assert all(isinstance(worker.state, Running) for worker in daemon.workers.values())
    assert daemon.keeper.spawned["web", 1, 2]["argv"] == ["other"]


def test_the_old_instance_stays_where_the_new_one_of_a_grown_pool_fails(
    made: list[Daemon],
) -> None:
    """As in any roll: the first new run that fails ends it."""
    daemon = running(made, a_spec("web"))
    daemon.reload(a_spec("web", 2, launch=OTHER))
    daemon.settle()
    end(daemon, ("web", 2), 1)
    for _ in range(20):
        daemon.pass_s(1.0)
        daemon.settle()
    assert daemon.keeper.signalled == []
    assert isinstance(daemon.workers[WEB].state, Running)
    assert daemon.supervisor._rolls.outdated.has(WEB)
