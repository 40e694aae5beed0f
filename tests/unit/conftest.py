"""Fixtures of several files here."""

from collections.abc import Iterator

import pytest

from tests.support.supervisor import Daemon


@pytest.fixture
def made() -> Iterator[list[Daemon]]:
    """Return a list; the daemons that a test puts into it are closed at its end."""
    daemons: list[Daemon] = []
    yield daemons
    for daemon in daemons:
        daemon.close()
