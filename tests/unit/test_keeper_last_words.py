"""The last words of a Python worker: shown, never believed."""

import json

import pytest

from supervisord_lite.keeper.last_words import LastWords
from supervisord_lite.wire import channel


def test_a_crash_has_words_and_a_story() -> None:
    """In one line, whatever it was."""
    last = LastWords(json.dumps({"words": "ValueError: a\n b", "traceback": "Traceback …"}))
    assert last.failure is None
    assert last.crash == {"words": "ValueError: a b", "traceback": "Traceback …"}


def test_what_could_not_be_run_is_a_stage() -> None:
    """With its reason, and whether a retry can help."""
    last = LastWords(json.dumps({"stage": "target", "reason": "no way", "hopeless": True}))
    assert last.failure is not None
    assert (last.failure.stage, last.failure.reason, last.failure.hopeless) == (
        "target", "no way", True,
    )  # fmt: skip
    assert (last.crash, last.story) == ({}, {})


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '{"words": 3}', '{"words": ""}',
     '{"stage": "exec", "reason": "x"}', '{"stage": "target"}', '{"traceback": 3}', "[" * 100_000],
)  # fmt: skip
def test_anything_else_says_nothing(text: str) -> None:
    """A worker may send what it likes."""
    last = LastWords(text)
    assert (last.failure, last.crash, last.story) == (None, {}, {})


@pytest.mark.parametrize("letter", ["x", "ü", "\u20ac", "\U0001f600", "\x01", '"'])
def test_a_story_fits_into_a_message(letter: str) -> None:
    """Of a long one the end is kept, where the reason stands."""
    text = json.dumps({"words": letter * 9, "traceback": letter * 65_000 + "end"})
    last = LastWords(text)
    assert str(last.crash["traceback"]).endswith("end")
    assert len(channel.encode({"facts": [{"n": 1, **last.crash}]})) <= channel.MAX_MESSAGE_BYTES
