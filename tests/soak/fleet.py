"""Which workers a soak has, and the file that says so."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(__file__).with_name("programs.py")
#: Of the daemon's folder, where workers write down what they did; see programs.py.
WORLD = "world"
#: Nobody restarts more often than that, so that storms of kills open no breaker.
_DEFAULTS = (
    "[defaults]\nready = 'spawned'\nmax_restarts = 1000\ncircuit_window = '1m'\n"
    "backoff.min = '50ms'\nbackoff.max = '1s'\nstop_timeout = '2s'\n"
    "log.max_size = '256K'\nlog.backups = 1000\n"
    "environment.SOAK = '@DIR@/world'\nenvironment.PYTHONDONTWRITEBYTECODE = '1'\n"
)
#: Of the workers that fail at once.
TRIPS = 3
COOLDOWN_S = 2.0
_TRIPS = (
    f"max_restarts = {TRIPS}\ncircuit_window = '1h'\n"
    "backoff.max = '100ms'\nbackoff.jitter = false\n"
)


@dataclass(frozen=True)
class Pool:
    """Some workers that are alike.

    Attributes:
        kind: What each does, by its name in programs.py; "forked" and "bulk" are others.
        keys: More lines of its table.
        may: What may happen to it: "kill" (any signal from outside), "order" (stop, start and
            restart by clients), "change" (another configuration), "scale".
        says: It numbers its lines, and none of them may be missing.
        form: Of its log.
        stays: It runs all the time, unless somebody stops it.
    """

    name: str
    kind: str
    size: int
    keys: str = ""
    may: frozenset[str] = frozenset({"kill", "order", "change"})
    says: bool = True
    form: str = "raw"
    stays: bool = True

    @property
    def slots(self) -> list[str]:
        """Return the names of its workers."""
        return slots_of(self.name, self.size)

    def table(self, size: int | None = None, more: str = "") -> str:
        """Return its table in the file."""
        if self.kind == "forked":
            program = (
                f"python = 'programs:forked'\ndirectory = {json.dumps(str(PROGRAMS.parent))}\n"
                "preload = ['programs']\nlog.stderr = 'null'\n"
            )
        elif self.kind == "bulk":
            lock = f"@DIR@/{WORLD}/locks/{self.name}-%i.a"
            words = ["flock", "-n", "-F", "-E", "97", lock, "sleep", "100000"]
            program = f"command = {json.dumps(words)}\n"
        else:
            words = [sys.executable, "-ISu", str(PROGRAMS), self.kind]
            program = f"command = {json.dumps(words)}\n"
        form = "" if self.form == "raw" else f"log.format = '{self.form}'\n"
        head = f"[worker.{self.name}]\npool_size = {size or self.size}\n"
        return f"{head}{program}{form}{self.keys}{more}"


def slots_of(pool: str, size: int) -> list[str]:
    """Return the names of the workers of a pool."""
    return [pool] if size == 1 else [f"{pool}-{number}" for number in range(1, size + 1)]


@dataclass
class Fleet:
    """All pools, and where those write whose disk is in trouble.

    Attributes:
        pools: By name.
        full: A small file system, or None where none may be mounted.
        ice: One that may be frozen, or None.
    """

    pools: dict[str, Pool] = field(default_factory=dict)
    full: Path | None = None
    ice: Path | None = None

    def slots(self, right: str = "") -> list[str]:
        """Return all workers to whom that may happen; without a word all."""
        return [
            slot
            for pool in self.pools.values()
            if not right or right in pool.may
            for slot in pool.slots
        ]

    def text(self, changed: dict[str, str] | None = None) -> str:
        """Return the tables of the file, with more keys for some pools."""
        more = changed or {}
        return _DEFAULTS + "".join(
            pool.table(more=more.get(name, "")) for name, pool in self.pools.items()
        )

    def log_of(self, slot: str, folder: Path) -> Path:
        """Return where the output of a worker goes, in a daemon of that folder."""
        disks = {"full": self.full, "ice": self.ice}
        disk = disks.get(slot.rpartition("-")[0])
        return (disk or folder / "log") / f"{slot}.log"


def make_fleet(count: int, full: Path | None, ice: Path | None) -> Fleet:
    """Return a fleet of *count* workers, 40 or more, of every kind."""
    nobody: frozenset[str] = frozenset()
    kill = frozenset({"kill"})
    share = max(0, count - 36)
    pools = [
        Pool("calm", "calm", 3, may=nobody),
        Pool("trip", "trip", 1, _TRIPS, may=nobody, says=False, stays=False),
        Pool("cool", "trip", 1, f"{_TRIPS}circuit_cooldown = '{COOLDOWN_S:g}s'\n", may=nobody,
             says=False, stays=False),
        Pool("job", "job", 2, "schedule.every = '1s'\nrestart = 'on-failure'\n", may=kill,
             stays=False),
        Pool("ears", "ears", 2, "events = ['worker.*', 'config.*']\nrestart = 'always'\n",
             may=kill),
        Pool("web", "web", 2, "ready = '100ms'\nsockets.http = 'unix:@DIR@/web.sock'\n"),
        Pool("beat", "beat", 2, "ready = 'notify'\nheartbeat_timeout = '6s'\n"),
        Pool("full", "lines", 2, _place(full, "full")),
        Pool("ice", "lines", 2, _place(ice, "ice")),
        Pool("elastic", "lines", 4, may=frozenset({"kill", "scale"})),
        Pool("packed", "lines", 2, "log.max_size = '64K'\nlog.compress = true\n"),
        Pool("json", "lines", 2, form="json"),
        Pool("deaf", "deaf", 2 + share // 40, "stop_timeout = '300ms'\n"),
        Pool("fork", "fork", 2 + share // 40),
        Pool("crash", "crash", 3 + share // 16),
        Pool("py", "forked", 4 + share // 8),
    ]  # fmt: skip
    rest = count - sum(pool.size for pool in pools)
    assert rest >= 4, "there are fewer workers than kinds"
    pools.append(Pool("lines", "lines", rest // 2))
    pools.append(Pool("bulk", "bulk", rest - rest // 2, says=False))
    return Fleet({pool.name: pool for pool in pools}, full, ice)


def _place(disk: Path | None, name: str) -> str:
    """Return where a pool logs whose disk will be in trouble."""
    if disk is None:
        return ""
    return f"log.stdout = '{disk}/{name}-%i.log'\nlog.max_size = '1M'\n"
