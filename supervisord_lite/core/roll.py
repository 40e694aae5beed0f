"""A roll: the instances of a pool are replaced a few at a time, and a failure ends it.

At most `max_unavailable` instances are away at once, those included that are away for other reasons
and will come back; nobody waits for one that has given up. The first one whose new run does not
become ready ends the roll: no further instance is touched. An instance that somebody stops
meanwhile drops out; another roll of the same pool queues behind this one (`meetings.py`).

A run that has had its share (`recycle.py`) is one more to be replaced, with its reason beside it,
and only that run: when it has ended meanwhile by itself, there is nothing left to do.

A roll is saved before anybody is told to restart, so whoever goes on with it may find an instance
that was not told: it is told then. Nobody is restarted twice, whenever the supervisor dies.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from supervisord_lite.base.record import record, replace
from supervisord_lite.core.moves import Live
from supervisord_lite.core.pools import Slot
from supervisord_lite.core.standing import ended_well, is_ready
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Probing,
    Running,
    Scheduled,
    Starting,
    Stopped,
    Stopping,
    Tripped,
    Worker,
)

#: How far the replacement of one instance is. "untold": it has not heard of it yet.
_Progress = Literal["untold", "going", "done", "failed", "gone"]


@record
class Roll:
    """What is left to do.

    Attributes:
        left: Indexes that nobody has touched yet, in order.
        going: (index, run that is being replaced) of those that are on their way.
        max_unavailable: At most so many are away at once; at least 1.
        recycles: (index, run, why) of those that nobody asked for but their own limits.
    """

    pool: str
    left: tuple[int, ...]
    going: tuple[tuple[int, int], ...] = ()
    max_unavailable: int = 1
    recycles: tuple[tuple[int, int, str], ...] = ()

    def why(self, index: int) -> str:
        """Return why an instance is recycled, for people; empty: somebody asked for it."""
        return next((why for each, _, why in self.recycles if each == index), "")


@record
class Progress:
    """What follows now.

    Attributes:
        roll: From now on; None: it is over.
        restart: Indexes to restart, after the roll has been saved.
        failed: The index whose new run failed; then `untouched` are those that stay as they are.
    """

    roll: Roll | None
    restart: tuple[int, ...] = ()
    failed: int | None = None
    untouched: tuple[int, ...] = ()


def joined(roll: Roll | None, pool: str, indexes: Iterable[int], max_unavailable: int) -> Roll:
    """Return a roll of *indexes*, behind what is left of *roll*.

    An instance that is on its way is queued again: whoever asks wants a run that is younger than
    the request.
    """
    if roll is None:
        return Roll(pool, tuple(indexes), (), max(1, max_unavailable))
    asked = tuple(indexes)
    left = tuple(dict.fromkeys((*roll.left, *asked)))
    # Who is on the way is told already, and why; who is not is told what somebody asked for.
    going = {index for index, _ in roll.going}
    recycles = tuple(each for each in roll.recycles if each[0] in going or each[0] not in asked)
    return replace(roll, left=left, max_unavailable=max(1, max_unavailable), recycles=recycles)


def with_recycle(
    roll: Roll | None, pool: str, recycle: tuple[int, int, str], max_unavailable: int
) -> Roll:
    """Return a roll in which one more run gives way: (index, run, why), behind all others."""
    index = recycle[0]
    if roll is None:
        return Roll(pool, (index,), (), max(1, max_unavailable), (recycle,))
    if index in roll.left or any(index == each for each, _ in roll.going):
        return roll  # it is replaced anyway
    recycles = (*(each for each in roll.recycles if each[0] != index), recycle)
    return replace(roll, left=(*roll.left, index), recycles=recycles)


def _without_those_that_ended(roll: Roll, workers: Mapping[Slot, Worker]) -> Roll:
    """Leave out recycles of runs that have ended, before or after they were told."""
    over = {
        index
        for index, run, _ in roll.recycles
        if (worker := workers.get((roll.pool, index))) is None
        or (worker.run == run and not isinstance(worker.state, Live | Stopping))
        or (worker.run != run and index in roll.left)
    }
    if not over:
        return roll
    return replace(
        roll,
        left=tuple(index for index in roll.left if index not in over),
        going=tuple(each for each in roll.going if each[0] not in over),
        recycles=tuple(each for each in roll.recycles if each[0] not in over),
    )


def go_on(roll: Roll, workers: Mapping[Slot, Worker]) -> Progress:
    """Return what follows from how the instances are: who is next, or that it has failed."""
    roll = _without_those_that_ended(roll, workers)
    going: list[tuple[int, int]] = []
    restart: list[int] = []
    left = [i for i in roll.left if _can_go(workers.get((roll.pool, i)))]
    for index, run in roll.going:
        progress = _progress(workers.get((roll.pool, index)), run)
        if progress == "failed":
            return Progress(None, failed=index, untouched=tuple(left))
        if progress in ("untold", "going"):
            going.append((index, run))
        if progress == "untold":
            restart.append(index)
    busy = {index for index, _ in going}
    away = {
        slot[1] for slot, worker in workers.items() if slot[0] == roll.pool and _is_away(worker)
    }
    away |= busy
    # Who is away already costs nothing more.
    for index in sorted(left, key=lambda index: index not in away):
        if index in busy or (index not in away and len(away) >= roll.max_unavailable):
            continue
        away.add(index)
        left.remove(index)
        going.append((index, workers[roll.pool, index].run))
        restart.append(index)
    if not left and not going:
        return Progress(None)
    under_way = {*left, *(index for index, _ in going)}
    recycles = tuple(each for each in roll.recycles if each[0] in under_way)
    after = replace(roll, left=tuple(left), going=tuple(going), recycles=recycles)
    return Progress(after, tuple(restart))


def _is_there(worker: Worker) -> bool:
    """Return whether there is anything to replace: somebody may have stopped it."""
    state = worker.state
    if isinstance(state, Stopped):
        return False
    return not (isinstance(state, Stopping) and state.outcome in ("stopped", "shutdown"))


def _is_away(worker: Worker) -> bool:
    is_down = isinstance(worker.state, Stopped | Exited | Tripped | Scheduled)
    return not is_down and not is_ready(worker)


def _can_go(worker: Worker | None) -> bool:
    """Return whether a restart would do anything: an open breaker needs a reset."""
    return worker is not None and _is_there(worker) and not isinstance(worker.state, Tripped)


def _progress(worker: Worker | None, run: int) -> _Progress:
    if worker is None or not _is_there(worker):
        return "gone"
    state = worker.state
    if isinstance(state, Tripped):
        return "failed"
    if worker.run <= run:
        # Stopping or waiting: it has heard of it. Else a supervisor died in between.
        untold = Starting | Probing | Running | Exited | Scheduled
        return "untold" if isinstance(state, untold) else "going"
    if isinstance(state, Exited | Scheduled):
        return "done" if ended_well(worker) else "failed"
    if isinstance(state, Backoff):
        return "failed"
    return "done" if is_ready(worker) else "going"
