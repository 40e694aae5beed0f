"""How many instances a pool has: what the file says, and what a person said since.

A person's word holds over reload, upgrade and crash, until the file says something new about the
size of this pool, or the service ends. Growing never touches an instance that is there, and a pool
shrinks from its end: so the slot (pool, 1) of a pool of one is `web`, and `web-1` when it has
grown, with the same pid.
"""

from supervisord_lite.base.record import record

MAX_POOL_SIZE = 1024


@record
class ScaledByHand:
    """What a person made of a pool.

    Attributes:
        size: Instances wanted.
        file_size: What the file said at that time.
    """

    size: int
    file_size: int


def size_in_force(file_size: int, by_hand: ScaledByHand | None) -> int:
    """Return how many instances a pool has: a person's word, until the file changes its own."""
    if by_hand is None or by_hand.file_size != file_size:
        return file_size
    return by_hand.size


def why_not(size: int, *, is_singleton: bool) -> str:
    """Return why a pool cannot have *size* instances, for people; else the empty text."""
    if is_singleton:
        return "it is a singleton: never two of it"
    if size == 0:
        return "a pool has at least 1 instance: to have none, stop it"
    if not 1 <= size <= MAX_POOL_SIZE:
        return f"a pool has from 1 to {MAX_POOL_SIZE} instances"
    return ""
