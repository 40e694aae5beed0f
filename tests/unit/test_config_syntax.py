"""What is not TOML, or only a newer TOML, is told with a cause and a cure at its place."""

import pytest

from supervisord_lite.config import slips
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.locate import MULTI_LINE_TABLE, TRAILING_COMMA
from supervisord_lite.config.source import Source
from supervisord_lite.config.syntax import parse


def only_problem(text: str) -> Problem:
    with pytest.raises(ConfigurationError) as caught:
        parse(Source("workers.toml", text))
    (problem,) = caught.value.problems
    return problem


SLIPS = {
    "multi-line inline table": (
        "[worker.a]\nhealth = {\n  http = 'x'\n}\n", (2, 10), "must stand on one", "dotted key"),
    "multi-line after a pair": ("a = { b = 1,\n c = 2 }", (1, 5), "one line", "dotted key"),
    "brace on its own line": ("a = { b = 1\n}", (1, 5), "one line", "dotted key"),
    "trailing comma": ("a = { b = 1, }", (1, 12), "no comma", "remove the comma"),
    "signal without quotes": ("stop_signal = SIGTERM", (1, 15), "SIGTERM is not", '"SIGTERM"'),
    "signal in a list": ("s = [SIGTERM]", (1, 6), "SIGTERM is not", '"SIGTERM"'),
    "duration without quotes": ("t = 10m", (1, 5), "10m is not", '"10m"'),
    "duration in a list": ("t = [10m, 1s]", (1, 6), "10m is not", '"10m"'),
    "duration in a table": ("t = { min = 1.5h }", (1, 13), "1.5h is not", '"1.5h"'),
    "command without quotes": ("c = /bin/x -a # b", (1, 5), "/bin/x is not", '"/bin/x -a"'),
    "command with quotes in it": ('c = sh -c "x"', (1, 5), "sh is not", "'sh -c \"x\"'"),
    "Python's True": ("autostart = True", (1, 13), "True is not", "write true"),
    "YAML's no": ("autostart = no", (1, 13), "no is not", "write false"),
    "null": ("user = null", (1, 8), "null is not", "leave the key out"),
    "text, then table": (
        '[worker.a]\nlog = "journal"\nlog.max_size = 1', (3, 1), "since line 2", "log.stdout = "),
    "table, then text": (
        '[worker.a]\nlog.max_size = 1\nlog = "x"', (3, 1), "since line 2", 'log.stdout = "x"'),
    "table declared twice": (
        "[worker.a]\nx = 1\n[worker.a]\n", (3, 1), "[worker.a] stands twice; first in line 1",
        "another name"),
    "table after dotted keys": ("[a]\nb.c = 1\n[a.b]", (3, 1), "since line 2", "put these keys"),
    "dotted keys after table": ("[a.b]\n[a]\nb.c = 1", (3, 1), "stands in line 1", "below that"),
    "key set twice": ("a = 1\nb = 2\na = 3", (3, 1), "set twice; first in line 1", "keep one"),
    "adding to an inline table": ("a = { b = 1 }\na.c = 1", (2, 1), "inline table", "dotted"),
    "header over a value": ("a = 1\n[a]", (2, 1), "since line 1", "keep one"),
    "bracket never closed": ('[worker.a]\nc = ["x"\n', (2, 5), 'this "[" is never', 'add "]"'),
    "bracket, then a header": ('c = ["x",\n[b]\nx = 1', (1, 5), 'this "[" is never', 'add "]"'),
    "bracket, then a key": ('c = ["x",\nd = 1', (1, 5), 'this "[" is never', 'add "]"'),
    "brace never closed": ("a = { b = 1", (1, 5), 'this "{" is never', 'add "}"'),
    "header never closed": ("[a", (1, 1), 'this "[" is never', 'add "]"'),
    "quote never closed": ('[a]\nb = "x\nc = 1', (2, 5), "never closed", 'missing "'),
    "quotes never closed": ('b = """x\n\nc = 1', (1, 5), "never closed", 'missing """'),
    "apostrophe never closed": ("b = 'x\nc = 1", (1, 5), "never closed", "missing '"),
    "comma missing": ('c = ["x"\n "y"]', (2, 2), "a comma is missing", ""),
    "value missing": ("a =\nb = 1", (1, 4), "a value is missing", ""),
    "leading zero": ("umask = 022", (1, 9), "does not begin with 0", '"022" or 0o022'),
    "backslash": (r'a = "\d"', (1, 6), "Unescaped", "'…'"),
    "colon": ("a: 1", (1, 2), "expected =", "not key: value"),
    "no equals": ("[a]\nword\n", (2, 5), "expected =", "key = value"),
    "two pairs on a line": ("a = 1 b = 2", (1, 7), "end of the line", "one key"),
    "supervisord's header": ("[program:web]\n", (1, 1), "no TOML header", "[worker.web]"),
    "circus's header": ("\n[watcher:web]\n", (2, 1), "no TOML header", "[worker.web]"),
    "space in a header": ("[worker.my web]\n", (1, 12), "header has no ]", "letters"),
    "ini comment": ("; x", (1, 1), "Invalid statement", "begins with #"),
    "byte order mark": ("\ufeffa = 1", (1, 1), "byte order mark", "UTF-8"),
    "too deep": ("a = " + "[" * 3000, (1, 3004), "too deep", ""),
    "too many digits": ("a = " + "9" * 5000, (1, 5), "too many digits", ""),
    "anything else": ("a = 2021-02-30", (1, 5), "invalid date", ""),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message", "hint"), SLIPS.values(), ids=SLIPS.keys())
def test_a_slip_is_told_with_its_cure(
    text: str, place: tuple[int, int], message: str, hint: str
) -> None:
    """An error is placed where the slip is, which may be lines above where reading stops."""
    problem = only_problem(text)
    assert (problem.line, problem.column) == place
    assert message in problem.message
    assert hint in problem.hint
    assert "(at " not in problem.message


DEEP = {
    "dotted key": (".".join(["a"] * 1500) + " = 1", (1, 1)),
    "dotted key, absurdly long": ("[x]\n" + ".".join(["a"] * 300_000) + " = 1", (2, 1)),
    "quoted keys": ("# a.b\n" + " . ".join([r'"\"."', "'.'"] * 40) + " = 1", (2, 1)),
    "header": ("[" + ".".join(["a"] * 70) + "]", (1, 2)),
    "header and key": (f"[{'.'.join('a' * 60)}]\n{'.'.join('b' * 60)} = 1", (2, 9)),
    "lists": ("a = " + "[" * 100 + "]" * 100, (1, 69)),
    "lists that Python cannot walk": ("a = " + "[" * 300 + "]" * 300, None),
    "lists that tomllib cannot walk": ("a = " + "[" * 20_000 + "]" * 20_000, (1, 20_004)),
    "inline tables": ("a = " + "{a = " * 100 + "1" + "}" * 100, (1, 321)),
    "inline tables with dots": ("a = " + "{b.c.d = " * 40 + "1" + "}" * 40, (1, 195)),
    "doubled behind it": ("a = " + "[" * 300 + "]" * 300 + "\na = 1", None),
}


@pytest.mark.parametrize(("text", "place"), DEEP.values(), ids=DEEP.keys())
def test_what_stands_too_deep_is_told_at_its_place(
    text: str, place: tuple[int, int] | None
) -> None:
    """However tables and lists are nested: an error, soon, and the same on every Python."""
    problem = only_problem(text)
    assert place in (None, (problem.line, problem.column))
    assert "too deep" in problem.message or "since line 1" in problem.message


def test_what_is_not_too_deep_is_read() -> None:
    """64 levels are fine, and dots in texts and comments are no levels."""
    dots = ".".join(["a"] * 1500)
    text = f'{".".join("b" * 64)} = 1\n# {dots}\na = \'{dots}\'\nc = """{dots}\n{dots}"""\n'
    assert parse(Source("x.toml", text)).tree["a"] == dots


def test_windows_line_ends_do_not_move_a_place() -> None:
    """A file with CRLF has its errors at the same lines and columns."""
    problem = only_problem("a = 1\r\nb = SIGTERM\r\n")
    assert (problem.line, problem.column, problem.source) == (2, 5, "b = SIGTERM")


def test_columns_count_characters() -> None:
    """An umlaut in front of an error counts as one column."""
    assert only_problem('a = ["äöü", SIGTERM]').column == 13


@pytest.mark.parametrize("cause", [MULTI_LINE_TABLE, TRAILING_COMMA])
def test_what_newer_tomls_allow_has_the_same_cure(cause: str) -> None:
    """Whether tomllib refuses a multi-line inline table or takes it, people read the same words."""
    texts = {MULTI_LINE_TABLE: "a = {\n b = 1 }", TRAILING_COMMA: "a = { b = 1, }"}
    problem = only_problem(texts[cause])
    assert (problem.message, problem.hint) == (cause, slips.cure(cause))
