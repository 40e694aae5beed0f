"""SIZE commands that sleep: what watching them costs in a while, and the memory."""

import time
from collections.abc import Iterator

from tests.bench.contender import Contender
from tests.bench.cost import cost, pss_mib
from tests.bench.workloads.common import Figures, Workload, bring_up, sleepers


def idle(seconds: float, *, from_size: int) -> Workload:
    """Return the workload that watches sleepers for so many seconds.

    Args:
        seconds: How long.
        from_size: With fewer commands only the memory is looked at.
    """

    def measure(contender: Contender, size: int) -> Figures:
        bring_up(contender, sleepers(contender, size), quiet_s=1.0)
        own = contender.own()
        figures: Figures = {}
        if size >= from_size:
            before = cost(own)
            time.sleep(seconds)
            spent = cost(own).since(before)
            figures = {"cpu_ms": spent.cpu_s * 1e3, "wake_ups": float(spent.wake_ups)}
        assert contender.own() == own, "its own processes have changed while nothing happened"
        assert len(contender.births.pids) == size, "a command was started again"
        return figures | dict(_memory(own))

    return measure


def _memory(own: dict[int, str]) -> Iterator[tuple[str, float]]:
    """Yield the PSS in all, and of each kind of process where there are several."""
    by_label: dict[str, float] = {}
    for pid, label in own.items():
        share = pss_mib(pid)
        if share is None:
            return
        by_label[label] = by_label.get(label, 0.0) + share
    yield "pss_mib", sum(by_label.values())
    if len(by_label) > 1:
        yield from ((f"pss_{label}_mib", share) for label, share in by_label.items())
