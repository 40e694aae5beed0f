"""The lines that tell most of how a program ended."""

from supervisord_lite.cli.telling import telling


def test_the_error_is_shown_though_more_was_said_behind_it() -> None:
    """In the place of the oldest of the last lines; the latest error counts."""
    lines = ["KeyError: 'x'", "ModuleNotFoundError: No module named 'shop'", *"abcdefg"]
    assert telling(lines, 4) == ["ModuleNotFoundError: No module named 'shop'", *"efg"]


def test_else_they_are_the_last_ones() -> None:
    """Where the error is among them, or there is none, or there are few."""
    assert telling([*"abc", "shop.Error: x", *"de"], 4) == ["c", "shop.Error: x", *"de"]
    assert telling([*"abcdef"], 4) == [*"cdef"]
    assert telling(["no Errors here", *"abcdef"], 4) == [*"cdef"]
    assert telling(["x"], 4) == ["x"]
    assert telling([], 4) == []
