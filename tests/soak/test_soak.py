"""A minute of everything at once."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import sys
from pathlib import Path

import pytest

from tests.soak.soak import Soak, a_fleet
from tests.support.disks import can_mount

pytestmark = [pytest.mark.process, pytest.mark.slow]

SECONDS = 60.0
WORKERS = 60


def test_a_minute_of_faults_costs_nothing_that_is_promised(tmp_path: Path) -> None:
    """No slot twice, no line lost, answers within a second, and nothing has grown."""
    if not can_mount():
        pytest.skip("needs root: to fill and freeze disks")
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    with a_fleet(WORKERS) as fleet:
        report = Soak(fleet, seed=seed, seconds=SECONDS, keep=tmp_path / "daemon").run()
    sys.stderr.write(f"{report.text()}\n")
    assert report.faults.total() > SECONDS
