"""What processes use now: one pass over /proc for all trees, only when somebody asks."""

import os

from supervisord_lite.base import procfs
from supervisord_lite.base.clock import Clock
from supervisord_lite.base.record import record

#: A sample younger than this answers the next question too.
FRESH_S = 2.0

#: Of a tree, from leader to leaf.
_DEEPEST = 1000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@record
class Usage:
    """Of one tree.

    Attributes:
        rss_bytes: Resident memory, shared pages counted in each process.
        cpu_percent: Of one core; since the sample before, or since the start.
    """

    rss_bytes: int
    cpu_percent: float


class Samples:
    """The latest sample of every leader."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nothing sampled."""
        self._clock = clock
        self._at_s = float("-inf")
        self._cpu_s: dict[int, float] = {}
        self._cpu_at_s = 0.0
        self.usage: dict[int, Usage] = {}

    def refresh(self, leaders: dict[int, float]) -> None:
        """Sample anew, unless the latest is fresh.

        Args:
            leaders: Of all trees: pid -> monotonic seconds of its start.
        """
        now_s = self._clock.now_s()
        if now_s - self._at_s < FRESH_S:
            return  # whoever was born since has no sample yet
        totals = _trees(set(leaders))
        usage = {}
        for pid, (rss_bytes, cpu_s) in totals.items():
            since_s, before_s = self._cpu_at_s, self._cpu_s.get(pid)
            if before_s is None or before_s > cpu_s:
                since_s, before_s = leaders[pid], 0.0
            span_s = max(now_s - since_s, 1e-3)
            usage[pid] = Usage(rss_bytes, round(100 * (cpu_s - before_s) / span_s, 1))
        self._at_s = self._cpu_at_s = now_s
        self._cpu_s = {pid: cpu_s for pid, (_, cpu_s) in totals.items()}
        self.usage = usage


def _trees(leaders: set[int]) -> dict[int, tuple[int, float]]:
    """Return leader -> (resident bytes, CPU seconds) of it and everything below it."""
    parents: dict[int, int] = {}
    used: dict[int, tuple[int, float]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # a hot loop over bytes of /proc
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:  # noqa: PTH123
                fields = file.read(1024).rpartition(b")")[2].split()
        except OSError:
            continue
        parents[int(name)] = int(fields[procfs.PARENT])
        rss_bytes = int(fields[procfs.RSS_PAGES]) * _PAGE_BYTES
        used[int(name)] = (rss_bytes, procfs.cpu_s(fields))
    totals = {pid: (0, 0.0) for pid in leaders if pid in used}
    for pid, (rss_bytes, cpu_s) in used.items():
        at = pid
        # Bounded: a pid that was given away again during the pass could close a circle.
        for _ in range(_DEEPEST):
            if at in totals or at not in parents:
                break
            at = parents[at]
        if at in totals:
            total = totals[at]
            totals[at] = (total[0] + rss_bytes, total[1] + cpu_s)
    return totals
