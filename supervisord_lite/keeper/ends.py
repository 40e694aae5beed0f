"""What the supervisor is told of a start that has failed, and of how a run has ended.

One fact for each end, whatever was known when: why a start has failed is known before its process
is reaped, that the code of a target could not be run is known by the last words of a process that
has run some of it, and that nothing of the tree is alive may be known much later.
"""

from __future__ import annotations

import time

from supervisord_lite.keeper.last_words import LastWords
from supervisord_lite.keeper.reap import Ended
from supervisord_lite.keeper.spawn import StageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from supervisord_lite.keeper.table import Key, Run, Table

#: Of a failure's reason: a command may be long, and a fact must fit into a message.
_REASON_CHARS = 2000


class Ends:
    """Ends of which the supervisor has not been told yet."""

    def __init__(self, table: Table) -> None:
        """Begin with none; *table* takes the facts."""
        self._table = table
        # Whose process is about to end, or has: why it could not be started.
        self._failed: dict[Run, StageError] = {}
        # Whose target could not be run, and since when: something of its tree is still alive.
        self._failed_late: dict[Run, float] = {}
        self._reaped: dict[Run, tuple[Ended, float]] = {}

    @property
    def are_waiting(self) -> bool:
        """Whether `tell` has something to tell of a leader that was reaped."""
        return bool(self._reaped)

    def never_began(self, key: Key, error: StageError) -> None:
        """Tell that a run could not be started; there is no process."""
        self._table.fact("spawn_failed", time.monotonic(), key, **_told(error))

    def will_fail(self, run: Run, error: StageError) -> None:
        """Keep why the process of *run* is about to end: told when it was reaped."""
        self._failed[run] = error

    def reaped(self, run: Run, dead: Ended, at_s: float) -> None:
        """Take the end of a leader, for `tell`."""
        self._reaped[run] = (dead, at_s)

    def tell(self, empty: set[Run], now_s: float) -> Iterator[Run]:
        """Tell what has ended; yield each run of which that was the last, as soon as it is told.

        Args:
            empty: Runs of whose trees nothing is alive.
            now_s: The clock.
        """
        reaped, self._reaped = self._reaped, {}
        for run, (dead, at_s) in reaped.items():
            self._tell_end(run, dead, at_s, emptied=run in empty)
            if run in empty:
                yield run
        for run in empty - reaped.keys():
            self._tell_empty(run, now_s)
            yield run

    def _tell_end(self, run: Run, dead: Ended, at_s: float, *, emptied: bool) -> None:
        error = self._failed.pop(run, None)
        if error is not None:
            self._table.fact("spawn_failed", at_s, run.key, **_told(error))
            return
        last = LastWords(run.last_words)
        if last.failure is not None and dead.code:
            if emptied:
                self._table.fact("spawn_failed", at_s, run.key, **_told(last.failure), **last.story)
            else:
                self._failed_late[run] = at_s
            return
        self._table.fact(
            "exited", at_s, run.key, code=dead.code, signal=dead.signal, emptied=emptied,
            **(last.crash if dead.code else {}), **({"oom": run.oom} if run.oom else {}),
        )  # fmt: skip

    def _tell_empty(self, run: Run, now_s: float) -> None:
        at_s = self._failed_late.pop(run, None)
        if at_s is None:
            self._table.fact("emptied", now_s, run.key, killed=run.killed)
            return
        # Code of its own had run by then: what that had started is gone before it is told.
        last = LastWords(run.last_words)
        assert last.failure is not None
        self._table.fact("spawn_failed", at_s, run.key, **_told(last.failure), **last.story)

    # -- for the successor of this process ---------------------------------------------------------

    def pack(self, run: Run) -> dict[str, Any]:
        """Return what is known of the end of *run*, as JSON."""
        failed, reaped = self._failed.get(run), self._reaped.get(run)
        return {
            "failed": None if failed is None else failed.pack(),
            "failed_late_s": self._failed_late.get(run),
            "dead": None if reaped is None else {**reaped[0].pack(), "at_s": reaped[1]},
        }

    def resume(self, run: Run, said: dict[str, Any]) -> None:
        """Go on with what was packed of *run*."""
        if said.get("failed") is not None:
            self._failed[run] = StageError(**said["failed"])
        if said.get("failed_late_s") is not None:
            self._failed_late[run] = said["failed_late_s"]
        if said.get("dead") is not None:
            self._reaped[run] = (Ended.unpacked(said["dead"]), said["dead"]["at_s"])


def _told(error: StageError) -> dict[str, object]:
    reason = error.reason
    if len(reason) > _REASON_CHARS:
        reason = f"{reason[: _REASON_CHARS // 2]} … {reason[-_REASON_CHARS // 2 :]}"
    return {
        "stage": error.stage,
        "reason": reason,
        "missing": error.missing,
        "hopeless": error.hopeless,
    }
