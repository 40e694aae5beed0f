"""Durations and sizes: what people write, and what people read.

Written: "500ms", "10s", "1h30m", "7d"; "64K", "512M", "2G" (1024 each). Printed: the same words,
compact, at most two units.
"""

import re

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError

#: Longer than any supervisor runs, shorter than any timer of the kernel overflows.
MAX_DURATION_S = 10 * 365 * 86400.0
#: The largest file offset and rlimit.
MAX_SIZE_BYTES = 2**63 - 1

_UNIT_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_UNIT_ORDER = tuple(_UNIT_S)
_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|[dhms])", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)([KMGT]?)", re.ASCII)
_SIZE_UNITS = ("B", "K", "M", "G", "T")


class UnitError(SupervisordLiteError):
    """This is not a duration or size."""

    exit_code = exit_codes.USAGE


def parse_duration_s(value: str | float) -> float:
    """Return a duration in seconds.

    Args:
        value: A text such as "500ms", "10s", "1h30m" (largest unit first, each once), or a number
            of seconds. A text without a unit is refused: "10" of what?

    Raises:
        UnitError: It is no such text, or negative, or longer than `MAX_DURATION_S`.
    """
    seconds = value if isinstance(value, (int, float)) else _duration_text_s(value)
    if not 0 <= seconds <= MAX_DURATION_S:  # NaN ends here too
        message = f"a duration is from 0 to 10 years, got {_shown(value)}"
        raise UnitError(message)
    return float(seconds)


def _duration_text_s(text: str) -> float:
    seconds = 0.0
    position = 0
    smallest = -1
    while position < len(text):
        part = _DURATION_PART.match(text, position)
        rank = _UNIT_ORDER.index(part[2]) if part else -1
        if part is None or rank <= smallest:
            break
        smallest = rank
        seconds += float(part[1]) * _UNIT_S[part[2]]
        position = part.end()
    if position < len(text) or not text:
        message = f'expected a duration such as "10s" or "5m", got "{text[:40]}"'
        digits = text.isascii() and text.isdigit()
        raise UnitError(message, hint=f'add a unit: "{text}s" or "{text}m"' if digits else "")
    return seconds


def parse_size_bytes(value: str | int) -> int:
    """Return a size in bytes.

    Args:
        value: A text such as "64K", "512M", "1.5G" (K is 1024 bytes), or a number of bytes.

    Raises:
        UnitError: It is no such text, or negative, or does not fit into 63 bits.
    """
    size_bytes = value if isinstance(value, int) else _size_text_bytes(value)
    if not 0 <= size_bytes <= MAX_SIZE_BYTES:
        message = f"a size is from 0 to 2^63-1 bytes, got {_shown(value)}"
        raise UnitError(message)
    return size_bytes


def _size_text_bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        message = f'expected a size such as "512M" or "2G", got "{text[:40]}"'
        shorter = re.sub(r"i?[bB]$", "", text).upper()
        hint = f'write "{shorter}"' if shorter != text and _SIZE.fullmatch(shorter) else ""
        raise UnitError(message, hint=hint)
    scale: int = 1024 ** _SIZE_UNITS.index(match[2] or "B")
    # Whole numbers stay whole: a float loses bytes above 2^53.
    return round(float(match[1]) * scale) if "." in match[1] else int(match[1]) * scale


def _shown(value: str | float) -> str:
    # str() refuses numbers of more than 4300 digits; nobody reads forty.
    large = isinstance(value, int) and value.bit_length() > 128
    return "a larger number" if large else str(value)[:40]


def format_duration(seconds: float) -> str:
    """Return *seconds* for people: "40ms", "0.2s", "41s", "2m10s", "1h", "3d 2h".

    At most two units, rounded to the smaller one; below 30 s one decimal, which is left out where
    it is 0. Negative durations (a deadline that has just passed) read as "0s".
    """
    if seconds < 0.0005:
        return "0s"
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 29.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole_s = int(seconds + 0.5)
    if whole_s < 60:
        return f"{whole_s}s"
    if whole_s < 3600:
        return _two(whole_s, 60, "m", "s")
    whole_m = int(seconds / 60 + 0.5)
    if whole_m < 24 * 60:
        return _two(whole_m, 60, "h", "m")
    return _two(int(seconds / 3600 + 0.5), 24, "d", "h", between=" ")


def written_duration(seconds: float) -> str | float:
    """Return a duration as one writes it, which is read as exactly this many seconds.

    "300ms", "1.5s", "90s", "5m", "2h"; the number itself where no such text is exact.
    """
    whole = int(seconds)
    if whole == seconds and whole:
        for unit in ("h", "m"):
            if whole % _UNIT_S[unit] == 0:
                return f"{whole // int(_UNIT_S[unit])}{unit}"
        return f"{whole}s"
    if not seconds:
        return "0s"
    for amount, unit in ((seconds * 1000, "ms"), (seconds, "s"))[seconds >= 1 :]:
        text = f"{amount:.9f}".rstrip("0").rstrip(".") + unit
        if _duration_text_s(text) == seconds:
            return text
    return seconds


def _two(amount: int, base: int, large: str, small: str, *, between: str = "") -> str:
    rest = f"{between}{amount % base}{small}" if amount % base else ""
    return f"{amount // base}{large}{rest}"


def format_bytes(size_bytes: float) -> str:
    """Return a size for people in at most four characters: "512B", "61M", "2.9G"."""
    size = float(max(size_bytes, 0))
    rank = 0
    # At most four characters: 1000M is 1.0G already.
    while size >= 999.5 and rank < len(_SIZE_UNITS) - 1:
        size /= 1024
        rank += 1
    unit = _SIZE_UNITS[rank]
    if unit == "B" or size >= 9.95:
        return f"{size:.0f}{unit}"
    return f"{size:.1f}{unit}"
