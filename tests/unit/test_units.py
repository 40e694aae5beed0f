import pytest

from supervisord_lite.base.units import (
    MAX_DURATION_S,
    UnitError,
    format_bytes,
    format_duration,
    parse_duration_s,
    parse_size_bytes,
    written_duration,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("7d", 604800.0),
        ("1d2h3m4s5ms", 93784.005),
        ("0.2s", 0.2),
        ("0s", 0.0),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_durations_are_read(written: str | float, seconds: float) -> None:
    """A duration is a text with units, largest first, or a number of seconds."""
    assert parse_duration_s(written) == pytest.approx(seconds)
    assert isinstance(parse_duration_s(written), float)


@pytest.mark.parametrize(
    "written",
    ["", "10", "5x", "10 s", "s", "1m1h", "1s1s", "-1s", "1e3s", "10S", "²s", "1.s", "11y", "9999d",
     -1, float("nan"), float("inf"), 10**400, MAX_DURATION_S * 2],
)  # fmt: skip
def test_what_is_no_duration_is_refused(written: str | float) -> None:
    """A duration without a unit, with a wrong one, negative or endless is refused."""
    with pytest.raises(UnitError):
        parse_duration_s(written)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.3, "300ms"), (0.009, "0.009s"), (9 * 0.001, "9ms"), (1.5, "1.5s"), (90.0, "90s"),
     (5400.0, "90m"), (86400.0, "24h"), (0.0, "0s"), (1 / 3, 1 / 3)],
)  # fmt: skip
def test_a_duration_is_written_as_people_write_it(seconds: float, written: str | float) -> None:
    """And so that it is read as the same again; where no text is exact, the number stands."""
    assert written_duration(seconds) == written
    assert parse_duration_s(written) == seconds


def test_a_bare_number_in_quotes_is_told_how_to_go_on() -> None:
    """ "30" might be seconds or minutes: the error shows both."""
    with pytest.raises(UnitError) as caught:
        parse_duration_s("30")
    assert caught.value.hint == 'add a unit: "30s" or "30m"'


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("64K", 65536),
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("1T", 1 << 40),
        ("1.5G", 3 << 29),
        ("7", 7),
        (0, 0),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_sizes_are_read(written: str | int, size_bytes: int) -> None:
    """A size is a text with K, M, G or T (1024 each), or a number of bytes, exact."""
    assert parse_size_bytes(written) == size_bytes


@pytest.mark.parametrize(
    "written", ["", "M", "5MB", "5 M", "5m", "-2", "1e3", "9999999T", -1, 2**63]
)
def test_what_is_no_size_is_refused(written: str | int) -> None:
    """Another unit, a sign or more than the kernel can count is refused."""
    with pytest.raises(UnitError):
        parse_size_bytes(written)


def test_a_size_with_a_b_is_told_without() -> None:
    """Who writes 512MiB reads 512M."""
    with pytest.raises(UnitError) as caught:
        parse_size_bytes("512MiB")
    assert caught.value.hint == 'write "512M"'


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [
        (-3, "0s"),
        (0, "0s"),
        (0.0004, "0s"),
        (0.04, "40ms"),
        (0.0996, "0.1s"),
        (0.2, "0.2s"),
        (3.1, "3.1s"),
        (3.0, "3s"),
        (14.2, "14.2s"),
        (29.97, "30s"),
        (41.3, "41s"),
        (59.6, "1m"),
        (130, "2m10s"),
        (3599.7, "1h"),
        (34860, "9h41m"),
        (86399, "1d"),
        (266400, "3d 2h"),
        (3 * 86400, "3d"),
    ],
)
def test_durations_are_printed_compact(seconds: float, printed: str) -> None:
    """A duration shows at most two units and never 60s or 24h."""
    assert format_duration(seconds) == printed


@pytest.mark.parametrize(
    ("size_bytes", "printed"),
    [
        (-1, "0B"),
        (0, "0B"),
        (999, "999B"),
        (1023, "1.0K"),
        (1024, "1.0K"),
        (10240, "10K"),
        (1023.6 * 1024, "1.0M"),
        (61 << 20, "61M"),
        (2.9 * 2**30, "2.9G"),
        (5 << 50, "5120T"),
    ],
)
def test_sizes_are_printed_in_four_characters(size_bytes: float, printed: str) -> None:
    """A size is short enough for a column of a table."""
    assert format_bytes(size_bytes) == printed
