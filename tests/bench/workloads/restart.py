"""SIZE commands or Python workers, each killed once by SIGKILL, one after another.

Measured is the time from the kill to the birth of the successor.
"""

import os
import signal
import statistics
import time

from tests.bench.contender import Contender
from tests.bench.workloads.common import BIRTHS_S, LIVED_S, Figures, bring_up, sleepers

#: Between two kills. Crashes come alone: what one leaves warm in the kernel (moving a process to
#: another cgroup is then a thousand times faster) is cold again by the next.
_PAUSE_S = 0.1
#: One that takes seconds for a restart is asked for fewer of them.
_RESTARTS_S = 6.0


def restart(contender: Contender, size: int) -> Figures:
    """Measure restarts of commands; every successor comes, and once."""
    bring_up(contender, sleepers(contender, size), quiet_s=LIVED_S)
    return _kill_each(contender, size)


def python_restart(contender: Contender, size: int) -> Figures:
    """Measure restarts of Python workers."""
    contender.start_python(size)
    contender.births.wait_all(size, timeout_s=BIRTHS_S)
    contender.rest(LIVED_S)
    return _kill_each(contender, size)


def _kill_each(contender: Contender, size: int) -> Figures:
    births = contender.births
    victims = births.every[:size]
    took_ms: list[float] = []
    end_s = time.monotonic() + _RESTARTS_S
    for victim in victims:
        before = len(births.every)
        killed_ns = time.monotonic_ns()
        os.kill(victim.pid, signal.SIGKILL)
        successor = births.wait_more(before, timeout_s=30.0)
        assert successor.pid != victim.pid
        took_ms.append((successor.at_ns - killed_ns) / 1e6)
        if time.monotonic() > end_s:
            break
        contender.pause(_PAUSE_S)
    births.read()
    count = len(births.every) - size
    assert count == len(took_ms), f"{count} births after {len(took_ms)} kills"
    took_ms.sort()
    return {
        "p50_ms": statistics.median(took_ms),
        "p99_ms": took_ms[(len(took_ms) * 99 - 1) // 100],
        "max_ms": took_ms[-1],
        "kills": len(took_ms),
    }
