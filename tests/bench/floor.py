"""The floor: a loop around vfork and exec, or around read and write (floor.c)."""

import os
import signal
from collections.abc import Sequence

from tests.bench.contender import Command, Contender


class Floor(Contender):
    """The least that could do it; one process, which is killed with its children."""

    name = "floor"

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Return the command line; the floor numbers the names itself, as `workloads` does."""
        first = commands[0]
        if first.logged:
            (self.folder / "log").mkdir()
            log = self.folder / "log" / f"{first.name}.log"
            return [*self.natives.floor, "copy", str(log), *first.argv]
        assert first.argv[-1] == first.name == "b0000"
        return [*self.natives.floor, "keep", str(len(commands)), *first.argv[:-1]]

    def stop(self) -> None:
        """Kill it with its children, which are all in its process group."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
