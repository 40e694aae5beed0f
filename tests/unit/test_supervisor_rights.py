"""Who may do what: every method asked by everybody who may something, and by who may nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.base.resident import own_code
from supervisord_lite.config.spec import Grant, Spec
from supervisord_lite.control import interface
from supervisord_lite.control.calls import Call, Peer
from supervisord_lite.control.parameters import InvalidParameterError
from supervisord_lite.core.states import Stopped
from supervisord_lite.supervisor.rights import NotPermittedError, Rights, unmapped_id
from tests.support.supervisor import SETTINGS, Daemon, a_fleet, a_spec

LISTS = replace(
    SETTINGS,
    admin=(Grant("ada", uid=1001),),
    operate=(Grant("@ops", gid=2002),),
    read=(Grant("rita", uid=1003),),
)
PEERS = {
    "root": Peer(1, 0, 0),
    "ada": Peer(1, 1001, 1),
    "olga": Peer(1, 1002, 1, (7, 2002)),
    "wanda": Peer(1, 1004, 1),
    "rita": Peer(1, 1003, 1),
    "eve": Peer(1, 1005, 1),
}
READ = {"Status", "States", "Watch", "Wait", "Events", "Why", "LogFiles", "Version"}
OPERATE = {"Start", "Stop", "Restart", "Reset", "Signal", "Scale", "SizesSaved"}
EVERYTHING = set(interface.methods_of(interface.manager_description()))
MAY = {
    "root": EVERYTHING,
    "ada": EVERYTHING,
    "olga": READ | OPERATE,
    "wanda": READ,
    "rita": READ,
    "eve": set(),
}


def web_of_wanda() -> Spec:
    return replace(a_spec("web"), operators=(Grant("wanda", uid=1004),))


class Line:
    """Asks one thing and keeps the answers."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.closed = False
        self.heard = b""

    def answer(self, data: bytes, *, final: bool) -> None:
        del final
        self.heard += data


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon(web_of_wanda(), a_spec("db"), a_spec("app", requires=["web", "cache"]),
                  a_spec("cache", autostart=False))  # fmt: skip
    made.supervisor._fleet.settings = LISTS
    made.supervisor._reloads.in_force.files = {"/f": "b"}
    made.settle()
    made.pass_s(1.0)
    made.settle()
    yield made
    made.close()


def ask(daemon: Daemon, who: str, method: str, *names: str) -> dict[str, object]:
    """Return the parameters of the NotPermitted that the answer is; empty: it is none."""
    parameters: dict[str, object] = {"names": list(names)}
    if method == "Signal":
        parameters["signal"] = "SIGHUP"
    if method == "Wait":
        parameters["goal"] = "ready"
    if method == "Scale":
        parameters = {"sizes": dict.fromkeys(names, 2)}
    if method == "SizesSaved":
        parameters = {"sizes": dict.fromkeys(names, 2), "file": "/f", "before": "b", "after": "a"}
    if method in {"Version", "Watch", "Shutdown", "Reload"}:
        parameters = {}
    if method == "Upgrade":
        interpreter, resident = own_code()
        parameters = {"interpreter": interpreter, "resident": resident}
    line = Line(PEERS[who])
    daemon.write()
    daemon.supervisor._verbs.handle(Call(line, f"{interface.MANAGER}.{method}", parameters))
    daemon.settle()
    first = json.loads(line.heard.partition(b"\0")[0] or b"{}")
    is_no = first.get("error") == interface.NOT_PERMITTED
    told: dict[str, object] = first["parameters"] if is_no else {}
    return told


def standing(daemon: Daemon) -> object:
    return dict(daemon.workers), daemon.supervisor._daemon.word, len(daemon.keeper.signalled)


@pytest.mark.parametrize("method", sorted(EVERYTHING))
@pytest.mark.parametrize("who", PEERS)
def test_each_may_what_the_lists_say_and_nothing_else(
    daemon: Daemon, who: str, method: str
) -> None:
    """All methods of the definition; a no changes nothing."""
    before = standing(daemon)

    refused = ask(daemon, who, method, "db")

    assert bool(refused) == (method not in MAY[who])
    if refused:
        assert standing(daemon) == before
        assert daemon.readings == 0
        assert (refused["method"], refused["uid"]) == (method, PEERS[who].uid)


@pytest.mark.parametrize("who", PEERS)
def test_only_root_and_the_daemons_user_name_other_code(daemon: Daemon, who: str) -> None:
    """To have the daemon run what one likes is to be its user; in place admins may, too."""
    line = Line(PEERS[who])
    elsewhere: dict[str, object] = {
        "interpreter": "/home/ada/bin/python",
        "resident": "/home/ada/resident.py",
    }
    daemon.supervisor._verbs.handle(Call(line, f"{interface.MANAGER}.Upgrade", elsewhere))
    daemon.settle()

    assert bool(daemon.keeper.trials) == (who == "root")
    told = json.loads(line.heard.partition(b"\0")[0] or b"{}")
    assert told.get("error") == (None if who == "root" else interface.NOT_PERMITTED)


@pytest.mark.parametrize("method", sorted(OPERATE))
def test_an_operator_of_one_worker_operates_that_one(daemon: Daemon, method: str) -> None:
    """That one alone."""
    assert not ask(daemon, "wanda", method, "web")
    assert ask(daemon, "wanda", method, "db")["name"] == "db"


@pytest.mark.parametrize("name", ["*", "all", "[dw]*"])
@pytest.mark.parametrize("method", sorted(OPERATE - {"Scale", "SizesSaved"}))
def test_every_name_is_judged_before_the_first_is_touched(
    daemon: Daemon, method: str, name: str
) -> None:
    """A pattern that means one worker too many does nothing at all."""
    before = standing(daemon)
    refused = ask(daemon, "wanda", method, "web", name)
    assert refused["name"] in {"db", "app", "cache"}
    assert standing(daemon) == before


@pytest.mark.parametrize("who", ["root", "wanda", "rita"])
@pytest.mark.parametrize("method", ["Scale", "SizesSaved"])
@pytest.mark.parametrize("names", [["nosuch"], ["nosuch", "web"], []], ids=str)
def test_sizes_of_nobody_change_nothing(
    daemon: Daemon, who: str, method: str, names: list[str]
) -> None:
    """Nobody who may only read gets past the lists by a name that means no worker."""
    line = Line(PEERS[who])
    parameters: dict[str, object] = {"sizes": dict.fromkeys(names, 2)}
    parameters |= {"file": "/f", "before": "b", "after": "a"}
    call = Call(line, f"{interface.MANAGER}.{method}", parameters)
    if names:
        daemon.supervisor._verbs.handle(call)
        daemon.settle()
        answer = json.loads(line.heard.rstrip(b"\0"))
        assert answer["error"] in {interface.NO_SUCH_WORKER, interface.NOT_PERMITTED}
    else:
        with pytest.raises(InvalidParameterError):
            daemon.supervisor._verbs.handle(call)
    assert daemon.supervisor._reloads.in_force.files == {"/f": "b"}
    assert daemon.supervisor._fleet.specs["web"].pool_size == 1


def test_to_act_on_nothing_in_particular_is_a_no() -> None:
    """A method that names no worker is for those who may operate them all."""
    fleet, _, _ = a_fleet(web_of_wanda())
    fleet.settings = LISTS
    rights = Rights(fleet, own_uid=1000)
    for who in ("root", "ada", "olga"):
        rights.check(PEERS[who], "Scale", list)
    for who in ("wanda", "rita", "eve"):
        with pytest.raises(NotPermittedError) as caught:
            rights.check(PEERS[who], "Scale", list)
        assert caught.value.allowed == ["root", "the daemon's own user", "ada", "@ops"]


def test_what_else_would_be_started_is_judged_too() -> None:
    """A start brings up what is required: that is to operate it."""
    mine = (Grant("wanda", uid=1004),)
    daemon = Daemon(
        a_spec("db", autostart=False),
        replace(a_spec("web", requires=["db"], autostart=False), operators=mine),
    )
    try:
        daemon.settle()
        assert ask(daemon, "wanda", "Start", "web")["name"] == "db"
        assert {worker.state for worker in daemon.workers.values()} == {Stopped()}
        assert not ask(daemon, "root", "Start", "web")
        assert not ask(daemon, "wanda", "Restart", "web")
    finally:
        daemon.close()


def test_a_no_says_who_may(daemon: Daemon) -> None:
    """Whoever is refused learns whom to ask."""
    assert ask(daemon, "rita", "Stop", "web")["allowed"] == ["root", "ada", "@ops", "wanda"]
    assert ask(daemon, "olga", "Reload")["allowed"] == ["root", "ada"]
    assert ask(daemon, "eve", "Status", "web")["allowed"] == ["root", "ada", "@ops", "rita"]


def test_other_lists_hold_from_the_reload_on(daemon: Daemon) -> None:
    """Also for those who are connected; operators of a worker that is gone may nothing."""
    daemon.write(a_spec("db"), settings=replace(LISTS, operate=(), read=(Grant("*"),)))
    daemon.reload()
    assert not ask(daemon, "wanda", "Status", "db")
    assert ask(daemon, "olga", "Stop", "db")
    assert ask(daemon, "wanda", "Stop", "web")["name"] == "web", "it is leaving"


def test_nobody_is_somebody_by_doubt() -> None:
    """No number, no entry, an entry without a number: a no."""
    fleet, _, _ = a_fleet(web_of_wanda())
    rights = Rights(fleet, own_uid=1000)
    assert [rights.rank(Peer(1, uid, 0)) > 0 for uid in (0, 1000, 1004, 1001)] == [True] * 3 + [
        False
    ]
    fleet.settings = replace(SETTINGS, admin=(Grant("gone"), Grant("@gone")), read=(Grant("*"),))
    assert rights.rank(Peer(1, 1001, 0)) == 1
    assert rights.rank(Peer(1, -1, 0)) == rights.rank(Peer(1, 2**32 - 1, 0)) == 0


def test_whoever_has_no_number_here_is_not_whoever_has_that_number(tmp_path: Path) -> None:
    """In a user namespace all strangers show as nobody (65534)."""
    (tmp_path / "self").mkdir()
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/overflowuid").write_text("65534\n")
    mapped = tmp_path / "self/uid_map"
    mapped.write_text("         0          0 4294967295\n")
    assert unmapped_id("uid", str(tmp_path)) is None
    mapped.write_text("0 100000 65536\n")
    assert unmapped_id("uid", str(tmp_path)) == 65534
    assert unmapped_id("gid", str(tmp_path)) == 65534, "what cannot be read is in doubt"

    fleet, _, _ = a_fleet(a_spec("web"))
    fleet.settings = replace(
        SETTINGS, admin=(Grant("nobody", uid=65534), Grant("@nogroup", gid=65534))
    )
    rights = Rights(fleet, own_uid=0)
    rights._no_uid, rights._no_gid = None, None
    assert rights.rank(Peer(1, 65534, 65534)) > 0
    rights._no_uid, rights._no_gid = 65534, 65534
    assert rights.rank(Peer(1, 65534, 65534)) == 0
