"""What the resident processes sleep in."""

import os

import pytest

from supervisord_lite.keeper.poller import Poller as KeeperPoller
from supervisord_lite.supervisor.poller import Poller as SupervisorPoller

POLLERS: dict[str, type[KeeperPoller] | type[SupervisorPoller]] = {
    "keeper": KeeperPoller,
    "supervisor": SupervisorPoller,
}


@pytest.mark.parametrize("kind", POLLERS)
def test_a_time_that_is_years_away_is_slept_for(kind: str) -> None:
    """The kernel counts some weeks at most, and refuses more; both loops outlive that."""
    poller = POLLERS[kind]()
    reading, writing = os.pipe()
    poller._poll.register(reading)
    os.close(writing)
    poller.wait(1e9)
    poller._poll.close()
    os.close(reading)
