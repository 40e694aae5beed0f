"""What the keeper remembers: runs, numbered facts, and what the supervisor saved."""

from __future__ import annotations

import json
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.keeper.streams import Stream

Key = tuple[str, int, int]  #: pool, index, run

#: Of a run, what is handed on as it is.
_PLAIN = (
    "ended", "emptied", "killed", "last_fact", "spawned_at_s", "beat_s", "oom", "words",
    "last_words", "folder", "secret_files",
)  # fmt: skip


class Run:
    """One life of one slot.

    Attributes:
        key: (pool, index, run).
        pid: Of the leader; valid for signals while `ended` is False.
        marker: INVOCATION_ID in the environment of everything that it starts.
        cgroup: Path, or None.
        report: Read end of the set-up pipe while stages are still going, else -1.
        ended, emptied: The leader has been reaped; nothing of the tree is alive.
        killed: "pid name" of what was left behind and killed.
        recorded: pid -> start time (clock ticks) of descendants seen at the stop; without cgroup.
        last_fact: Number of the fact that ended it; it may be forgotten when that is applied.
        beat_s: When it gave its last sign of life; None: never.
        folder: Its own, with `secret_files` in it; empty: it has none for such.
        oom: What its cgroup has counted of kills for memory when the leader ended; None: nothing.
        words: The latest that it said of itself: "status", and "state" while it reloads or stops.
        last_words: Why it is about to end, as it said it: see last_words.py.
    """

    __slots__ = (
        "beat_s", "cgroup", "emptied", "ended", "folder", "key", "killed", "last_fact",
        "last_words", "marker", "oom", "pid", "recorded", "report", "secret_files",
        "spawned_at_s", "streams", "words",
    )  # fmt: skip

    def __init__(self, key: Key, pid: int, marker: str, cgroup: str | None) -> None:
        """Take over a process that was just forked."""
        self.key = key
        self.pid = pid
        self.marker = marker
        self.cgroup = cgroup
        self.report = -1
        self.ended = False
        self.emptied = False
        self.killed: list[str] = []
        self.recorded: dict[int, int] = {}
        self.last_fact = 0
        self.spawned_at_s = 0.0
        self.streams: list[Stream] = []
        self.beat_s: float | None = None
        self.oom: tuple[int, int | None, int | None] | None = None
        self.words: dict[str, str] = {}
        self.last_words = ""
        self.folder = ""
        self.secret_files: tuple[str, ...] = ()

    def pack(self) -> dict[str, Any]:
        """Return all but its streams and descriptors, as JSON."""
        own = {"key": self.key, "pid": self.pid, "marker": self.marker, "cgroup": self.cgroup}
        own.update((name, getattr(self, name)) for name in _PLAIN)
        own["recorded"] = list(self.recorded.items())
        return own

    @classmethod
    def unpacked(cls, said: dict[str, Any]) -> Run:
        """Return what was packed; without streams."""
        run = cls(key_of(said["key"]), said["pid"], said["marker"], said.get("cgroup"))
        for name in _PLAIN:
            setattr(run, name, said.get(name, getattr(run, name)))
        run.recorded = dict(said.get("recorded", ()))
        run.secret_files = tuple(run.secret_files)
        return run


class Table:
    """Runs, facts and saves. No system calls here."""

    def __init__(self, saves: dict[str, str]) -> None:
        """Begin with the saves that `run` prepared (specs and settings)."""
        self.saves = saves
        self.runs: dict[Key, Run] = {}
        self.by_pid: dict[int, Run] = {}
        self.facts: deque[dict[str, Any]] = deque()
        self.applied = 0
        self.last = 0  #: number of the latest fact
        self._latest: dict[tuple[str, int], int] = {}
        # Asked for, and neither there nor failed: the process of a fork may still come.
        self._awaited: dict[Key, None] = {}
        self._over: deque[Run] = deque()

    def is_known(self, key: Key) -> bool:
        """Return whether this run, or a later one of its slot, was already asked for."""
        return key[2] <= self._latest.get(key[:2], 0)

    def note_asked(self, key: Key) -> None:
        """Remember that this run was asked for: asked twice, it is started once."""
        self._latest[key[:2]] = key[2]
        self._awaited[key] = None

    def add(self, run: Run) -> None:
        """Enter a run that was just forked."""
        assert run.pid not in self.by_pid
        self._awaited.pop(run.key, None)
        self.runs[run.key] = run
        self.by_pid[run.pid] = run

    def note_reaped(self, run: Run) -> None:
        """The leader is reaped: its pid means nothing any more."""
        run.ended = True
        del self.by_pid[run.pid]

    def note_emptied(self, run: Run, last_fact: int) -> None:
        """Nothing of the run is alive; it is forgotten once *last_fact* has been applied."""
        run.emptied = True
        run.last_fact = last_fact
        self._over.append(run)

    def fact(self, kind: str, at_s: float, key: Key | None = None, **fields: object) -> int:
        """Number and keep a fact until it has been applied; return its number."""
        self.last += 1
        fact: dict[str, Any] = {"n": self.last, "fact": kind, "at_s": at_s}
        if key is not None:
            fact["pool"], fact["index"], fact["run"] = key
        if key is not None and kind == "spawn_failed":
            self._awaited.pop(key, None)
        fact.update(fields)
        self.facts.append(fact)
        return self.last

    def save(self, saves: dict[str, str | None], applied: int) -> None:
        """Keep what the supervisor says; forget facts and runs that it has dealt with."""
        for key, text in saves.items():
            if text is None:
                self.saves.pop(key, None)
                self._forget_asked(key)
            else:
                self.saves[key] = text
        self.applied = max(self.applied, min(applied, self.last))
        while self.facts and self.facts[0]["n"] <= self.applied:
            self.facts.popleft()
        while self._over and self._over[0].last_fact <= self.applied:
            del self.runs[self._over.popleft().key]

    def _forget_asked(self, key: str) -> None:
        """Forget what was asked for a slot whose record is forgotten.

        That comes behind every request for it, and its numbers are not used again: the supervisor
        keeps one that is as high for all such slots.
        """
        kind, _, slot = key.partition("/")
        if kind == "worker":
            pool, _, index = slot.rpartition("/")
            self._latest.pop((pool, int(index)), None)

    def page(self, after: int, most: int) -> list[dict[str, Any]]:
        """Return the next facts after number *after*; at least one, if there is one."""
        first = self.facts[0]["n"]
        start = max(0, after + 1 - first)
        return [self.facts[at] for at in range(start, min(start + most, len(self.facts)))]

    def handover(self, **about: object) -> str:
        """Return all that a new supervisor is told, with *about* (the keeper itself)."""
        return json.dumps(
            {
                "saves": self.saves,
                "applied": self.applied,
                "facts": list(self.facts),
                "inventory": self.inventory(),
                **about,
            }
        )

    def pack(self) -> dict[str, Any]:
        """Return all but the runs, as JSON, for a keeper that succeeds to this one."""
        return {
            "saves": self.saves,
            "facts": list(self.facts),
            "applied": self.applied,
            "last": self.last,
            "latest": [[*slot, run] for slot, run in self._latest.items()],
            "awaited": list(self._awaited),
        }

    def unpack(self, said: dict[str, Any], runs: list[Run]) -> None:
        """Go on with what was packed, and with *runs* in the order of before."""
        self.saves = said.get("saves", {})
        self.facts = deque(said.get("facts", ()))
        self.applied = said.get("applied", 0)
        self.last = said.get("last", 0)
        self._latest = {(pool, index): run for pool, index, run in said.get("latest", ())}
        self._awaited = {key_of(key): None for key in said.get("awaited", ())}
        self.runs = {run.key: run for run in runs}
        self.by_pid = {run.pid: run for run in runs if not run.ended}
        over = (run for run in runs if run.emptied)
        self._over = deque(sorted(over, key=lambda run: run.last_fact))

    def inventory(self) -> list[dict[str, Any]]:
        """Return the runs that are not empty yet, or may still begin, for a new supervisor."""
        awaited: list[dict[str, Any]] = [
            {"pool": p, "index": i, "run": r, "pid": None, "spawned_at_s": 0.0, "words": {}}
            for p, i, r in self._awaited
        ]
        return awaited + [
            {
                "pool": run.key[0],
                "index": run.key[1],
                "run": run.key[2],
                "pid": None if run.ended else run.pid,
                "spawned_at_s": run.spawned_at_s,
                "words": run.words,
            }
            for run in self.runs.values()
            if not run.emptied
        ]


def key_in(request: dict[str, Any]) -> Key:
    """Return the key of the run that a request of the supervisor is about."""
    return (request["pool"], request["index"], request["run"])


def key_of(said: list[Any]) -> Key:
    """Return the key of a run that was said as JSON."""
    pool, index, run = said
    return (pool, index, run)
