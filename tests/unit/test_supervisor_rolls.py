"""Rolls that meet reloads, scaling and each other: no pool is away as a whole."""

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Spec
from supervisord_lite.control.calls import Call
from supervisord_lite.core.states import Running
from tests.support.driven import Asking, be_ready, end, running
from tests.support.supervisor import Daemon, a_spec

WEB = ("web", 1)


def outcomes_of(client: Asking) -> dict[str, str]:
    return {each["name"]: each["outcome"] for each in client.told()}


def ask(daemon: Daemon, method: str, *names: str) -> Asking:
    client = Asking()
    parameters: dict[str, object] = {"names": list(names), "wait": True}
    call = Call(client, f"io.supervisordlite.Manager.{method}", parameters, more=True)
    daemon.supervisor._verbs.handle(call)
    daemon.settle()
    return client


def release(name: str, size: int) -> Spec:
    return a_spec("web", size, launch={"argv": (name,)})


def told(daemon: Daemon) -> list[int]:
    """Return which instances were told to stop, in order."""
    return [each["index"] for each in daemon.keeper.signalled]


def test_a_reload_during_a_roll_leaves_the_others_up(made: list[Daemon]) -> None:
    """Who is away already counts: two releases one after the other never stop both of two."""
    daemon = running(made, release("one", 2))
    daemon.reload(release("two", 2))
    daemon.settle()
    daemon.reload(release("three", 2))
    daemon.settle()
    assert told(daemon) == [1]
    assert isinstance(daemon.workers["web", 2].state, Running)
    end(daemon, WEB)
    assert told(daemon) == [1], "not before the new one is ready"
    be_ready(daemon)
    assert told(daemon) == [1, 2]
    end(daemon, ("web", 2))
    be_ready(daemon)
    assert all(isinstance(worker.state, Running) for worker in daemon.workers.values())
    assert told(daemon) == [1, 2], "nobody is replaced twice"
    argv = [daemon.keeper.spawned["web", n, 2]["argv"] for n in (1, 2)]
    assert argv == [["three"], ["three"]]


def test_who_is_away_for_another_reason_counts_in_a_reload(made: list[Daemon]) -> None:
    """One of two waits after a crash: the other one is not stopped meanwhile."""
    daemon = running(made, release("one", 2))
    end(daemon, WEB, 1)
    daemon.reload(release("two", 2))
    daemon.settle()
    assert told(daemon) == []
    be_ready(daemon)
    be_ready(daemon)
    assert told(daemon) == [2]


def test_everything_is_restarted_while_a_removed_pool_still_stops(made: list[Daemon]) -> None:
    """It is no part of the restart: it goes down, and the others are replaced."""
    daemon = running(made, a_spec("web"), a_spec("old", 2))
    daemon.reload(a_spec("web"))
    daemon.settle()
    client = ask(daemon, "Restart", "*")
    end(daemon, WEB)
    be_ready(daemon)
    for index in (1, 2):
        end(daemon, ("old", index))
    assert outcomes_of(client)["web"] == "ready"
    assert list(daemon.workers) == [WEB]
    assert daemon.keeper.started.count(("web", 1, 2)) == 1


def test_a_roll_that_fails_in_a_pool_that_has_shrunk(made: list[Daemon]) -> None:
    """Who is gone in the same turn is not told of; who stays is."""
    daemon = running(made, a_spec("web", 4, restart="on-failure"))
    client = ask(daemon, "Restart", "web")
    end(daemon, WEB)
    end(daemon, ("web", 4))  # finished: it is forgotten as soon as it has no place
    (run,) = (run for run in daemon.keeper.live() if run.key[:2] == WEB)
    daemon.keeper.end(run, 1)
    daemon.reload(a_spec("web", 3, restart="on-failure"))
    daemon.settle()
    outcomes = outcomes_of(client)
    assert [outcomes[f"web-{index}"] for index in (1, 2, 3)] == ["failed"] * 3
    assert list(daemon.workers) == [("web", index) for index in (1, 2, 3)]


def test_a_finished_roll_leaves_nothing_behind(made: list[Daemon]) -> None:
    """The keeper forgets it."""
    daemon = running(made, a_spec("web", 2))
    ask(daemon, "Restart", "web")
    assert "roll/web" in daemon.keeper.table.saves
    for index in (1, 2):
        end(daemon, ("web", index))
        be_ready(daemon)
    assert "roll/web" not in daemon.keeper.table.saves


def test_a_roll_whose_new_run_failed_and_whose_instance_has_gone_ends(made: list[Daemon]) -> None:
    """Both come in one turn, after a gap: there is nobody left to be told of."""
    daemon = running(made, replace(release("one", 2), max_surge=1))
    client = ask(daemon, "Restart", "web-2")
    old, new = (run for run in daemon.keeper.live() if run.key[1] == 2)
    daemon.keeper.end(new, 1, emptied=False)
    daemon.turn()
    daemon.reload(replace(release("one", 1), max_surge=1))
    daemon.keeper.end(old, 0)
    daemon.keeper.empty(new)
    daemon.settle()
    assert ("web", 2) not in daemon.workers
    assert outcomes_of(client) == {"web-2": "failed"}
    assert [key for key in daemon.keeper.table.saves if key.startswith("roll/")] == []
