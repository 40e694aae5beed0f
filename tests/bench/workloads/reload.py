"""SIZE commands run; then one is changed and one is added: until both are born anew."""

import time

from tests.bench.contender import Contender
from tests.bench.ends import living
from tests.bench.workloads.common import (
    LIVED_S,
    Figures,
    a_command,
    bring_up,
    name_of,
    sleepers,
)

_RELOAD_S = 60.0


def reload(contender: Contender, size: int) -> Figures:
    """Measure from the order to the later of both births; all others keep their processes."""
    commands = sleepers(contender, size)
    bring_up(contender, commands, quiet_s=LIVED_S)
    births = contender.births
    others = {birth.pid for birth in births.every if birth.name != name_of(0)}
    begun_ns = time.monotonic_ns()
    added = a_command(contender, size)
    contender.reload([a_command(contender, 0, "changed"), *commands[1:], added])
    births.wait_more(size + 1, timeout_s=_RELOAD_S)
    new = {birth.name for birth in births.every[size:]}
    assert new == {name_of(0), name_of(size)}, f"born by the reload: {sorted(new)[:5]}"
    lost = len(others) - len(living(others))
    assert not lost, f"{lost} others were ended"
    return {"both_s": (max(birth.at_ns for birth in births.every[size:]) - begun_ns) / 1e9}
