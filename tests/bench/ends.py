"""When processes end, seen by pidfd: to the millisecond, also of those who are not our children."""

import contextlib
import os
import resource
import select
import time
from collections.abc import Callable, Iterable, Iterator

from tests.support import leftovers


def living(pids: Iterable[int]) -> set[int]:
    """Return those that have not ended."""
    return {pid for pid in pids if leftovers.is_alive(pid)}


def wait_ends(pids: Iterable[int], order: Callable[[], None], *, timeout_s: float) -> float:
    """Watch *pids*, give the order that ends them, and return the seconds until all have.

    Raises:
        AssertionError: Some have not, in time.
    """
    watched = set(pids)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_room_for(len(watched) + 256))
        poll, left = select.poll(), set()
        for pid in watched:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, descriptor)
            poll.register(descriptor, select.POLLIN)
            left.add(descriptor)
        begun_s = time.monotonic()
        order()
        while left:
            rest_s = begun_s + timeout_s - time.monotonic()
            assert rest_s > 0, f"{len(left)} of {len(watched)} live after {timeout_s:g} s"
            for descriptor, _ in poll.poll(rest_s * 1e3):
                poll.unregister(descriptor)
                left.remove(descriptor)
        return time.monotonic() - begun_s


@contextlib.contextmanager
def _room_for(descriptors: int) -> Iterator[None]:
    """Raise our soft limit meanwhile: whoever is started inherits it, and some close them all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, descriptors)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
