"""Text for people and terminals: escaped, at most 80 columns, compact."""

import textwrap
import unicodedata
from datetime import UTC, datetime

from supervisord_lite.base.units import format_bytes, format_duration

COLUMNS = 80


def printable(text: str) -> str:
    r"""Return *text* without a character that a terminal would obey: "\x1b[31m" becomes visible.

    Everything that Unicode calls a control, a format (writing direction), a surrogate or a
    separator other than a space is written as its escape.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Return how many columns a terminal needs for *text*."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in {"W", "F"} for character in text)
    return len(text) + wide


def clip(text: str, columns: int) -> str:
    """Return *text*, escaped, cut to *columns* with "..." where it was longer."""
    text = printable(text)
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 3:
        text = text[:-1]
    return text + "..."


def fold(text: str, *, indent: int, columns: int = COLUMNS) -> str:
    """Return *text*, escaped, in lines of at most *columns*; all but the first are indented.

    A word that is longer than a line, such as a path, stays whole: people copy it.
    """
    lines = textwrap.wrap(
        printable(text),
        columns,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def up(seconds: float | None) -> str:
    """Return a duration in one unit: "3d", "1h", "12m", "45s"; "-" for None."""
    if seconds is None:
        return "-"
    whole_s = max(0, int(seconds))
    for unit, unit_s in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole_s >= unit_s:
            return f"{whole_s // unit_s}{unit}"
    return f"{whole_s}s"


def size(size_bytes: int | None) -> str:
    """Return a size in at most four characters and its unit: "61M", "2.9G"; "-" for None."""
    return "-" if size_bytes is None else format_bytes(size_bytes)


def ago(at: str, *, now: datetime | None = None) -> str:
    """Return how long an RFC 3339 time lies back: "3d ago"; the text itself if it is no time."""
    try:
        then = datetime.fromisoformat(at)
        passed = (now or datetime.now(UTC)) - then
    except (TypeError, ValueError):
        return at
    return f"{up(passed.total_seconds())} ago"


def soon(seconds: float) -> str:
    """Return a wait: "3.2s", "2m10s"."""
    return format_duration(max(0.0, seconds))


def count(number: int, noun: str) -> str:
    """Return "1 worker", "2 workers", "2 processes"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def clock_time(at: str) -> str:
    """Return an RFC 3339 time as the clock on the wall: "14:20", or "2026-11-20 14:20"."""
    try:
        when = datetime.fromisoformat(at).astimezone()
    except ValueError:
        return at
    today = datetime.now(UTC).astimezone().date()
    return when.strftime("%H:%M" if when.date() == today else "%Y-%m-%d %H:%M")
