"""What is done and measured. Each takes a contender that runs nothing yet, and a size.

It returns figures (names end in their unit) and raises AssertionError when the work itself was not
done right: a fast supervisor that loses a line or starts a command twice has no figures at all.

    start     SIZE commands: from launch to the births of the first and the last of them
    restart   SIZE commands, each killed once by SIGKILL, one after another: to the birth of its
              successor
    logs      SIZE MiB of lines of 100 bytes from one command into rotated files, compared byte by
              byte with what was written
    idle      SIZE commands that sleep: what watching them costs in a while, and the memory
"""

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.contender import Command, Contender
from tests.bench.cost import cost, pss_mib, settle
from tests.support.wait import wait_until

Figures = dict[str, float]
Workload = Callable[[Contender, int], Figures]

_MIB = 1024 * 1024
_LINE_BYTES = 100
_LINES_A_LOOK = 50_000
_BIRTHS_S = 120.0
_FLOOD_S = 300.0
#: Between two kills. Crashes come alone: what one leaves warm in the kernel (moving a process to
#: another cgroup is then a thousand times faster) is cold again by the next.
_PAUSE_S = 0.1
#: One that takes seconds for a restart is asked for fewer of them.
_RESTARTS_S = 40.0
#: No contender holds back the restart of a command that has lived for longer than a second.
_LIVED_S = 1.2


def start(contender: Contender, size: int) -> Figures:
    """Measure a cold start; and check that every command was started, and once."""
    contender.start(sleepers(contender, size))
    contender.births.wait_all(size, timeout_s=_BIRTHS_S)
    own = contender.own()
    settle(own, quiet_s=0.3)
    contender.births.read()
    births = [birth for births in contender.births.by_name.values() for birth in births]
    assert len(births) == size, f"{len(births)} births of {size} commands"
    at_ns = [birth.at_ns for birth in births]
    return {
        "first_birth_s": (min(at_ns) - contender.launched_ns) / 1e9,
        "last_birth_s": (max(at_ns) - contender.launched_ns) / 1e9,
        "cpu_s": cost(own).cpu_s,
    }


def restart(contender: Contender, size: int) -> Figures:
    """Measure from a kill to the successor's birth; every successor comes, and once."""
    contender.start(sleepers(contender, size))
    contender.births.wait_all(size, timeout_s=_BIRTHS_S)
    settle(contender.own(), quiet_s=_LIVED_S)
    took_ms = []
    end_s = time.monotonic() + _RESTARTS_S
    for index in range(size):
        took_ms.append(_restart_ms(contender, _name(index)))
        if time.monotonic() > end_s:
            break
        time.sleep(_PAUSE_S)
    births = sum(map(len, contender.births.by_name.values()))
    assert births == size + len(took_ms), f"{births - size} births after {len(took_ms)} kills"
    took_ms.sort()
    return {
        "p50_ms": statistics.median(took_ms),
        "p99_ms": took_ms[(len(took_ms) * 99 - 1) // 100],
        "kills": len(took_ms),
    }


def _restart_ms(contender: Contender, name: str) -> float:
    pid = contender.births.latest(name).pid
    killed_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    successor = contender.births.wait_next(name, number=2, timeout_s=30.0)
    assert successor.pid != pid
    return (successor.at_ns - killed_ns) / 1e6


def logs(contender: Contender, size: int) -> Figures:
    """Measure the way of a flood from a pipe into files; check every byte of it."""
    lines = size * _MIB // _LINE_BYTES
    name = _name(0)
    argv = (*contender.natives.child, str(contender.births.path), name, "flood", str(lines))
    contender.start([Command(name, argv, logged=True)])
    contender.births.wait_all(1, timeout_s=_BIRTHS_S)
    own = contender.own()
    settle(own, quiet_s=0.3)
    before = cost(own)
    os.kill(contender.births.latest(name).pid, signal.SIGUSR1)
    wait_until(
        lambda: _written(contender, name) >= lines * _LINE_BYTES,
        what=f"{size} MiB written", timeout_s=_FLOOD_S, every_s=0.002,
        on_timeout=lambda: f"{_written(contender, name)} bytes of {lines * _LINE_BYTES}",
    )  # fmt: skip
    end_ns = time.monotonic_ns()
    spent = cost(own).since(before)
    contender.births.read()
    took_s = (end_ns - contender.births.latest(f"{name}.flood").at_ns) / 1e9
    check_lines(contender.log_files(name), lines)
    return {
        "mb_per_s": lines * _LINE_BYTES / 1e6 / took_s,
        "cpu_s": spent.cpu_s,
        "files": len(contender.log_files(name)),
    }


def _written(contender: Contender, name: str) -> int:
    size = 0
    for path in contender.log_files(name):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # renamed since it was listed: ask again
            return 0
    return size


def check_lines(files: list[Path], lines: int) -> None:
    """Check that *files* hold exactly the flood, no line of it cut by a rotation.

    Raises:
        AssertionError: A byte is missing, doubled or wrong; the message says where.
    """
    expected = _Flood(lines)
    for path in sorted(filter(_size, files), key=_first_line):
        assert _size(path) % _LINE_BYTES == 0, f"a line is cut at the end of {path.name}"
        with path.open("rb") as file:
            left = _size(path) // _LINE_BYTES
            while left:
                count = min(left, expected.room)
                assert count, f"{path.name} holds more than was written"
                wanted = expected.take(count)
                assert file.read(len(wanted)) == wanted, f"{path.name} differs before {expected.at}"
                left -= count
    assert expected.at == lines, f"{lines - expected.at} lines are missing at the end"


class _Flood:
    """What the child writes, piece by piece."""

    def __init__(self, lines: int) -> None:
        self.at = 0
        self._lines = lines

    @property
    def room(self) -> int:
        return min(_LINES_A_LOOK, self._lines - self.at)

    def take(self, count: int) -> bytes:
        """Return the next *count* lines."""
        numbers = range(self.at, self.at + count)
        self.at += count
        tail = f" {'x' * 86}\n"
        return "".join([f"{number:012d}{tail}" for number in numbers]).encode()


def _size(path: Path) -> int:
    return path.stat().st_size


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LINE_BYTES)


def idle(seconds: float) -> Workload:
    """Return the workload that watches sleepers for so many seconds."""

    def measure(contender: Contender, size: int) -> Figures:
        contender.start(sleepers(contender, size))
        contender.births.wait_all(size, timeout_s=_BIRTHS_S)
        settle(contender.own(), quiet_s=2.0)
        own = contender.own()
        before = cost(own)
        time.sleep(seconds)
        spent = cost(own).since(before)
        assert contender.own() == own, "its own processes have changed while nothing happened"
        assert len(contender.births.pids) == size, "a command was started again"
        figures = {"cpu_ms": spent.cpu_s * 1e3, "wake_ups": float(spent.wake_ups)}
        return figures | dict(_memory(own))

    return measure


def _memory(own: dict[int, str]) -> Iterator[tuple[str, float]]:
    """Yield the PSS in all, and of each kind of process where there are several."""
    by_label: dict[str, float] = {}
    for pid, label in own.items():
        share = pss_mib(pid)
        if share is None:
            return
        by_label[label] = by_label.get(label, 0.0) + share
    yield "pss_mib", sum(by_label.values())
    if len(by_label) > 1:
        yield from ((f"pss_{label}_mib", share) for label, share in by_label.items())


def _name(index: int) -> str:
    return f"b{index:04d}"


def sleepers(contender: Contender, count: int) -> list[Command]:
    """Return *count* commands that stamp their birth and sleep."""
    child = (*contender.natives.child, str(contender.births.path))
    return [Command(_name(index), (*child, _name(index))) for index in range(count)]
