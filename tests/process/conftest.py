"""What several process tests need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disks import a_disk


@pytest.fixture
def disk() -> Iterator[Path]:
    """Yield a mounted file system of its own, on a loop device."""
    with a_disk() as point:
        yield point
