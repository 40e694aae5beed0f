"""What the record of one slot holds, and how it is read: the worker and the run beside it.

They are one record, so that no death of ours leaves half of a swap (`core.swap`). A policy stands
in it only where it is not that of the spec in force.
"""

import json
from typing import Any

from supervisord_lite.base.record import record, replace
from supervisord_lite.config.spec import policy_from_data
from supervisord_lite.core import records
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import Worker
from supervisord_lite.supervisor.outbox import Slot, record_text

#: What reading a record may end with that is damaged, or of another version.
DAMAGED = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
#: Failures kept in a record: a message has an end. Only after a crash of ours, and only where
#: `max_restarts` is larger, fewer are known than there were.
_FAILURES_SAVED = 1000


@record
class Saved:
    """A record that was read.

    Attributes:
        worker, twin: As they were; None: there was no run beside it.
        seen: Number of the last fact in it.
    """

    worker: Worker
    twin: Worker | None
    seen: int


def text_of(
    worker: Worker, twin: Worker | None, policy: Policy, *, seen: int, ends: list[object]
) -> str:
    """Return the record of a slot.

    Args:
        worker: Of the slot.
        twin: The run beside it; None: there is none.
        policy: Of the spec in force.
        seen: Number of the last fact in it.
        ends: How it has failed, where anybody will ask.
    """
    if len(worker.failures) > _FAILURES_SAVED:
        worker = replace(worker, failures=worker.failures[-_FAILURES_SAVED:])
    own = worker.policy if worker.policy is not policy else None
    beside = None if twin is None else _twin_data(twin, policy)
    return record_text(seen, records.to_record(worker), own, ends, beside)


def read(text: str, policy: Policy, slot: Slot) -> Saved:
    """Return what `text_of` has written.

    Args:
        text: Of the record.
        policy: Of the spec in force.
        slot: Whose record it is.

    Raises:
        DAMAGED: Another version wrote it, or it is damaged.
    """
    saved = json.loads(text)
    beside, seen = saved.get("twin"), saved["seen"]
    twin = None if beside is None else _worker(beside, policy, slot)
    if type(seen) is not int:
        message = f"saved record: seen: {seen!r} is no number"
        raise ValueError(message)
    return Saved(_worker(saved, policy, slot), twin, seen)


def _twin_data(twin: Worker, policy: Policy) -> dict[str, object]:
    own = None if twin.policy is policy else twin.policy
    return {"worker": records.to_record(twin), "policy": own}


def _worker(saved: dict[str, Any], policy: Policy, slot: Slot) -> Worker:
    own = saved.get("policy")
    worker = records.from_record(saved["worker"], policy if own is None else policy_from_data(own))
    if (worker.pool, worker.index) != slot:
        message = f"saved record: it is that of {worker.pool}/{worker.index}"
        raise ValueError(message)
    return worker
