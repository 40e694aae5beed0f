"""When a run has had its share: of memory, of time, of work. Pure: what is known in, a reason out.

A run that is due gives way to a fresh one (`RecycleRequested`): ended by its own stop ladder, no
failure, no restart, counted apart. Who is next, and how many at a time, is a roll's business
(`roll.py`), so crashes and recycles together never take more away than `max_unavailable`.

* `memory`: of the whole tree, when somebody has looked. How often that is pays regard to how near
  the limit was: see `look_again_s`.
* `age`: since the process was spawned, which is in the worker's record: it survives the supervisor.
* `runs`: units of work as the worker counts them itself (a task, a request, a turn of its loop).

With `jitter` a run lasts longer, by a share of its own that is fixed by its slot and number: a pool
that was started in one moment does not end in one, and whoever takes over finds the same times.
"""

import zlib

from supervisord_lite.base.record import record
from supervisord_lite.base.units import format_bytes, format_duration

#: `jitter = true`: up to so much longer.
_SHARE = 0.1
#: The first look comes when a program has loaded what it needs, mostly.
FIRST_LOOK_S = 2.0
#: (used at least this part of the limit, seconds until the next look), the nearest first.
_LOOKS = ((0.8, 3.0), (0.5, 10.0), (0.0, 30.0))


@record
class Recycle:
    """The limits of one run; None: there is none.

    Attributes:
        memory_bytes: Of its tree.
        age_s: Since it was spawned.
        runs: Units of work that it has told of.
        jitter: How much longer a run may last: true: up to a tenth of its age or work; a number:
            up to so many seconds of its age.
    """

    memory_bytes: int | None = None
    age_s: float | None = None
    runs: int | None = None
    jitter: bool | float = False


def part_of(pool: str, index: int, run: int) -> float:
    """Return the run's own part of the jitter, in [0, 1): the same whoever asks, and whenever."""
    mixed = zlib.crc32(f"{pool}/{index}/{run}".encode())
    # Neighbours have sums that differ in a few bits: this spreads them (the end of MurmurHash3).
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> shift)) * factor % 2**32
    return (mixed ^ (mixed >> 16)) / 2**32


def age_due_s(recycle: Recycle, spawned_at_s: float, part: float) -> float | None:
    """Return when a run is too old; None: never. *part* is its own (`part_of`)."""
    if recycle.age_s is None:
        return None
    if isinstance(recycle.jitter, bool):
        extra_s = recycle.age_s * _SHARE if recycle.jitter else 0.0
    else:
        extra_s = recycle.jitter
    return spawned_at_s + recycle.age_s + extra_s * part


def why_old(recycle: Recycle, spawned_at_s: float, part: float, now_s: float) -> str:
    """Return why a run is due for its age, for people; empty: it is not."""
    at_s = age_due_s(recycle, spawned_at_s, part)
    if at_s is None or now_s < at_s or recycle.age_s is None:
        return ""
    return f"age {format_duration(recycle.age_s)}"


def why_worn(recycle: Recycle, runs: int, part: float) -> str:
    """Return why a run is due for the work that it has done; empty: it is not."""
    if recycle.runs is None:
        return ""
    extra = int(recycle.runs * _SHARE * part) if recycle.jitter is True else 0
    return "" if runs < recycle.runs + extra else f"runs {runs} of {recycle.runs}"


def why_large(recycle: Recycle, used_bytes: int) -> str:
    """Return why a run is due for its memory; empty: it is not."""
    most = recycle.memory_bytes
    if most is None or used_bytes < most:
        return ""
    return f"memory {format_bytes(used_bytes)} of {format_bytes(most)}"


def look_again_s(recycle: Recycle, used_bytes: int) -> float:
    """Return in how many seconds to look at its memory again: often only near the limit."""
    used = used_bytes / (recycle.memory_bytes or 1)
    return next(wait_s for part, wait_s in _LOOKS if used >= part)
