"""The daemon's own lines: one event, one line, readable by people or by programs."""

import json

import pytest

from supervisord_lite.base.log_line import format_line, rfc3339

AT_S = 1_700_000_000.0
AT = "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("web-2", "web-2"),
        ("/srv/web.log", "/srv/web.log"),
        ("exit 1", '"exit 1"'),
        ("", '""'),
        ('say "hi"', '"say \\"hi\\""'),
        ("two\nlines", '"two\\nlines"'),
        ("grün", '"gr\\u00fcn"'),
        (7, "7"),
        (4.0, "4.0"),
        (4.1, "4.1"),
        (0.1234567, "0.123"),
        (True, "True"),
    ],
)
def test_values_are_quoted_only_where_they_must(value: object, shown: str) -> None:
    """A plain word stays plain; whatever could be misread is a JSON string."""
    assert format_line("text", "info", "e", {"key": value}, AT_S) == f"{AT} info e key={shown}"


def test_a_line_is_one_line() -> None:
    """Whatever is logged, nobody can forge a second line with it."""
    line = format_line("text", "error", "x", {"a": "1\n2\r3\x1b[0m"}, AT_S)

    assert line.isprintable()


def test_json_holds_the_same() -> None:
    """One object; what is unknown is left out in both styles."""
    fields: dict[str, object] = {"name": "web-2", "code": None, "in_s": 4.1}

    assert json.loads(format_line("json", "info", "worker.exited", fields, AT_S)) == {
        "at": AT, "level": "info", "event": "worker.exited", "name": "web-2", "in_s": 4.1,
    }  # fmt: skip
    assert format_line("text", "info", "e", fields, AT_S) == f"{AT} info e name=web-2 in_s=4.1"


@pytest.mark.parametrize(
    ("wall_s", "text"),
    [
        (AT_S + 0.125, "2023-11-14T22:13:20.125Z"),
        (AT_S + 0.9999, "2023-11-14T22:13:20.999Z"),
        (0.0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds(wall_s: float, text: str) -> None:
    """RFC 3339, never rounded into the next second."""
    assert rfc3339(wall_s) == text


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)]
)
def test_lines_for_the_journal_begin_with_their_priority(level: str, priority: int) -> None:
    """Both styles; the rest is as ever."""
    for style in ("text", "json"):
        line = format_line(f"{style}+priority", level, "e", {"a": 1}, AT_S)
        assert line == f"<{priority}>" + format_line(style, level, "e", {"a": 1}, AT_S)
