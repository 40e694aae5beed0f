"""The daemon's processes as /proc has them, and signals that reach nobody else."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from supervisord_lite.base import procfs

OWN = ("supervisor", "scribe")


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment; pid and start tell it from all others."""

    pid: int
    parent: int
    session: int
    started: int
    threads: int
    rss_bytes: int
    state: str
    comm: str


def look(pid: int) -> Process | None:
    """Return a process, None if there is none (a zombie is one)."""
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")
    except OSError:
        return None
    fields = tail.split()
    return Process(
        pid=pid,
        parent=int(fields[procfs.PARENT]),
        session=int(fields[procfs.SESSION]),
        started=int(fields[procfs.STARTED_TICKS]),
        threads=int(fields[procfs.THREADS]),
        rss_bytes=int(fields[procfs.RSS_PAGES]) * os.sysconf("SC_PAGE_SIZE"),
        state=fields[procfs.STATE].decode(),
        comm=head.partition(b"(")[2].decode(errors="replace"),
    )


class Family:
    """All descendants of one process at one moment, by pid; zombies are none any more."""

    def __init__(self, root: int) -> None:
        """Look at all processes once."""
        self.root = root
        children: dict[int, list[Process]] = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and (found := look(int(name))) and found.state not in "ZX":
                children.setdefault(found.parent, []).append(found)
        self._children = children
        self.all: dict[int, Process] = {}
        at_hand = [root]
        while at_hand:
            for child in children.get(at_hand.pop(), ()):
                self.all[child.pid] = child
                at_hand.append(child.pid)

    def children(self, pid: int) -> list[Process]:
        """Return the children of one of them."""
        return self._children.get(pid, [])

    def role(self, role: str) -> Process | None:
        """Return the daemon's own process of that role, None while it is being replaced."""
        name = f"sdl-{role}"
        return next((each for each in self.children(self.root) if each.comm == name), None)

    def own(self) -> Iterator[tuple[str, Process]]:
        """Yield the daemon's resident processes that are there, with their roles."""
        if (keeper := look(self.root)) is not None:
            yield "keeper", keeper
        for role in OWN:
            if (found := self.role(role)) is not None:
                yield role, found

    def forkservers(self) -> list[Process]:
        """Return the interpreters that workers are forked from."""
        return [each for each in self.children(self.root) if b"warm" in words(each.pid)[:4]]


def words(pid: int) -> list[bytes]:
    """Return the command line of a process, nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def variable(pid: int, name: str) -> str:
    """Return a variable of a process's environment, empty without it."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    head = f"{name}=".encode()
    return next((each[len(head) :].decode() for each in entries if each.startswith(head)), "")


def send(victim: Process, number: int) -> bool:
    """Send a signal to exactly this process; return whether it was still there."""
    try:
        own = os.pidfd_open(victim.pid)
    except OSError:
        return False
    try:
        now = look(victim.pid)
        if now is None or now.started != victim.started:
            return False
        signal.pidfd_send_signal(own, number)
    except OSError:
        return False
    finally:
        os.close(own)
    return True


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open, 0 if nobody may look."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
