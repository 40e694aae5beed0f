"""For whom a worker waits in vain, in words for people."""

from supervisord_lite.core.swap import run_of
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot


def why_stuck(fleet: Fleet, slot: Slot) -> str:
    """Return for whom a worker waits in vain; empty while it may still come."""
    if not fleet.core.is_stuck(slot):
        return ""
    chain = fleet.core.standing.chain(slot[0])
    name = chain[-1]
    root = " and ".join(dict.fromkeys(fleet.word(each) for each in fleet.slots(name)))
    through = "".join(f", which requires {each}" for each in chain[2:])
    return f"requires {chain[1]}{through}, which is {root}"


def why_twin(fleet: Fleet, slot: Slot) -> str | None:
    """Return for whom the run beside that of a slot waits in vain; None: there is no such run.

    Empty while it may still come, or has begun.
    """
    twin = fleet.twins.get(slot)
    if twin is None:
        return None
    name = fleet.core.standing.blocks(slot[0]) if run_of(twin) is None else None
    return f"requires {name}, which does not become ready" if name else ""
