"""A small run of what `python -m tests.fuzz` does at length, and every input that ever crashed."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import sys

import pytest

from tests.fuzz import runner
from tests.fuzz.targets import TARGETS

_SLOW = ("loader", "toml", "positions")


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_read_or_refused(target: str) -> None:
    """SDL_SEED gives the same inputs again."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")

    found = runner.run(target, seed, 100 if target in _SLOW else 1000)

    assert found == []


def test_what_has_crashed_once_does_so_no_more() -> None:
    """Checked in with what has mended it; none so far is none."""
    crashes = [runner.crash_of(target, path.read_bytes()) for target, path in runner.known()]

    assert crashes == [None] * len(crashes)


def test_a_crash_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that fails is told with the input that makes it fail, which can be made again."""

    def judge(data: bytes) -> None:
        assert b"\n" not in data

    monkeypatch.setitem(TARGETS, "lines", TARGETS["lines"]._replace(judge=judge))
    (number, crash), *_ = runner.run("lines", 1, 20)
    assert crash.data == runner.made("lines", 1, number)
    assert "AssertionError" in crash.told
