"""The child that looks at processes: see sampling.py.

A question is {"trees": [{"pid", "pool", "index", "spawned_at_s", "cgroup"}, …], "close": true}; the
answer a list with one entry for each tree, null where its leader is not there any more::

    [rss bytes, pss bytes, cpu seconds, descriptors, threads, processes, memory.current, started,
     seconds since then]

What nobody could read is null. `started`, when the leader was forked, tells two with one pid apart.

Whose a process is: where the run has a cgroup, whoever is in it or below. Else the leader, its
descendants, its session, and whoever hangs below the keeper (which adopts orphans) and says in its
environment that it belongs to that slot. Never by a pid alone: a leader is a child of the keeper,
and not younger than its run; an orphan of a slot with two runs counts with the first that was asked
about; whatever is read of a process counts only when it is still the same
one afterwards, by its start time.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time

from supervisord_lite.base import procfs
from supervisord_lite.base.prctl import die_with_parent, set_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Whether the kernel adds up the mappings of a process by itself.
_HAS_ROLLUP = os.path.exists("/proc/self/smaps_rollup")  # noqa: PTH110
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: A closer look at all of a large fleet would take seconds: who asks for so many sees the rest of
#: them without PSS and descriptors.
_CLOSE_S = 1.0
#: Of clocks that are read one after the other, and count in ticks.
_SLACK_S = 1.0
#: Of a tree, from leader to leaf.
_DEEPEST = 1000
#: Of the number of an instance.
_MOST_DIGITS = 9

#: parent, session, started, rss bytes, cpu seconds, threads
Seen = tuple[int, int, int, int, float, int]


def main(arguments: list[str]) -> int:
    """Answer questions on 0 until its end; return the exit code.

    Args:
        arguments: The keeper's pid, and how many seconds an answer may take.
    """
    keeper_pid, limit_s = int(arguments[0]), float(arguments[1])
    die_with_parent()
    set_name("sdl-sampling")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with socket.socket(fileno=os.dup(0)) as own:
        own.setblocking(True)
        while True:
            signal.setitimer(signal.ITIMER_REAL, 0)
            data, descriptors, _, _ = socket.recv_fds(own, 1, 1)
            if not data:
                return 0
            signal.setitimer(signal.ITIMER_REAL, limit_s)
            with os.fdopen(descriptors[0], "rb") as file:
                file.seek(0)
                question = json.load(file)
            answer = json.dumps(look(question, keeper_pid), separators=(",", ":"))
            own.sendall(answer.encode() + b"\n")


def look(question: dict[str, Any], keeper_pid: int) -> list[list[Any] | None]:
    """Return the answer to a question."""
    seen = scan()
    trees = question["trees"]
    members = _members(trees, seen, keeper_pid)
    end_s = time.monotonic() + _CLOSE_S
    answers: list[list[Any] | None] = []
    for tree, pids in zip(trees, members, strict=True):
        is_close = bool(question.get("close")) and time.monotonic() < end_s
        answers.append(_sum(tree, pids, seen, is_close=is_close) if pids else None)
    return answers


def scan() -> dict[int, Seen]:
    """Return every process of the machine, in one pass."""
    found: dict[int, Seen] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # a hot loop over bytes of /proc
        if name.isdigit() and (seen := _stat(int(name))) is not None:
            found[int(name)] = seen
    return found


def _stat(pid: int) -> Seen | None:
    try:
        fields = _read(f"/proc/{pid}/stat", 1024).rpartition(b")")[2].split()
        return (
            int(fields[procfs.PARENT]),
            int(fields[procfs.SESSION]),
            int(fields[procfs.STARTED_TICKS]),
            int(fields[procfs.RSS_PAGES]) * _PAGE_BYTES,
            procfs.cpu_s(fields),
            int(fields[procfs.THREADS]),
        )
    except (OSError, IndexError):
        return None


def _read(path: str, most_bytes: int) -> bytes:
    """Return how a file of the kernel begins; of thousands of them a file object costs more."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, most_bytes)
    finally:
        os.close(descriptor)


def _members(
    trees: list[dict[str, Any]], seen: dict[int, Seen], keeper_pid: int
) -> list[list[int]]:
    """Return the pids of each tree, the leader first; empty where there is no such leader."""
    by_leader = {
        tree["pid"]: place
        for place, tree in enumerate(trees)
        if _is_leader(tree, seen.get(tree["pid"]), keeper_pid)
    }
    members: list[list[int]] = [[] for _ in trees]
    for pid, place in by_leader.items():
        members[place].append(pid)
    loose = {place for place in by_leader.values() if not _enter(trees[place], members[place])}
    if not loose:
        return members
    slots: dict[tuple[str, int], int] = {}
    for place in sorted(loose):
        slots.setdefault((trees[place]["pool"], trees[place]["index"]), place)
    for pid in seen:
        if pid in by_leader:
            continue
        found = _place(pid, seen, by_leader, slots, keeper_pid)
        if found is not None and found in loose:
            members[found].append(pid)
    return members


def _is_leader(tree: dict[str, Any], found: Seen | None, keeper_pid: int) -> bool:
    if found is None or found[0] != keeper_pid:
        return False
    awake_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    # The start counts from boot, and with what was slept through; so this is late, never early.
    spawned_s: float = tree["spawned_at_s"] + (since_boot_s - awake_s)
    return found[2] / _TICKS_PER_S <= spawned_s + _SLACK_S


def _enter(tree: dict[str, Any], pids: list[int]) -> bool:
    """Put whoever is in the cgroup of a run into *pids*; return whether it has one to go by."""
    path = tree.get("cgroup")
    if not path:
        return False
    try:
        inside = _inside(path)
    except OSError:
        return False
    if pids[0] not in inside:
        return False  # it has left its cgroup, or that is of another daemon
    pids += [pid for pid in inside if pid != pids[0]]
    return True


def _inside(path: str) -> list[int]:
    pids: list[int] = []
    for folder, _, _ in os.walk(path):
        with open(f"{folder}/cgroup.procs", "rb", buffering=0) as file:  # noqa: PTH123
            pids += map(int, file.read().split())
    return pids


def _place(
    pid: int,
    seen: dict[int, Seen],
    by_leader: dict[int, int],
    slots: dict[tuple[str, int], int],
    keeper_pid: int,
) -> int | None:
    """Return to which tree a process belongs; None: to none of these."""
    at = pid
    # Bounded: a pid that was given away again during the pass could close a circle.
    for _ in range(_DEEPEST):
        found = seen.get(at)
        if found is None:
            return None
        if found[1] in by_leader:
            return by_leader[found[1]]  # no pid is given away while a session has that number
        if found[0] in by_leader:
            return by_leader[found[0]]
        if found[0] == keeper_pid:
            return slots.get(_slot(at))
        at = found[0]
    return None


def _slot(pid: int) -> tuple[str, int]:
    """Return the slot that an orphan says it belongs to."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return slot_in(file.read())
    except OSError:
        return "", 0


def slot_in(environment: bytes) -> tuple[str, int]:
    """Return the slot that an environment names, which its process may have written itself."""
    entries = dict(entry.partition(b"=")[::2] for entry in environment.split(b"\0"))
    index = entries.get(b"SUPERVISORD_LITE_INSTANCE", b"")
    pool = entries.get(b"SUPERVISORD_LITE_POOL", b"").decode(errors="replace")
    return pool, int(index) if index.isdigit() and len(index) <= _MOST_DIGITS else 0


def _sum(
    tree: dict[str, Any], pids: list[int], seen: dict[int, Seen], *, is_close: bool
) -> list[Any]:
    rss_bytes = threads = count = 0
    cpu_s = 0.0
    pss_bytes: int | None = 0
    fds: int | None = 0
    for pid in pids:
        found = seen.get(pid) or _stat(pid)  # who was born since is in the cgroup only
        if found is None:
            continue
        pss, descriptors = _look_closer(pid, found[2]) if is_close else (None, None)
        if pss == -1:
            continue  # it has ended
        count += 1
        rss_bytes += found[3]
        cpu_s += found[4]
        threads += found[5]
        pss_bytes = None if pss is None or pss_bytes is None else pss_bytes + pss
        fds = None if descriptors is None or fds is None else fds + descriptors
    current = None
    if tree.get("cgroup"):
        current = _number(f"{tree['cgroup']}/memory.current")
        used_us = _number(f"{tree['cgroup']}/cpu.stat", b"usage_usec ")
        cpu_s = cpu_s if used_us is None else used_us / 1e6  # with those that have ended
    started = seen[pids[0]][2]
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - started / _TICKS_PER_S
    used_s, lasted_s = round(cpu_s, 6), round(age_s, 3)
    return [rss_bytes, pss_bytes, used_s, fds, threads, count, current, started, lasted_s]


def _number(path: str, name: bytes = b"") -> int | None:
    """Return the number of a line of a cgroup's file; None: there is none."""
    try:
        lines = _read(path, 4096).splitlines()
    except OSError:
        return None
    return next((int(line[len(name) :]) for line in lines if line.startswith(name)), None)


def _look_closer(pid: int, started: int) -> tuple[int | None, int | None]:
    """Return PSS in bytes and open descriptors; None: not for us to see; (-1, None): it is gone."""
    pss: int | None = None
    fds: int | None = None
    try:
        fds = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
        pss = _pss_bytes(pid)
    except PermissionError:
        pass
    except OSError:
        return -1, None
    again = _stat(pid)
    if again is None or again[2] != started:
        return -1, None
    return pss, fds


def _pss_bytes(pid: int) -> int | None:
    """Return the proportional share of memory.

    Raises:
        OSError: The process is gone, or not for us to see.
    """
    try:
        text = _read(f"/proc/{pid}/smaps_rollup", 4096)
    except FileNotFoundError:
        if _HAS_ROLLUP:
            raise
        return _pss_added_up(pid)
    at = text.find(b"\nPss:")
    return None if at < 0 else int(text[at + 5 :].split(None, 1)[0]) * 1024


def _pss_added_up(pid: int) -> int | None:
    """Return the same of a kernel before 4.14, where it is the sum over all mappings."""
    import site

    site.main()  # we were started without libraries
    try:
        import psutil  # 70 ms of CPU, which nobody pays who need not
    except ImportError:
        return None  # of somebody who runs the sources as they are
    try:
        pss: int = psutil.Process(pid).memory_full_info().pss
    except psutil.AccessDenied:
        return None
    except psutil.Error as error:
        raise ProcessLookupError from error
    return pss
