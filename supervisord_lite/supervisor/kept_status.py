"""What is told of each worker, as bytes that are made once and told again while they are true.

Theory of operation
===================

Whoever polls a fleet asks the same question about workers of which nearly none has changed since.
So what was told of a worker is kept, in JSON, and the answer is those bytes behind one another. It
is told again as long as everything is the same that it was made from:

* The worker itself: a record that never changes, so another state is another object.
* What is common to many: configuration, sizes by hand, logs, samples, and how far the wall clock is
  from the daemon's own. They change seldom; then all of it is forgotten (`about`).
* What comes in by itself for one slot, as a worker's own words or how its probe fares: whoever
  takes that in says so (`forget`).
* Time, where a failure leaves the window: until then (`fresh_until_s`).

Never kept is what hangs on others, or on the clock on the wall: a worker that waits for its turn or
for its planned time, both runs of a slot that has two, and a run of an earlier configuration.

Nothing is kept before anybody asks, and nothing a minute after the last question: an idle daemon
has neither the memory nor a wake-up of it. All of it can be made anew, so nobody saves it.
"""

from collections.abc import Callable, Iterable

from supervisord_lite.core.states import Scheduled, Waiting, Worker
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.twins import shown
from supervisord_lite.wire import varlink

#: After the last question.
_KEEP_S = 60.0
#: A wall clock that is pulled along is off by this before what stands in wall time is made anew.
_OFFSET_S = 0.05
_NEVER_S = float("-inf")
_ALWAYS_S = float("inf")

#: How one run of a slot is told (the type Worker of the varlink definition); whether it is on its
#: way out while another takes its place.
Tell = Callable[[Slot, Worker, bool], dict[str, object]]
#: The worker, its JSON, and until when that is true.
_Kept = tuple[Worker, bytes, float]


class KeptStatus:
    """What was told of whom."""

    def __init__(
        self,
        fleet: Fleet,
        tell: Tell,
        about: Callable[[], tuple[object, ...]],
        is_outdated: Callable[[Slot], bool],
    ) -> None:
        """Keep nothing yet.

        Args:
            fleet: Whose workers they are.
            tell: Makes anew what is told of a run.
            about: What is common to many: while each is the same object, or an equal number, as
                before, nothing that hangs on it has changed.
            is_outdated: Whether a slot's run is of an earlier configuration. What is said of that
                hangs on the roll of its pool.
        """
        self._fleet = fleet
        self._tell = tell
        self._about = about
        self._is_outdated = is_outdated
        self._kept: dict[Slot, _Kept] = {}
        self._from: tuple[object, ...] = ()
        self._offset_s = 0.0
        self._until_s: float | None = None

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire`; None: not at all."""
        return self._until_s

    def expire(self, now_s: float) -> None:
        """Forget all, if nobody has asked for a while."""
        if self._until_s is not None and now_s >= self._until_s:
            self._until_s = None
            self._kept = {}

    def forget(self, slot: Slot) -> None:
        """Something that is told of this slot has changed, or the slot is gone."""
        self._kept.pop(slot, None)

    def of(self, slots: Iterable[Slot], *, now_s: float, wall_s: float) -> list[bytes]:
        """Return what is told of these slots, each run as a JSON object, in order.

        Args:
            slots: Of the fleet.
            now_s: The daemon's clock.
            wall_s: The wall clock at *now_s*.
        """
        self._until_s = now_s + _KEEP_S
        about, offset_s = self._about(), wall_s - now_s
        if not _is_same(about, self._from) or abs(offset_s - self._offset_s) > _OFFSET_S:
            self._kept, self._from, self._offset_s = {}, about, offset_s
        kept, workers, twins = self._kept, self._fleet.workers, self._fleet.twins
        told: list[bytes] = []
        for slot in slots:
            worker, found = workers[slot], kept.get(slot)
            if found is None or found[0] is not worker or now_s >= found[2] or slot in twins:
                told += self._made(slot, worker, now_s)
            else:
                told.append(found[1])
            self._fleet.look()
        return told

    def _made(self, slot: Slot, worker: Worker, now_s: float) -> list[bytes]:
        """Make anew what is told of a slot, and keep it if it will be true for a while."""
        self._kept.pop(slot, None)
        twin = self._fleet.twins.get(slot)
        data = [_encoded(self._tell(slot, *each)) for each in shown(worker, twin)]
        until_s = fresh_until_s(worker, self._fleet.spec(slot[0]).policy.circuit_window_s, now_s)
        if until_s > now_s and twin is None and not self._is_outdated(slot):
            self._kept[slot] = (worker, data[0], until_s)
        return data


def fresh_until_s(worker: Worker, window_s: float, now_s: float) -> float:
    """Return until when the same is told of a worker that does not change.

    Args:
        worker: As it is now.
        window_s: In which its failures are counted.
        now_s: The clock.
    """
    if isinstance(worker.state, Waiting | Scheduled):
        return _NEVER_S
    leave_s = [at_s + window_s for at_s in worker.failures if at_s > now_s - window_s]
    return min(leave_s, default=_ALWAYS_S)


def _is_same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(
        a is b or (type(a) is int and a == b) for a, b in zip(one, other, strict=True)
    )


def _encoded(said: dict[str, object]) -> bytes:
    return varlink.encode_parameters(_without_nulls(said))


def _without_nulls(said: dict[str, object]) -> dict[str, object]:
    """Return an object without what is null in it: the definition lets that be left out."""
    return {
        key: _without_nulls(value) if type(value) is dict else value
        for key, value in said.items()
        if value is not None
    }
