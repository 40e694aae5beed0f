"""Sizes of pools that are set by hand hold until the file says something new."""

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import LogTarget, Spec
from supervisord_lite.control.calls import Call
from supervisord_lite.supervisor.changeover import HalfChangedError
from tests.support.driven import Client, good, running
from tests.support.supervisor import Daemon, a_spec


def test_a_size_given_by_hand_holds_until_the_file_gives_another(made: list[Daemon]) -> None:
    """Over reloads and crashes; the file wins when it says something new."""
    log = {"stdout": LogTarget("file", "/log/web.log")}
    daemon = running(made, a_spec("web", launch=log), a_spec("db"))
    assert daemon.supervisor._reloads.sizes.scale({"web": 3}).started == 2
    daemon.settle()
    daemon.replace()
    daemon.reload(a_spec("web", launch=log), a_spec("db", max_restarts=2))
    daemon.settle()
    assert [slot for slot in daemon.workers if slot[0] == "web"] == [("web", n) for n in (1, 2, 3)]
    paths = [daemon.keeper.spawned["web", n, 1]["stdout"]["stream"]["path"] for n in (1, 2, 3)]
    assert paths == ["/log/web.log", "/log/web-2.log", "/log/web-3.log"]
    assert [ask["index"] for ask in daemon.keeper.relogged] == [1]
    file = [a_spec("web", 2, launch=log), a_spec("db", max_restarts=2)]
    done = good(daemon.reload(*file))
    assert done.touched.stopped == 1
    assert daemon.supervisor._reloads.in_force.by_hand == {}


def test_a_size_given_back_leaves_no_trace(made: list[Daemon]) -> None:
    """Also after a crash: the pool is what the file says, down to the names of its logs."""
    file = [a_spec("web", launch={"stdout": LogTarget("file", "/log/web.log")})]
    daemon = running(made, *file)
    daemon.supervisor._reloads.sizes.scale({"web": 3})
    daemon.settle()
    daemon.replace()
    assert daemon.supervisor._reloads.sizes.scale({"web": 1}).stopped == 2
    daemon.settle()
    assert daemon.supervisor._reloads.in_force.by_hand == {}
    assert list(daemon.supervisor._fleet.specs.values()) == file
    assert good(daemon.reload(*file)).plan.is_empty


@pytest.mark.parametrize(
    ("spec", "size", "why"),
    [
        (replace(a_spec("web"), singleton=True), 2, "singleton"),
        (a_spec("web"), 0, "at least 1"),
        (a_spec("web"), 1025, "1024"),
        (a_spec("web"), 4, "would be called web-3"),
    ],
)
def test_a_size_that_cannot_be_is_refused(
    made: list[Daemon], spec: Spec, size: int, why: str
) -> None:
    """Names stay unique, singletons single."""
    daemon = running(made, spec, a_spec("web-3"))
    assert why in daemon.supervisor._reloads.sizes.why_not(spec, {"web": size})


def test_more_processes_than_one_daemon_is_made_for_are_refused(made: list[Daemon]) -> None:
    """All pools together, those too that change with it."""
    daemon = running(made, a_spec("web"), a_spec("db"))
    fleet, reloads = daemon.supervisor._fleet, daemon.supervisor._reloads
    many = {f"p{number}": a_spec(f"p{number}", 1000) for number in range(19)}
    fleet.specs.update(many)
    web = fleet.specs["web"]
    assert reloads.sizes.why_not(web, {"web": 999}) == ""
    assert "20,000 are the most" in reloads.sizes.why_not(web, {"web": 1000})
    assert "20,000 are the most" in reloads.sizes.why_not(web, {"web": 600, "db": 600})
    assert reloads.sizes.why_not(web, {"web": 1000, "p0": 900}) == ""
    for pool in many:
        del fleet.specs[pool]


def test_a_size_that_a_new_file_cannot_have_is_told(made: list[Daemon]) -> None:
    """Dropped, and whoever asked hears why; a dry run says so too."""
    daemon = running(made, a_spec("web"))
    daemon.supervisor._reloads.sizes.scale({"web": 3})
    daemon.settle()
    told = "web no longer has the 3 instances set by hand: one of its instances would be called"
    dry = good(daemon.reload(a_spec("web"), a_spec("web-3"), is_dry=True))
    wet = good(daemon.reload(a_spec("web"), a_spec("web-3")))
    for done in (dry, wet):
        assert told in done.warnings
    daemon.settle()
    assert daemon.supervisor._reloads.in_force.by_hand == {}


def test_a_fault_in_the_middle_of_scaling_ends_the_supervisor(
    made: list[Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client's call swallows it; the next one finds the whole of before."""
    daemon = running(made, a_spec("web"))
    client = Client()
    call = Call(client, "io.supervisordlite.Manager.Scale", {"sizes": {"web": 3}})
    fleet = daemon.supervisor._fleet
    monkeypatch.setattr(fleet, "wake_all", lambda: 1 // 0)
    with pytest.raises(HalfChangedError):
        daemon.supervisor._server.dispatch(call)
    assert client.heard == b""
    daemon.replace()
    daemon.settle()
    assert list(daemon.workers) == [("web", 1)]
    assert daemon.supervisor._reloads.in_force.by_hand == {}
