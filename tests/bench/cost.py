"""What processes cost, read from /proc.

PSS shares a page's size among all processes that map it. This program is a Python process too, and
so takes a share of the interpreter's pages: for every contender written in Python alike.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_QUIET_CPU_S = 0.005


@dataclass(frozen=True)
class Cost:
    """Of one process or several, since their start.

    Attributes:
        cpu_s: User and system, to the nanosecond (schedstat, not clock ticks).
        wake_ups: Context switches, voluntary or not.
    """

    cpu_s: float
    wake_ups: int

    def since(self, before: "Cost") -> "Cost":
        """Return what was spent between *before* and this."""
        return Cost(self.cpu_s - before.cpu_s, self.wake_ups - before.wake_ups)


def cost(pids: Iterable[int]) -> Cost:
    """Return the sum over all threads of *pids*.

    Raises:
        OSError: One of them is gone; then the sum would mean nothing.
    """
    cpu_ns = 0
    wake_ups = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            cpu_ns += int((task / "schedstat").read_text().split()[0])
            for line in (task / "status").read_text().splitlines():
                if "ctxt_switches" in line:
                    wake_ups += int(line.split()[1])
    return Cost(cpu_ns / 1e9, wake_ups)


def pss_mib(pid: int) -> float | None:
    """Return the proportional share of memory; None where only root may read it."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:
        return None
    return sum(int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:") / 1024


def settle(pids: Iterable[int], *, quiet_s: float, timeout_s: float = 20.0) -> None:
    """Wait until *pids* use (nearly) no CPU for *quiet_s*; give up silently after *timeout_s*.

    Who works without a pause by its nature is measured as it is.
    """
    watched = list(pids)
    end_s = time.monotonic() + timeout_s
    while True:
        before = cost(watched)
        time.sleep(quiet_s)
        if cost(watched).since(before).cpu_s < _QUIET_CPU_S or time.monotonic() > end_s:
            return
