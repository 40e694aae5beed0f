"""Many inputs for one target, each of which can be made again from the seed and its number."""

import hashlib
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from tests.fuzz.targets import TARGETS

#: One file for each input that has ever crashed a target: TARGET/DIGEST.
CRASHES = Path(__file__).parent / "crashes"
#: Of a processor, and of a clock: on a machine that has much else to do the first says more.
_HANG_S = 10.0
_LATE_S = 120.0


_TIMERS = ((signal.SIGPROF, signal.ITIMER_PROF), (signal.SIGALRM, signal.ITIMER_REAL))


class HangError(Exception):
    """One input took longer than anybody should wait."""


class Crash(NamedTuple):
    """An input whose outcome must not be."""

    data: bytes
    told: str


def made(target: str, seed: int, number: int) -> bytes:
    """Return input *number* of a run."""
    return TARGETS[target].make(random.Random(f"{seed} {target} {number}"))


def crash_of(target: str, data: bytes) -> Crash | None:
    """Give one input to a target; return what went wrong."""
    for (number, timer), limit_s in zip(_TIMERS, (_HANG_S, _LATE_S), strict=True):
        signal.signal(number, _hang)
        signal.setitimer(timer, limit_s)
    try:
        TARGETS[target].judge(data)
    except Exception:  # noqa: BLE001  # whatever it is, that is what is looked for
        return Crash(data, traceback.format_exc())
    finally:
        for _, timer in _TIMERS:
            signal.setitimer(timer, 0.0)
    return None


def run(target: str, seed: int, inputs: int) -> list[tuple[int, Crash]]:
    """Return number and crash of every input that crashed, at most ten.

    Several that are packed into one (`Target.each`) count as several, and crash as one.
    """
    found = []
    try:
        for number in range(-(-inputs // TARGETS[target].each)):
            crash = crash_of(target, made(target, seed, number))
            if crash is not None:
                found.append((number, crash))
                if len(found) == 10:
                    break
    finally:
        TARGETS[target].end()
    return found


def known() -> list[tuple[str, Path]]:
    """Return the inputs that have crashed a target once."""
    return [(path.parent.name, path) for path in sorted(CRASHES.glob("*/*"))]


def keep(folder: Path, target: str, crash: Crash) -> Path:
    """Write an input down for all later runs; return where."""
    path = folder / target / hashlib.sha256(crash.data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(crash.data)
    return path


def timed(target: str, seed: int, inputs: int) -> tuple[list[tuple[int, Crash]], float]:
    """Return what `run` does, and how many seconds that took."""
    begun_s = time.monotonic()
    return run(target, seed, inputs), time.monotonic() - begun_s


def _hang(_number: int, _frame: FrameType | None) -> None:
    raise HangError
