"""What a whole run consists of: workloads, sizes, how often, and how long at most."""

from dataclasses import dataclass

from tests.bench.workloads.adoption import adoption
from tests.bench.workloads.common import Workload
from tests.bench.workloads.flood import flood
from tests.bench.workloads.idle import idle
from tests.bench.workloads.lines import lines
from tests.bench.workloads.python_start import python_start
from tests.bench.workloads.reload import reload
from tests.bench.workloads.restart import python_restart, restart
from tests.bench.workloads.start import start
from tests.bench.workloads.status import status
from tests.bench.workloads.stop import stop
from tests.bench.workloads.storm import storm


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        name: Of the workload.
        measure: The workload.
        sizes: Of all of them.
        repetitions: At most so many.
        budget_s: Who would need longer for all repetitions of one size is asked for fewer of them,
            but always for one.
        seconds: How long it looks on, where it does; else 0.
    """

    name: str
    measure: Workload
    sizes: tuple[int, ...]
    repetitions: int
    budget_s: float
    seconds: float = 0.0


#: Of each workload: sizes, repetitions and the budget of one contender in seconds. Those that only
#: look on are long by nature, and so come last (see Bench).
_DEFAULTS: dict[str, tuple[tuple[int, ...], int, float]] = {
    "start": ((100, 1000), 3, 10.0),
    "python-start": ((200,), 5, 12.0),
    "restart": ((30,), 3, 20.0),
    "python-restart": ((15,), 3, 15.0),
    "flood": ((256,), 3, 12.0),
    "lines": ((200,), 2, 20.0),
    "status": ((500,), 3, 15.0),
    "reload": ((500,), 3, 12.0),
    "stop": ((500,), 3, 15.0),
    "adoption": ((500,), 3, 30.0),
    "idle": ((100, 500), 2, 30.0),
    "storm": ((50,), 1, 30.0),
}
NAMES = tuple(_DEFAULTS)
#: How long some look on.
_SECONDS = {"idle": 20.0, "lines": 5.0, "storm": 10.0}


def plan(
    name: str, *, sizes: tuple[int, ...] = (), repetitions: int = 0, seconds: float = 0.0
) -> Plan:
    """Return the plan of the workload *name*; without other words that of a whole run.

    Args:
        name: One of NAMES.
        sizes: Other ones.
        repetitions: Just so many, whatever the time.
        seconds: For those that look on for a while.
    """
    usual_sizes, usual_repetitions, budget_s = _DEFAULTS[name]
    sizes = sizes or usual_sizes
    looks_on_s = (seconds or _SECONDS[name]) if name in _SECONDS else 0.0
    if repetitions:
        budget_s = float("inf")
    measure = _measure(name, looks_on_s, from_size=max(sizes))
    return Plan(name, measure, sizes, repetitions or usual_repetitions, budget_s, looks_on_s)


def _measure(name: str, seconds: float, *, from_size: int) -> Workload:
    match name:
        case "idle":
            return idle(seconds, from_size=from_size)
        case "lines":
            return lines(seconds)
        case "storm":
            return storm(seconds)
        case _:
            return _PLAIN[name]


_PLAIN: dict[str, Workload] = {
    "start": start,
    "python-start": python_start,
    "restart": restart,
    "python-restart": python_restart,
    "flood": flood,
    "status": status,
    "reload": reload,
    "stop": stop,
    "adoption": adoption,
}
