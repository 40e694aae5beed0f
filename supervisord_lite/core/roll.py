"""A roll: the instances of a pool are replaced a few at a time, and a failure ends it.

An instance that is ready is replaced by a new run that starts beside it (`swap.py`), for at most
`max_surge` of them at once: then nobody is away. Others are stopped first and started then; at most
`max_unavailable` instances are away at once, those included that are away for other reasons and
will come back; nobody waits for one that has given up. Both count: a roll with 1 and 1 replaces one
in each way at the same time.

A run that has had its share (`recycle.py`) is one more to be replaced, with its reason beside it,
and only that run: when it has ended meanwhile by itself, there is nothing left to do.

The first one whose new run does not become ready ends the roll: no further instance is touched. An
instance that somebody stops meanwhile drops out; another roll of the same pool queues behind this
one (`meetings.py`). Nobody is done, or begun, while a run beside it is there still: so there are
never more than `max_surge` runs too many.

A roll is saved before anybody is told, so whoever goes on with it may find an instance that was not
told: its way is chosen again then. Nobody is replaced twice, whenever the supervisor dies. That a
new run beside the old one was rejected is no state of anybody: whoever hears it says so at once.
"""

from collections.abc import Container, Iterable, Mapping
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
from supervisord_lite.core.swap import can_be_swapped

#: How far the replacement of one instance is. "untold": it has not heard of it yet.
_Progress = Literal["untold", "going", "done", "failed", "gone"]


@record
class Roll:
    """What is left to do.

    Attributes:
        left: Indexes that nobody has touched yet, in order.
        going: (index, run that is being replaced) of those that are on their way.
        max_unavailable: At most so many are away at once.
        recycles: (index, run, why) of those that nobody asked for but their own limits.
        max_surge: At most so many have a second run; at least one of the two is above 0.
    """

    pool: str
    left: tuple[int, ...]
    going: tuple[tuple[int, int], ...] = ()
    max_unavailable: int = 1
    recycles: tuple[tuple[int, int, str], ...] = ()
    max_surge: int = 0

    def why(self, index: int) -> str:
        """Return why an instance is recycled, for people; empty: somebody asked for it."""
        return next((why for each, _, why in self.recycles if each == index), "")


@record
class Progress:
    """What follows now.

    Attributes:
        roll: From now on; None: it is over.
        restart: Indexes to restart in place, after the roll has been saved.
        swap: Indexes of those whose new run starts beside the old one, likewise.
        failed: The index whose new run failed; then `untouched` are those that stay as they are.
    """

    roll: Roll | None
    restart: tuple[int, ...] = ()
    swap: tuple[int, ...] = ()
    failed: int | None = None
    untouched: tuple[int, ...] = ()


def joined(
    roll: Roll | None,
    pool: str,
    indexes: Iterable[int],
    max_unavailable: int,
    max_surge: int = 0,
) -> Roll:
    """Return a roll of *indexes*, behind what is left of *roll*.

    An instance that is on its way is queued again: whoever asks wants a run that is younger than
    the request.
    """
    before = Roll(pool, ()) if roll is None else roll
    asked = tuple(indexes)
    # Who is on the way is told already, and why; who is not is told what somebody asked for.
    going = {index for index, _ in before.going}
    recycles = tuple(each for each in before.recycles if each[0] in going or each[0] not in asked)
    return replace(
        limited(before, max_unavailable, max_surge),
        left=tuple(dict.fromkeys((*before.left, *asked))),
        recycles=recycles,
    )


def limited(roll: Roll, max_unavailable: int, max_surge: int) -> Roll:
    """Return *roll* under other limits: those in force hold also for what is under way."""
    most = max_unavailable if max_surge else max(1, max_unavailable)
    return replace(roll, max_unavailable=most, max_surge=max_surge)


def with_recycle(
    roll: Roll | None,
    pool: str,
    recycle: tuple[int, int, str],
    max_unavailable: int,
    max_surge: int = 0,
) -> Roll:
    """Return a roll in which one more run gives way: (index, run, why), behind all others."""
    index = recycle[0]
    if roll is None:
        begun = Roll(pool, (index,), recycles=(recycle,))
        return limited(begun, max_unavailable, max_surge)
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


def go_on(
    roll: Roll,
    workers: Mapping[Slot, Worker],
    twins: Mapping[Slot, Worker] | None = None,
    rejected: Container[int] = (),
) -> Progress:
    """Return what follows from how the instances are: who is next, or that it has failed.

    Args:
        roll: As it was.
        workers: As they are now, also of other pools.
        twins: The runs beside those of some slots.
        rejected: Indexes of those whose new run beside the old one has just failed.
    """
    roll = _without_those_that_ended(roll, workers)
    beside = {slot[1]: twin for slot, twin in (twins or {}).items() if slot[0] == roll.pool}
    going: list[tuple[int, int]] = []
    untold: list[int] = []
    left = [i for i in roll.left if _can_go(workers.get((roll.pool, i)))]
    for index, run in roll.going:
        progress = _progress(workers.get((roll.pool, index)), run, has_twin=index in beside)
        if progress == "failed" or index in rejected:
            return Progress(None, failed=index, untouched=tuple(left))
        if progress == "going":
            going.append((index, run))
        elif progress == "untold":
            untold.append(index)
    return _next(roll, workers, beside, going, list(dict.fromkeys((*untold, *left))))


def _next(
    roll: Roll,
    workers: Mapping[Slot, Worker],
    beside: Mapping[int, Worker],
    going: list[tuple[int, int]],
    left: list[int],
) -> Progress:
    """Choose who of *left* is next, and how."""
    busy = {index for index, _ in going}
    away = {
        slot[1] for slot, worker in workers.items() if slot[0] == roll.pool and _is_away(worker)
    }
    seconds = len(beside)
    restart: list[int] = []
    swap: list[int] = []
    told: set[int] = set()
    # Who is away already costs nothing more.
    for index in sorted(left, key=lambda index: index not in away):
        worker = workers[roll.pool, index]
        if index in busy or index in beside:
            continue
        if seconds < roll.max_surge and can_be_swapped(worker):
            seconds += 1
            swap.append(index)
        elif index in away or len(away) < roll.max_unavailable or _is_free(roll, worker):
            away.add(index)
            restart.append(index)
        else:
            continue
        told.add(index)
        going.append((index, worker.run))
    left = [index for index in left if index not in told]
    if not left and not going:
        return Progress(None)
    under_way = {*left, *(index for index, _ in going)}
    recycles = tuple(each for each in roll.recycles if each[0] in under_way)
    ahead = replace(roll, left=tuple(left), going=tuple(going), recycles=recycles)
    return Progress(ahead, tuple(restart), tuple(swap))


def _is_there(worker: Worker) -> bool:
    """Return whether there is anything to replace: somebody may have stopped it."""
    state = worker.state
    if isinstance(state, Stopped):
        return False
    return not (isinstance(state, Stopping) and state.outcome in ("stopped", "shutdown"))


def _is_away(worker: Worker) -> bool:
    is_down = isinstance(worker.state, Stopped | Exited | Tripped | Scheduled)
    return not is_down and not is_ready(worker)


def _is_free(roll: Roll, worker: Worker) -> bool:
    """Return whether it may be restarted though nobody may be away: nothing can start beside it."""
    return not roll.max_unavailable and not can_be_swapped(worker)


def _can_go(worker: Worker | None) -> bool:
    """Return whether a restart would do anything: an open breaker needs a reset."""
    return worker is not None and _is_there(worker) and not isinstance(worker.state, Tripped)


def _progress(worker: Worker | None, run: int, *, has_twin: bool) -> _Progress:
    if worker is None or not _is_there(worker):
        return "gone"
    state = worker.state
    if isinstance(state, Tripped):
        return "failed"
    if worker.run <= run:
        if has_twin:
            return "going"
        # Stopping or waiting: it has heard of it. Else a supervisor died in between.
        untold = Starting | Probing | Running | Exited | Scheduled
        return "untold" if isinstance(state, untold) else "going"
    if isinstance(state, Exited | Scheduled):
        return "done" if ended_well(worker) else "failed"
    if isinstance(state, Backoff):
        return "failed"
    return "done" if is_ready(worker) and not has_twin else "going"
