"""Did you mean."""

import pytest

from supervisord_lite.base.suggest import nearest

KNOWN = ["stop_timeout", "stop_signal", "start_timeout", "web", "worker", "web-1", "web-2"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("stop_timout", "stop_timeout"),
        ("stop_tiemout", "stop_timeout"),
        ("stoptimeout", "stop_timeout"),
        ("wbe", "web"),
        ("wed", "web"),
        ("wrker", "worker"),
        ("web-3", "web-1"),
        ("web", "web"),
        ("database", None),
        ("x", None),
        ("", None),
    ],
)
def test_only_what_is_near_is_suggested(word: str, meant: str | None) -> None:
    """A slip of the fingers is recognised; another word is not turned into one of ours."""
    assert nearest(word, KNOWN) == meant


def test_nothing_known_is_no_suggestion() -> None:
    """An empty file has no names to suggest."""
    assert nearest("web", []) is None


def test_equals_are_decided_the_same_way_each_time() -> None:
    """Order of the names does not matter."""
    assert nearest("web-3", reversed(KNOWN)) == nearest("web-3", KNOWN)


def test_a_word_of_any_length_costs_next_to_nothing() -> None:
    """A client that asks for a name of 60 KB must not stop supervision for seconds."""
    assert nearest("x" * 60_000, ["a" * 100] * 10_000) is None
