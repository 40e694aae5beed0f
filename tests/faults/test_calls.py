"""Rows 3 and 6, and what else only the seam can refuse: the keeper's calls fail on purpose.

In a file of its own: the house would be a child of the process that plays supervisor and scribe.
"""

import errno

import pytest

from tests.support.keeper_life import fails_once

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize("kind", ["fork", "posix_spawn"])
def test_row_03_fork_enomem(kind: str) -> None:
    """No memory for a process, at whichever start: that one is tried again."""
    fails_once(kind, errno.ENOMEM)


@pytest.mark.parametrize("kind", ["pipe2", "open", "socketpair", "pidfd_open"])
def test_row_06_enfile(kind: str) -> None:
    """The machine has no descriptors left, at whichever call: nothing is lost."""
    fails_once(kind, errno.ENFILE)
