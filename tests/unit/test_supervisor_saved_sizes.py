"""What the daemon knows of the file's sizes when a client has written them there."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from supervisord_lite.config.loading import Loaded
from supervisord_lite.config.plan import Plan
from supervisord_lite.config.spec import Spec
from supervisord_lite.control import interface
from supervisord_lite.control.calls import Call, Peer
from supervisord_lite.core.scale import ScaledByHand
from supervisord_lite.supervisor.in_force import InForce, by_hand_text, force_text
from supervisord_lite.supervisor.outbox import Outbox
from supervisord_lite.supervisor.reload import Done, Refusal
from tests.support.supervisor import Daemon, a_spec, collecting

Run = Callable[..., Daemon]


@pytest.fixture
def run() -> Iterator[Run]:
    """Return what makes a daemon whose workers run."""
    with ExitStack() as stack:

        def make(*specs: Spec) -> Daemon:
            daemon = Daemon(*specs)
            stack.callback(daemon.close)
            daemon.settle()
            return daemon

        yield make


class Client:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.peer = Peer(1, 0, 0)
        self.closed = False
        self.heard = b""

    def answer(self, data: bytes, *, final: bool) -> None:
        del final
        self.heard += data

    @property
    def told(self) -> dict[str, Any]:
        (message,) = self.heard.split(b"\0")[:-1]
        found: dict[str, Any] = json.loads(message)
        return found


def say(daemon: Daemon, sizes: dict[str, int], file: str = "/x.toml") -> Client:
    """Tell the daemon that these sizes stand in the file."""
    client = Client()
    told: dict[str, object] = {"sizes": sizes, "file": file}
    told |= {"before": "before", "after": "after"}
    daemon.supervisor._verbs.handle(Call(client, f"{interface.MANAGER}.SizesSaved", told))
    return client


def plan_of(answers: list[Done | Refusal]) -> Plan:
    (answer,) = answers
    assert isinstance(answer, Done)
    return answer.plan


def test_a_size_that_was_saved_is_the_size_of_the_file(run: Run) -> None:
    """Nothing differs any more; a later word of a person holds over the next reload."""
    daemon = run(a_spec("web"), a_spec("db"))
    reloads = daemon.supervisor._reloads
    reloads.in_force.files = {"/x.toml": "before"}
    reloads.sizes.scale({"web": 3, "db": 2})
    reloads.sizes.saved({"web": 3, "gone": 7}, "/x.toml", digests=("before", "after"))
    assert reloads.in_force.by_hand == {"db": ScaledByHand(2, 1)}
    assert reloads.in_force.files == {"/x.toml": "after"}
    reloads.sizes.scale({"web": 2})
    reloads.sizes.saved({"db": 4}, "/x.toml", digests=("other", "another"))
    daemon.settle()
    daemon.replace()
    reloads = daemon.supervisor._reloads
    hands = {"db": ScaledByHand(2, 4), "web": ScaledByHand(2, 3)}
    assert (reloads.in_force.by_hand, reloads.in_force.files) == (hands, {"/x.toml": "after"})
    assert plan_of(daemon.reload(a_spec("web", 3), a_spec("db", 4))).is_empty
    assert reloads.in_force.by_hand == hands
    reloads.sizes.scale({"web": 3, "db": 4})
    assert reloads.in_force.by_hand == {}


def test_a_size_that_was_saved_while_the_old_file_was_read_holds(run: Run) -> None:
    """What was read before the save comes into force after it, and must not undo it."""
    daemon = run(a_spec("web"))
    reloads = daemon.supervisor._reloads
    reloads.sizes.scale({"web": 3})
    came: list[Done | Refusal] = []
    daemon.write(a_spec("web"))
    assert isinstance(daemon.file, Loaded)
    before = daemon.file.digests["/x.toml"]
    reloads.ask(came.append, is_dry=False)
    assert not came
    saved = partial(reloads.sizes.saved, {"web": 3}, "/x.toml", digests=(before, "after"))
    reloads.when_read(saved)
    assert reloads.in_force.by_hand == {"web": ScaledByHand(3, 1)}
    daemon.read_file()
    assert plan_of(came).is_empty
    assert (reloads.in_force.by_hand, reloads.in_force.files) == ({}, {"/x.toml": "after"})
    assert daemon.supervisor._fleet.specs["web"].pool_size == 3


@pytest.mark.parametrize(
    ("sizes", "file", "why"),
    [
        ({"web": -7}, "/x.toml", "a pool has from 1 to 1024 instances"),
        ({"web": 0}, "/x.toml", "to have none, stop it"),
        ({"web": 1025}, "/x.toml", "a pool has from 1 to 1024 instances"),
        ({"db": 2, "web": 2000}, "/x.toml", "a pool has from 1 to 1024 instances"),
        ({"web": 2}, "/other.toml", "is no file of the configuration in force"),
    ],
)
def test_what_no_file_in_force_can_say_is_refused(
    run: Run, sizes: dict[str, int], file: str, why: str
) -> None:
    """Nobody can make the daemon believe in sizes that no reload would take."""
    daemon = run(a_spec("web"), a_spec("db"))
    in_force = daemon.supervisor._reloads.in_force
    in_force.files = {"/x.toml": "before"}
    client = say(daemon, sizes, file)
    daemon.settle()
    assert client.told["error"] == interface.REFUSED
    assert why in client.told["parameters"]["reason"]
    assert (in_force.by_hand, in_force.files) == ({}, {"/x.toml": "before"})


def test_what_was_acknowledged_survives_a_kill(run: Run) -> None:
    """While a file is read nothing is known yet, so nothing is said; what is said is saved."""
    daemon = run(a_spec("web"))
    reloads = daemon.supervisor._reloads
    reloads.in_force.files = {"/x.toml": "before"}
    reloads.sizes.scale({"web": 3})
    daemon.settle()
    daemon.write(a_spec("web"))
    assert isinstance(daemon.file, Loaded)
    daemon.file.digests["/x.toml"] = "before"
    reloads.ask(lambda _: None, is_dry=False)
    lost, heard = say(daemon, {"web": 3}), say(daemon, {"web": 3})
    daemon.turn()
    assert (lost.heard, heard.heard) == (b"", b"")
    daemon.read_file()
    assert heard.heard == b"", "it is not saved yet"
    daemon.turn()
    assert heard.told == {"parameters": {}}
    daemon.replace()
    in_force = daemon.supervisor._reloads.in_force
    assert (in_force.by_hand, in_force.files) == ({}, {"/x.toml": "after"})


@pytest.mark.parametrize("deaths", range(4))
def test_sizes_that_were_saved_are_known_whole(run: Run, deaths: int) -> None:
    """A supervisor that is killed at any moment knows the sizes and the file, or neither."""
    daemon = run(*(a_spec(f"w{i}", 2, launch={"argv": ("x" * 20_000,)}) for i in range(9)))
    reloads = daemon.supervisor._reloads
    reloads.in_force.files = {"/x.toml": "before"}
    sizes = dict.fromkeys(daemon.supervisor._fleet.specs, 1)
    reloads.sizes.saved(sizes, "/x.toml", digests=("before", "after"))
    daemon.turn(dies_after=deaths)
    in_force = daemon.supervisor._reloads.in_force
    knows = (in_force.files == {"/x.toml": "after"}, len(in_force.by_hand))
    assert knows in {(False, 0), (True, 9)}
    assert knows == (True, 9) or deaths < 3


def test_what_run_saves_is_what_a_supervisor_reads() -> None:
    """There is one spelling of each text, whoever writes it."""
    spec, hand = a_spec("web"), ScaledByHand(3, 1)
    saves = {
        "force": force_text(4, {"/x.toml": "before"}, "2026-01-02T03:04:05.006Z"),
        "by_hand": by_hand_text({"web": hand}, {"web": spec, "db": a_spec("db")}),
    }
    outbox = Outbox(collecting([]))
    read = InForce(outbox, saves)
    assert (read.generation, read.files) == (4, {"/x.toml": "before"})
    assert read.since == "2026-01-02T03:04:05.006Z"
    assert (read.by_hand, read.of_file) == ({"web": hand}, {"web": spec})
