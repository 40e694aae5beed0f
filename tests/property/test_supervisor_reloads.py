"""A supervisor that is killed in the middle of a reload has changed all of it, or nothing."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from supervisord_lite.config.spec import Spec
from supervisord_lite.core.policy import Rung
from supervisord_lite.core.states import Running, Stopping
from tests.support.supervisor import Daemon, a_spec

pytestmark = pytest.mark.slow


@st.composite
def fleets(draw: st.DrawFn) -> list[Spec]:
    """Return a configuration; what a spec is like can be seen in its first argument."""
    specs = []
    for pool in draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1)):
        word = draw(st.sampled_from(["one", "two", "x" * 90_000]))
        requires = draw(st.sampled_from([(), ("a",)])) if pool != "a" else ()
        specs.append(
            a_spec(
                pool,
                draw(st.integers(1, 3)),
                launch={"argv": (word,)},
                requires=requires,
                stop_ladder=(Rung(draw(st.sampled_from([2, 15])), 10.0),),
            )
        )
    names = {spec.pool for spec in specs}
    return [spec for spec in specs if set(spec.requires) <= names]


def run_up(daemon: Daemon) -> None:
    """Let everything start that may, and everything end that is told to."""
    for _ in range(20):
        daemon.settle()
        told = {(ask["pool"], ask["index"], ask["run"]) for ask in daemon.keeper.signalled}
        for run in daemon.keeper.live():
            if run.key in told:
                daemon.keeper.end(run, 0)
        daemon.settle()
        if all(isinstance(worker.state, Running) for worker in daemon.workers.values()):
            return
        daemon.pass_s(1.0)
    message = f"they do not come up: {daemon.workers}"
    raise AssertionError(message)


def what_runs(daemon: Daemon) -> dict[tuple[str, int], Any]:
    """Return the first argument of each process, by slot."""
    live = [run.key for run in daemon.keeper.live()]
    assert len({key[:2] for key in live}) == len(live), "two processes of one worker"
    return {key[:2]: daemon.keeper.spawned[key]["argv"][0] for key in live}


def wanted(specs: list[Spec]) -> dict[tuple[str, int], Any]:
    return {
        (spec.pool, index): spec.launch.argv[0]
        for spec in specs
        for index in range(1, spec.pool_size + 1)
    }


@settings(deadline=None, max_examples=100, print_blob=True)
@given(fleets(), fleets(), st.integers(0, 3), st.lists(st.integers(0, 3), max_size=4))
def test_a_reload_is_whole_or_nothing(
    old: list[Spec], new: list[Spec], dies_after: int, more_deaths: list[int]
) -> None:
    """At whichever message it dies: the old file or the new one is in force, and comes up."""
    assume(new or not old)  # a file without any worker is refused
    daemon = Daemon(*old)
    try:
        run_up(daemon)
        pids = {run.key: run.pid for run in daemon.keeper.live()}
        daemon.write(*new)
        daemon.reload()
        daemon.turn(dies_after=dies_after)
        in_force = new if dies_after else old
        assert [spec.pool for spec in daemon.supervisor._fleet.specs.values()] == [
            spec.pool for spec in in_force
        ]
        assert list(daemon.supervisor._fleet.specs.values()) == in_force
        for moment in more_deaths:
            daemon.turn(dies_after=moment)
        run_up(daemon)
        assert what_runs(daemon) == wanted(in_force)
        if in_force is old:
            assert {run.key: run.pid for run in daemon.keeper.live()} == pids
        before, after = wanted(old), wanted(in_force)
        ladders = {spec.pool: spec.policy.stop_ladder[0].signal for spec in old}
        for key in pids:
            stays = before[key[:2]] == after.get(key[:2])
            alive = key in {run.key for run in daemon.keeper.live()}
            assert alive == stays, f"{key}: only what changed is touched"
        for ask in daemon.keeper.signalled:
            assert ask["signal"] == ladders[ask["pool"]]
        assert not daemon.supervisor._fleet.leaving
        assert not any(isinstance(worker.state, Stopping) for worker in daemon.workers.values())
    finally:
        daemon.close()
