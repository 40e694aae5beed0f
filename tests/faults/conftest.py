"""The house, for as long as the faults of one file take."""

from collections.abc import Iterator

import pytest

from tests.support.house import House


@pytest.fixture(scope="module")
def house(nothing_left_behind: None) -> Iterator[House]:
    """Yield one daemon, to which one fault after the other happens."""
    assert nothing_left_behind is not False
    with House() as house:
        yield house
