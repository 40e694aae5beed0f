"""What a fork says comes from code that is not ours: whatever it is, it ends no keeper."""

import pytest

from supervisord_lite.keeper.fork_words import asked_for, bounded, understood
from supervisord_lite.keeper.spawn import LIMITS, StageError
from supervisord_lite.wire import channel

LEFT = '{"hello":{"is_marked":true,"left":{"nice":%s,"rlimits":%s}}}'


@pytest.mark.parametrize(
    "said",
    [
        "[" * 8000, "7", "null", "{}", '{"hello":[]}', '{"failed":{}}', '{"failed":"x"}',
        LEFT % ("Infinity", "[]"), LEFT % ("NaN", "[]"), LEFT % ("[]", "[]"),
        LEFT % (0, "[[1e999,0]]"), LEFT % (0, "[1]"), LEFT % (0, "[[1,2,3]]"), "9" * 8000, "\xff",
    ],
    ids=lambda said: said[-60:],
)  # fmt: skip
def test_what_is_no_hello_is_a_failed_start(said: str) -> None:
    """Too deep, too large, or of other types."""
    error = understood(said.encode("latin-1"))
    assert isinstance(error, StageError)
    assert (error.stage, error.hopeless) == ("forkserver", False)


def test_a_fork_chooses_among_its_own_limits() -> None:
    request = {"nice": 3, "rlimits": [["core", 10], ["nofile", 20]]}
    heard = understood((LEFT % (-20, f"[[{LIMITS['core']},99],[99999,1]]")).encode())
    assert not isinstance(heard, StageError)
    assert asked_for(request, heard["left"]) == {"nice": 3, "rlimits": [(LIMITS["core"], 10)]}
    nothing = {"nice": 0, "rlimits": []}
    assert asked_for(request, nothing) == nothing


@pytest.mark.parametrize("character", ["x", "é", chr(0x1F600), "\ud800"])
def test_a_long_traceback_travels_by_its_end(character: str) -> None:
    lines = [f"{number} {character * 490}" for number in range(100)]
    kept = bounded(lines)
    assert kept
    assert kept == lines[-len(kept) :]
    assert channel.encode({"servers": {"1": {"lines": kept}}})
