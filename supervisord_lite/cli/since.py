"""Moments as people write them: "10m" ago, "14:20", "2026-11-21 14:20", RFC 3339."""

import argparse
from datetime import UTC, datetime, timedelta

from supervisord_lite.base.units import UnitError, parse_duration_s


def moment_s(text: str, *, now: datetime | None = None) -> float:
    """Return a moment in seconds since the epoch.

    Args:
        text: A duration back from now, a time of the day (today's, or yesterday's where that is
            still to come), a date, or both; without an offset it is the machine's local time.
        now: Other than now, for tests; aware.

    Raises:
        argparse.ArgumentTypeError: It is none of these.
    """
    now = now or datetime.now(UTC)
    try:
        return now.timestamp() - parse_duration_s(text)
    except UnitError:
        pass
    local = now.astimezone()
    try:
        if ":" in text[:3]:
            when = datetime.fromisoformat(f"{local.date().isoformat()}T{text}")
            when = when if when.tzinfo else when.replace(tzinfo=local.tzinfo)
            return (when if when <= now else when - timedelta(days=1)).timestamp()
        # Without an offset it is local time, with the offset of that day.
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        message = f'"{text}" is no time: 10m, 14:20, 2026-11-21, 2026-11-21T14:20:00Z'
        raise argparse.ArgumentTypeError(message) from error
