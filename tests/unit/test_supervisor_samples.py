"""What is told of a run from two looks at it, and from the first one."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from supervisord_lite.supervisor import sampling_child
from tests.support.supervisor import Daemon, a_spec

WEB = ("web", 1)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Return one with a worker that runs."""
    made = Daemon(a_spec("web", ready_after_s=0.0))
    made.settle()
    yield made
    made.close()


def look(daemon: Daemon, *, cpu_s: float, age_s: float) -> float:
    """Let somebody ask and be answered; return which share of a core is told."""
    samples = daemon.supervisor._samples
    told: list[Any] = []
    samples.ask([WEB], lambda: told.append(True))
    daemon.samplings[-1].says([4096, 4096, cpu_s, 3, 1, 1, None, 77, age_s])
    daemon.supervisor._poller.wait(0.0)
    daemon.turn()
    assert told
    usage = samples.of(WEB, daemon.workers[WEB].run)
    assert usage is not None
    return usage.cpu_percent


def test_the_first_look_counts_from_the_birth_of_the_process(daemon: Daemon) -> None:
    """It had worked before its run began: while it was set up."""
    assert look(daemon, cpu_s=1.0, age_s=4.0) == 25.0
    daemon.clock.s += 10.0
    assert look(daemon, cpu_s=2.0, age_s=14.0) == 10.0


def test_what_an_old_kernel_does_not_add_up_is_added_up_the_same() -> None:
    """The sum over the mappings of a process is what newer kernels say themselves."""
    said = sampling_child._pss_bytes(os.getpid())
    added_up = sampling_child._pss_added_up(os.getpid())
    assert said
    assert added_up
    assert abs(said - added_up) < 0.1 * said


def test_nobody_uses_more_than_the_box_has(daemon: Daemon) -> None:
    """What is counted in ticks may come to more in the first moments."""
    assert look(daemon, cpu_s=0.02, age_s=0.0) == 100.0 * (os.cpu_count() or 1)


def test_a_run_that_has_ended_has_no_sample(daemon: Daemon) -> None:
    """What was known of it is not told of the next one."""
    look(daemon, cpu_s=1.0, age_s=4.0)
    samples = daemon.supervisor._samples
    assert samples.of(WEB, 2) is None
    (run,) = daemon.keeper.live()
    daemon.keeper.end(run, 0)
    daemon.settle()
    assert samples.of(WEB, 1) is None
