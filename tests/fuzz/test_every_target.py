"""A small run of what `python -m tests.fuzz` does at length, and every input that ever crashed."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import sys

import pytest

from tests.fuzz import runner
from tests.fuzz.targets import TARGETS


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_read_or_refused(target: str) -> None:
    """SDL_SEED gives the same inputs again."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")

    found = runner.run(target, seed, TARGETS[target].few)

    assert [(number, crash.told) for number, crash in found] == []


@pytest.mark.parametrize("target", sorted({target for target, _ in runner.known()}))
def test_what_has_crashed_once_does_so_no_more(target: str) -> None:
    """Each is checked in with what has mended it."""
    paths = [path for of, path in runner.known() if of == target]
    assert paths
    try:
        crashes = {path.name: runner.crash_of(target, path.read_bytes()) for path in paths}
    finally:
        TARGETS[target].end()

    assert crashes == {path.name: None for path in paths}


def test_a_crash_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that fails is told with the input that makes it fail, which can be made again."""

    def judge(data: bytes) -> None:
        assert b"\n" not in data

    monkeypatch.setitem(TARGETS, "lines", TARGETS["lines"]._replace(judge=judge))
    (number, crash), *_ = runner.run("lines", 1, 20)
    assert crash.data == runner.made("lines", 1, number)
    assert "AssertionError" in crash.told


def test_an_input_that_never_ends_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write a header may not let us work for ever."""

    def judge(_data: bytes) -> None:
        while True:
            pass

    monkeypatch.setattr(runner, "_HANG_S", 0.01)
    monkeypatch.setitem(TARGETS, "lines", TARGETS["lines"]._replace(judge=judge))
    (_, crash), *_ = runner.run("lines", 1, 1)
    assert "HangError" in crash.told
