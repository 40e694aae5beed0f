"""The append-only file in which every child stamps its birth.

The children read the clock themselves, so that looking into this file late or seldom only delays
the news, never a figure.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tests.support.wait import wait_until

_LOOK_EVERY_S = 0.002


@dataclass(frozen=True)
class Birth:
    """One line: who, which process, and when on CLOCK_MONOTONIC."""

    name: str
    pid: int
    at_ns: int


class Births:
    """What has been stamped so far, in order.

    Attributes:
        check: Called while waiting; raises AssertionError where nobody can be born any more.
        every: All of them, in the order in which they were written.
        by_name: Every birth of each name, oldest first.
        pids: Of all of them, the dead included.
    """

    def __init__(self, path: Path) -> None:
        """Make the file, empty."""
        self.path = path
        self.check: Callable[[], None] = lambda: None
        path.touch()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""
        self.every: list[Birth] = []
        self.by_name: dict[str, list[Birth]] = {}
        self.pids: set[int] = set()

    def read(self) -> None:
        """Take in what is new."""
        while data := os.read(self._descriptor, 65536):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                name, pid, at_ns = line.decode().split(" ")
                birth = Birth(name, int(pid), int(at_ns))
                self.every.append(birth)
                self.by_name.setdefault(name, []).append(birth)
                self.pids.add(birth.pid)

    def _look(self) -> None:
        self.check()
        self.read()

    def wait_all(self, count: int, *, timeout_s: float) -> None:
        """Wait until *count* different names were born.

        Raises:
            AssertionError: They were not, in time.
        """

        def are_born() -> bool:
            self._look()
            return len(self.by_name) >= count

        wait_until(
            are_born, what=f"{count} births", timeout_s=timeout_s, every_s=_LOOK_EVERY_S,
            on_timeout=lambda: f"{len(self.by_name)} births",
        )  # fmt: skip

    def wait_more(self, number: int, *, timeout_s: float) -> Birth:
        """Wait until there are more than *number* births; return the first one beyond.

        Raises:
            AssertionError: It did not come in time.
        """

        def are_more() -> bool:
            self._look()
            return len(self.every) > number

        what = f"birth {number + 1}"
        wait_until(are_more, what=what, timeout_s=timeout_s, every_s=_LOOK_EVERY_S)
        return self.every[number]

    def wait_names(self, names: Collection[str], *, timeout_s: float) -> None:
        """Wait until each of *names* was born.

        Raises:
            AssertionError: One was not, in time.
        """

        def missing() -> list[str]:
            self._look()
            return [name for name in names if name not in self.by_name]

        wait_until(
            lambda: not missing(), what=f"{len(names)} births", timeout_s=timeout_s,
            every_s=_LOOK_EVERY_S, on_timeout=lambda: f"missing: {missing()[:5]}",
        )  # fmt: skip

    def latest(self, name: str) -> Birth:
        """Return the youngest of *name*."""
        return self.by_name[name][-1]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
