"""Garbage in cycles is freed, in a supervisor of any size."""

import subprocess
import sys

import pytest

from tests.support.daemon import CHECKOUT

#: The collector is that of the whole process, so it has one of its own. Each cycle lives until so
#: many others have come; how many there were at most is told.
_SUPERVISOR = """
import gc, sys
from collections import deque
from supervisord_lite.supervisor import garbage

class Cycle:
    count = most = 0
    def __init__(self):
        self.own = self
        Cycle.count += 1
        Cycle.most = max(Cycle.most, Cycle.count)
    def __del__(self):
        Cycle.count -= 1

workers, lives, reloads = map(int, sys.argv[1:])
garbage.take_charge()
garbage.settle()
living = deque(maxlen=lives)
for number in range(400_000):
    living.append(Cycle())
    if number % 100 == 0:
        garbage.between_turns(workers)
    if reloads and number % reloads == 0:
        garbage.hold()
        garbage.settle()
print(Cycle.most)
"""


@pytest.mark.parametrize("workers", [1, 501])
@pytest.mark.parametrize(
    ("lives", "reloads"), [(1, 0), (100_000, 0), (1, 500)], ids=["short", "long", "reloads"]
)
def test_what_is_garbage_does_not_stay(workers: int, lives: int, reloads: int) -> None:
    """However long it has lived, and however much stays for good meanwhile."""
    words = [sys.executable, "-c", _SUPERVISOR, *map(str, (workers, lives, reloads))]
    most = int(subprocess.run(words, cwd=CHECKOUT, capture_output=True, check=True).stdout)
    assert lives <= most < lives + 150_000
