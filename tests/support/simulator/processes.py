"""A process table with few numbers: whose pid is free is somebody else's next."""

from __future__ import annotations

from supervisord_lite.keeper.table import Key
from tests.support.simulator.drawn import Behaviour, Chance
from tests.support.simulator.violation import BrokenPromiseError

STRANGER: Key = ("stranger", 0, 0)


class Process:
    """The leader of one run, and what is below it.

    Attributes:
        stage: "setup", "alive", "zombie" (ended, not reaped), "left" (reaped, others of its tree
            live) or "gone".
        program, log: What it is, and where its output goes.
        failure: The set-up stage that fails: (stage, missing, hopeless).
    """

    __slots__ = (
        "behaviour", "code", "failure", "key", "log", "pid", "program", "signal", "stage",
    )  # fmt: skip

    def __init__(self, key: Key, pid: int, behaviour: Behaviour) -> None:
        self.key = key
        self.pid = pid
        self.behaviour = behaviour
        self.stage = "setup"
        self.program: tuple[str, ...] = ()
        self.log = ""
        self.failure: tuple[str, bool, bool] | None = None
        self.code: int | None = None
        self.signal: int | None = None


class ProcessTable:
    """Which pid is whose; a third of the numbers belong to strangers, who come and go."""

    def __init__(self, rng: Chance, size: int) -> None:
        self._rng = rng
        self._free = list(range(1, size + 1))
        self._owner: dict[int, Key] = {}
        for _ in range(size // 3):
            self.take(STRANGER)

    def take(self, key: Key) -> int:
        """Return a number that is free, now of *key*."""
        pid = self._free.pop(self._rng.randrange(len(self._free)))
        self._owner[pid] = key
        return pid

    def release(self, pid: int) -> None:
        """A process is reaped; a stranger may get its number at once."""
        del self._owner[pid]
        self._free.append(pid)
        strangers = [pid for pid, key in self._owner.items() if key == STRANGER]
        if strangers and self._rng.random() < 0.5:
            gone = self._rng.choice(strangers)
            del self._owner[gone]
            self.take(STRANGER)
            self._free.append(gone)

    def signal(self, pid: int, key: Key) -> None:
        """Somebody means to signal the leader of *key* by its number.

        Raises:
            BrokenPromiseError: The number is not its own.
        """
        owner = self._owner.get(pid)
        if owner != key:
            message = f"a signal for {key} goes to pid {pid}, which belongs to {owner}"
            raise BrokenPromiseError(message)
