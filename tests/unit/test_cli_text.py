"""Text for people: escaped, folded, compact."""

from datetime import UTC, datetime

import pytest

from supervisord_lite.cli import text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\tb\n", "a\\x09b\\x0a"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(raw: str, shown: str) -> None:
    """Control, direction and half characters become visible; letters stay letters."""
    assert text.printable(raw) == shown


def test_clipping_counts_columns() -> None:
    """Wide characters take two."""
    assert text.clip("abcdef", 6) == "abcdef"
    assert text.clip("abcdefg", 6) == "abc..."
    assert text.width(text.clip("漢" * 9, 8)) <= 8


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (3 * 86400 + 1, "3d")],
)
def test_up_is_one_unit(seconds: float | None, shown: str) -> None:
    """The column is four wide."""
    assert text.up(seconds) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (None, "-"),
        (0, "0B"),
        (61 << 20, "61M"),
        (1000 << 20, "1.0G"),
        (3112 << 20, "3.0G"),
        (780 << 20, "780M"),
        (300 << 30, "300G"),
        (1 << 50, "1024T"),
    ],
)
def test_sizes_fit_their_column(size_bytes: int | None, shown: str) -> None:
    """The column is five wide."""
    assert text.size(size_bytes) == shown


def test_ago_survives_what_is_no_time() -> None:
    """A daemon of another version is no reason to fail."""
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    assert text.ago("2026-11-18T11:00:00Z", now=now) == "3d ago"
    assert text.ago("2026-11-18T11:00:00", now=now) == "2026-11-18T11:00:00"
    assert text.ago("soon", now=now) == "soon"
