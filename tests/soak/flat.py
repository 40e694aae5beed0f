"""Whether anything grows: counted when all is calm, and measured all the time.

*Counts* (descriptors, threads, processes, files, cgroups) are exact: after each round of faults,
when the fleet is as it was in the beginning, they must come back to what they were, but for `SLACK`
of each: a job may just run, and a connection of ours may just be served.

*Memory* is not: what a life needs depends on how long it is and what has happened in it. So it is
sampled each second, and a straight line is laid through the second half of the samples. What the
line climbs from its beginning to its end must stay below `GROWTH_BYTES`. The keeper is one process
all the time: in ten minutes with 1200 faults, and some thousand runs that come and go, a leak of
half a kilobyte for each run would exceed its bound, and the allocator does not, which takes 256 KiB
to 1 MiB at a time. Supervisor and scribe die every few seconds here; what the next one needs grows
while it lives, by the buffers of what it meets (a flood, a status of all), and is between 12 and 16
MiB whenever it is looked at. So of them only what would be inherited from one life to the next can
be seen: a record that grows is loaded by each of them.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.soak.processes import Family, descriptors
from tests.soak.watch import count_files
from tests.support import cgroups

MIB = 1024 * 1024
SLACK = 4
#: What the line may climb in the second half.
GROWTH_BYTES = {"keeper": 1 * MIB, "scribe": 4 * MIB, "supervisor": 4 * MIB}
#: A file of the state folder has something of each worker in it: of one that fails all the time the
#: failures inside its window.
STATE_BYTES_PER_WORKER = 2048


@dataclass(frozen=True)
class Counts:
    """What there is at one moment."""

    keeper_fds: int
    supervisor_fds: int
    scribe_fds: int
    keeper_threads: int
    supervisor_threads: int
    scribe_threads: int
    processes: int
    runtime_files: int
    cgroups: int

    def beyond(self, before: "Counts") -> dict[str, tuple[int, int]]:
        """Return what is more than it was, with both."""
        old, new = asdict(before), asdict(self)
        return {name: (old[name], new[name]) for name in new if new[name] > old[name] + SLACK}


def count(keeper_pid: int, runtime: Path) -> Counts | None:
    """Count, or return None while one of the daemon's processes is being replaced."""
    family = Family(keeper_pid)
    own = dict(family.own())
    if len(own) < 3:
        return None
    home = cgroups.own()
    return Counts(
        **{f"{role}_fds": descriptors(own[role].pid) for role in own},
        **{f"{role}_threads": own[role].threads for role in own},
        processes=len(family.all),
        runtime_files=count_files(runtime),
        cgroups=0 if home is None else sum(1 for _ in cgroups.below(home)),
    )


class Sampler:
    """Memory of the daemon's processes, each second.

    Attributes:
        samples: By role: (seconds since the beginning, resident bytes).
    """

    def __init__(self, keeper_pid: int) -> None:
        """Begin."""
        self._keeper_pid = keeper_pid
        self.samples: dict[str, list[tuple[float, int]]] = {role: [] for role in GROWTH_BYTES}
        self._is_over = threading.Event()
        self._begun_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(1.0):
            at_s = time.monotonic() - self._begun_s
            for role, process in Family(self._keeper_pid).own():
                self.samples[role].append((at_s, process.rss_bytes))

    def close(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join(10)

    def growth_bytes(self, role: str) -> float:
        """Return what the line through the second half climbs."""
        samples = self.samples[role]
        half = samples[len(samples) // 2 :]
        if len(half) < 3:
            return 0.0
        return slope(half) * (half[-1][0] - half[0][0])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line through some points, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def state_sizes(state: Path) -> dict[str, int]:
    """Return the sizes of what is kept in the state folder, but for the journal, which rotates."""
    return {
        path.name: path.stat().st_size
        for path in state.iterdir()
        if path.is_file() and not path.name.startswith("events.jsonl")
    }
