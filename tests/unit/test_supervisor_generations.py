"""Which server a run is forked from: what is alike shares one, what is not does not."""

from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Identity, Launch, Origin, Python, Spec
from supervisord_lite.control import interface
from supervisord_lite.control.calls import Call
from supervisord_lite.core.events import StopRequested
from supervisord_lite.core.policy import Policy
from supervisord_lite.supervisor.forking import (
    is_forked,
    server_ids,
    server_key,
    server_request,
    title,
)
from tests.support.driven import Line, end, good, running
from tests.support.supervisor import SETTINGS, Daemon
from tests.support.supervisor import a_spec as any_spec

LAUNCH = Launch(
    argv=(),
    directory="/srv",
    environment=(("MODE", "fast"), ("PORT", "80%i"), ("GONE", None)),
    python=Python("shop.rank:rank", "/srv/bin/python", preload=("shop.model",)),
)


def a_spec(pool: str = "rank", size: int = 3, **launch: Any) -> Spec:
    return Spec(pool, size, Policy(), replace(LAUNCH, **launch), Origin("f", 1))


def test_one_process_without_imports_starts_by_itself() -> None:
    """Several are forked, and so is one that has something to import first."""
    bare = Python("shop.rank:rank", "/srv/bin/python")
    assert not is_forked(a_spec(size=1, python=bare))
    assert is_forked(a_spec(size=2, python=bare))
    assert is_forked(a_spec(size=1))
    assert not is_forked(a_spec(size=2, python=None))


def test_pools_that_are_alike_share_a_server() -> None:
    """Whatever they are called, run, and differ in between their instances."""
    other = Python("shop.other:run", "/srv/bin/python", '{"a": 1}', preload=("shop.model",))
    port = (("MODE", "fast"), ("PORT", "90%i"), ("GONE", None))
    assert server_key(a_spec()) == server_key(a_spec("b", 2, python=other, environment=port))


@pytest.mark.parametrize(
    "change",
    [
        {"directory": "/other"},
        {"environment": (("MODE", "slow"),)},
        {"identity": Identity(1, 1, (1,), "daemon", "/", "/bin/sh")},
        {"capabilities": ()},
        {"no_new_privs": True},
        {"python": Python("shop.rank:rank", "/usr/bin/python3", preload=("shop.model",))},
        {"python": Python("shop.rank:rank", "/srv/bin/python")},
    ],
)
def test_what_differs_has_servers_of_its_own(change: dict[str, Any]) -> None:
    """Interpreter, user, privileges, folder, environment or imports."""
    assert server_key(a_spec()) != server_key(a_spec(**change))


def test_a_server_knows_nothing_of_one_instance() -> None:
    """Its environment has only what is the same for all; its name is its generation."""
    request = server_request(a_spec(), 2, 7, SETTINGS)
    assert request["id"] == "7"
    assert request["environment"] == [("MODE", "fast"), ("GONE", None)]
    argv = request["argv"]
    assert isinstance(argv, list)
    assert argv[0] == "/srv/bin/python"
    assert argv[2:] == ["warm", "/srv", "shop.model"]
    assert title(a_spec(), 2) == "rank-2 shop.rank:rank"


def test_instances_in_folders_of_their_own_have_servers_of_their_own() -> None:
    spec = a_spec(directory="/srv/%i")
    assert server_ids(spec, 4) == ["4.1", "4.2", "4.3"]
    assert server_request(spec, 2, 4, SETTINGS)["directory"] == "/srv/2"
    assert server_ids(a_spec(), 4) == ["4"]


def warm(pool: str, size: int = 1, *, mode: str = "fast", **more: Any) -> Spec:
    """Return a spec whose workers are forks."""
    launch = {"python": LAUNCH.python, "environment": (("MODE", mode),)}
    return any_spec(pool, size, launch=launch, **more)


def test_whoever_asks_for_a_reload_while_code_is_loaded_is_answered_too(
    made: list[Daemon],
) -> None:
    """The second one waits for the first, and reads the file again."""
    daemon = running(made, warm("rank"))
    first = daemon.reload(warm("rank", mode="slow"))
    daemon.settle()
    assert daemon.keeper.built == ["2"]
    second = daemon.reload()
    daemon.hang_up()
    daemon.settle()
    assert (first, second) == ([], [])
    daemon.is_built("2")
    daemon.read_file()
    daemon.settle()
    assert good(first).touched.restarted == 1
    assert good(second).touched.restarted == 0
    assert daemon.keeper.built == ["2"]
    assert "reload_wanted" not in daemon.keeper.table.saves


def test_a_restart_that_cannot_be_carried_out_ends_nobody(made: list[Daemon]) -> None:
    """It has waited for the new code: what is wrong with it is found in the supervisor's loop."""
    daemon = running(made, warm("rank"))
    line = Line()
    call = Call(line, f"{interface.MANAGER}.Restart", {"names": ["rank"], "wait": "yes"})
    daemon.supervisor._server.dispatch(call)
    daemon.settle()
    daemon.is_built("2")
    (answer,) = line.messages
    assert answer["error"] == interface.INVALID_PARAMETER
    assert daemon.keeper.signalled == []


def test_who_is_taken_out_leaves_nothing_of_its_imports(made: list[Daemon]) -> None:
    """Neither among the saves nor here, also where it was down already; its server ends."""
    daemon = running(made, any_spec("web"), warm("rank"), warm("idle"))
    end(daemon, ("idle", 1), 0)
    assert daemon.keeper.servers == ["1"]
    daemon.supervisor._words.take({"words": ["rank", 1, 1, {"status": "here"}]})
    daemon.reload(any_spec("web"))
    daemon.settle()
    end(daemon, ("rank", 1))
    assert [key for key in daemon.keeper.table.saves if key.startswith(("forked", "gener"))] == [
        "generation"
    ]
    assert daemon.supervisor._generations._forked == {}
    assert daemon.supervisor._words._words == {}
    assert daemon.keeper.servers == []


def test_a_stop_takes_back_a_start_that_may_wait_for_imports(made: list[Daemon]) -> None:
    """Also that of a new run beside an old one, which has its own end."""
    daemon = running(made, replace(warm("rank"), max_surge=1))
    daemon.supervisor._rolls.begin("rank", [1])
    daemon.turn()
    assert daemon.keeper.started[-1] == ("rank", 1, 2)
    daemon.supervisor._fleet.feed(("rank", 1), StopRequested())
    daemon.turn()
    assert daemon.keeper.cancelled == [("rank", 1, 2)]
    assert [request["run"] for request in daemon.keeper.signalled][:1] == [1]


def test_servers_of_many_folders_are_all_asked_for(made: list[Daemon]) -> None:
    """Together they are larger than a message, and somebody waits for each of them."""

    def spec(mode: str) -> Spec:
        found = warm("rank", 60, mode=mode * 4000)
        return replace(found, launch=replace(found.launch, directory="/srv/%i"))

    daemon = running(made, spec("a"))
    daemon.reload(spec("b"))
    daemon.settle()
    assert daemon.keeper.built == [f"2.{index}" for index in range(1, 61)]
