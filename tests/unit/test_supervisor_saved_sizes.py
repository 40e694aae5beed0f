"""What the daemon knows of the file's sizes when a client has written them there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from supervisord_lite.config.loading import Loaded
from supervisord_lite.config.plan import Plan
from supervisord_lite.config.spec import Spec
from supervisord_lite.core.scale import ScaledByHand
from supervisord_lite.supervisor.reload import Done, Refusal
from tests.support.supervisor import Daemon, a_spec

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
