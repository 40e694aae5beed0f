"""SIZE commands run, some of which have double-forked a grandchild: until all is over."""

from tests.bench.contender import Contender
from tests.bench.ends import living, wait_ends
from tests.bench.workloads.common import (
    LIVED_S,
    Figures,
    a_command,
    bring_up,
    name_of,
    sleepers,
)
from tests.support import leftovers

_WITH_GRANDCHILD = 50
_STOP_S = 60.0


def stop(contender: Contender, size: int) -> Figures:
    """Measure from the order until the contender and its commands are gone; count what is left."""
    number = min(_WITH_GRANDCHILD, size // 2)
    commands = [a_command(contender, index, "daemonize") for index in range(number)]
    commands += sleepers(contender, size)[number:]
    grandchildren = [f"{name_of(index)}.grand" for index in range(number)]
    bring_up(contender, commands, quiet_s=LIVED_S, others=grandchildren)
    births = contender.births
    grand = {birth.pid for birth in births.every if birth.name.endswith(".grand")}
    ending = (births.pids | set(contender.own())) - grand
    took_s = wait_ends(ending, contender.request_stop, timeout_s=_STOP_S)
    left = living(grand)
    leftovers.kill(left)
    contender.check_end()
    return {"gone_s": took_s, "left": len(left)}
