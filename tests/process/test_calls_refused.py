"""Calls of the daemon that are refused: some of all that `python -m tests.faults` tries.

Which ones is drawn by a seed, which is printed.
"""

import errno
import sys
from collections.abc import Callable

import pytest

from tests.faults.sweeps import ALONE, OF_ROLE
from tests.support.keeper_life import fails_at
from tests.support.keeper_told import seeded
from tests.support.refusing import SCENES, Refusing, refused_in

pytestmark = [pytest.mark.process, pytest.mark.slow]

#: About every second call that is drawn is one that comes.
_MOST_DRAWN = 30


def test_calls_of_a_keeper_that_are_drawn() -> None:
    """Nothing is lost, leaked, or left behind."""
    rng = seeded()

    def is_refused() -> bool:
        kind = rng.choice(sorted(ALONE))
        number = rng.choice(ALONE[kind])
        which, cgroups = rng.randint(1, 20), rng.random() < 0.5
        sys.stderr.write(f"{kind} {errno.errorcode[number]} {which} {cgroups=}\n")
        return fails_at(kind, number, which, cgroups=cgroups)

    _draw(3, is_refused)


def test_calls_of_a_whole_daemon_that_are_drawn() -> None:
    """Everything is as it would be without: at most one request, start or supervisor is lost."""
    rng = seeded()
    scenes = [name for name, scene in SCENES.items() if not scene.is_end]
    with Refusing() as daemon:

        def is_refused() -> bool:
            scene, role = rng.choice(scenes), rng.choice(sorted(OF_ROLE))
            kind = rng.choice(sorted(OF_ROLE[role]))
            number = rng.choice(OF_ROLE[role][kind])
            which = rng.randint(1, 8)
            sys.stderr.write(f"{role}: {kind} {errno.errorcode[number]} {which}: {scene}\n")
            return refused_in(daemon, scene, role, kind, number, which)

        _draw(5, is_refused)
        # The mode of a lock that is made again: it is held already, and must not stay so.
        assert refused_in(daemon, "deletions", "keeper", "fchmod", errno.EIO, 2)
        # One of them is the word to leave: it is said again, and whoever waits meanwhile sleeps.
        for which in (1, 2, 3, 4):
            assert refused_in(daemon, "succession", "keeper", "sendmsg", errno.ENOBUFS, which)


def _draw(times: int, is_refused: Callable[[], bool]) -> None:
    """Draw so often, and on until a call was refused."""
    refused = [is_refused() for _ in range(times)]
    while not any(refused):
        assert len(refused) < _MOST_DRAWN, "no call is refused"
        refused.append(is_refused())
