"""The append-only file in which every child stamps its birth.

The children read the clock themselves, so that looking into this file late or seldom only delays
the news, never a figure.
"""

import os
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
        by_name: Every birth of each name, oldest first.
        pids: Of all of them, the dead included.
    """

    def __init__(self, path: Path) -> None:
        """Make the file, empty."""
        self.path = path
        path.touch()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""
        self.by_name: dict[str, list[Birth]] = {}
        self.pids: set[int] = set()

    def read(self) -> None:
        """Take in what is new."""
        while data := os.read(self._descriptor, 65536):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                name, pid, at_ns = line.decode().split(" ")
                self.by_name.setdefault(name, []).append(Birth(name, int(pid), int(at_ns)))
                self.pids.add(int(pid))

    def wait_all(self, count: int, *, timeout_s: float) -> None:
        """Wait until *count* different names were born.

        Raises:
            AssertionError: They were not, in time.
        """

        def are_born() -> bool:
            self.read()
            return len(self.by_name) >= count

        wait_until(
            are_born, what=f"{count} births", timeout_s=timeout_s, every_s=_LOOK_EVERY_S,
            on_timeout=lambda: f"{len(self.by_name)} births",
        )  # fmt: skip

    def wait_next(self, name: str, *, number: int, timeout_s: float) -> Birth:
        """Wait for the *number*-th birth of *name*, from 1; return it.

        Raises:
            AssertionError: It did not come in time.
        """

        def born() -> Birth | None:
            self.read()
            births = self.by_name.get(name, [])
            return births[number - 1] if len(births) >= number else None

        what = f"birth {number} of {name}"
        return wait_until(born, what=what, timeout_s=timeout_s, every_s=_LOOK_EVERY_S)

    def latest(self, name: str) -> Birth:
        """Return the youngest of *name*."""
        return self.by_name[name][-1]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
