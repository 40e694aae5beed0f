"""SIZE Python workers with grown imports: until the last one runs, and what they weigh."""

from tests.bench.contender import Contender
from tests.bench.cost import pss_mib
from tests.bench.workloads.common import BIRTHS_S, Figures


def python_start(contender: Contender, size: int) -> Figures:
    """Measure a cold start of Python workers; their memory is the contender's too."""
    contender.start_python(size)
    births = contender.births
    births.wait_all(size, timeout_s=BIRTHS_S)
    contender.rest(0.3)
    own = contender.own()
    births.read()
    assert len(births.every) == size, f"{len(births.every)} births of {size} workers"
    figures = {
        "ready_s": (max(birth.at_ns for birth in births.every) - contender.launched_ns) / 1e9
    }
    shares = [pss_mib(pid) for pid in (*births.pids, *own)]
    if None not in shares:  # else only root may look
        figures["pss_mib"] = sum(filter(None, shares))
    return figures
