"""SIZE commands: from launch to the births of the first and the last of them."""

from tests.bench.contender import Contender
from tests.bench.cost import cost
from tests.bench.workloads.common import Figures, bring_up, sleepers


def start(contender: Contender, size: int) -> Figures:
    """Measure a cold start; and check that every command was started, and once."""
    bring_up(contender, sleepers(contender, size))
    contender.births.read()
    at_ns = [birth.at_ns for birth in contender.births.every]
    assert len(at_ns) == size, f"{len(at_ns)} births of {size} commands"
    return {
        "first_birth_s": (min(at_ns) - contender.launched_ns) / 1e9,
        "last_birth_s": (max(at_ns) - contender.launched_ns) / 1e9,
        "cpu_s": cost(contender.own()).cpu_s,
    }
