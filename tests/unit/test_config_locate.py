import tomllib

import pytest

from supervisord_lite.config.locate import (
    MULTI_LINE_TABLE,
    NEW_ESCAPE,
    TRAILING_COMMA,
    Path,
    locate,
)

TEXT = '''\
# a comment with [brackets]
top."quoted key" = 1

[worker.web]  # the header
command = ["a", # one
  "b",
]
log.stdout = "x"
log.max_size = 3
backoff = { min = "1s", max.a = 2 }
text = """
[not.a.header]
"""

[[list]]
a = 1
[[list]]
a = 2
[list.inner]
b = [[1, 2], { c = 3 }]
'''


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("top",), "top", None),
        (("top", "quoted key"), '"quoted key"', "1"),
        (("worker", "web"), "web", None),
        (("worker", "web", "command", 1), '"b"', '"b"'),
        (("worker", "web", "log"), "log", None),
        (("worker", "web", "log", "max_size"), "max_size", "3"),
        (("worker", "web", "backoff"), "backoff", '{ min = "1s", max.a = 2 }'),
        (("worker", "web", "backoff", "max", "a"), "a", "2"),
        (("list", 0), "list", None),
        (("list", 1, "a"), "a", "2"),
        (("list", 1, "inner", "b", 0, 1), "2", "2"),
        (("list", 1, "inner", "b", 1, "c"), "c", "3"),
    ],
)
def test_each_key_and_value_has_its_place(path: Path, key: str, value: str | None) -> None:
    """An error can point at every key, value and item of a list, however it was written."""
    places = locate(TEXT)
    assert TEXT[slice(*places.keys[path])] == key
    if value is None:
        assert path not in places.values
    else:
        assert TEXT[slice(*places.values[path])] == value


def test_a_key_stands_where_it_was_first_written() -> None:
    """An error about a table that is written in several places points at the first one."""
    places = locate("[x.y]\na.b = 1\na.c = 2\n[x]\n")
    assert places.keys["x",] == (1, 2)
    assert places.keys["x", "y", "a"] == (6, 7)


def test_a_header_has_its_own_place() -> None:
    """An error about a whole worker points at its header."""
    places = locate(TEXT)
    assert TEXT[slice(*places.headers["worker", "web"])] == "[worker.web]"
    assert TEXT[slice(*places.headers["list", 1])] == "[[list]]"
    assert ("worker",) not in places.headers


def test_what_has_no_place_takes_the_one_around_it() -> None:
    """An error about a key that is missing points at its table."""
    places = locate(TEXT)
    assert places.key(("worker", "web", "nope", 3)) == places.keys["worker", "web"]
    assert places.value(("worker", "web")) == places.keys["worker", "web"]
    assert places.key(("nope",)) == (0, 1)


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("a = {\n b = 1 }", 4, MULTI_LINE_TABLE),
        ("a = { b = 1,\n c = 2 }", 4, MULTI_LINE_TABLE),
        ("a = { b = 1 # c\n }", 4, MULTI_LINE_TABLE),
        ("a = { b = 1, }", 11, TRAILING_COMMA),
        (r'a = "\e[1m"', 5, NEW_ESCAPE),
        (r'"\x41" = 1', 1, NEW_ESCAPE),
    ],
)
def test_what_only_toml_1_1_allows_is_noted(text: str, at: int, what: str) -> None:
    """A file that a newer Python reads and an older one refuses is refused everywhere."""
    assert next((span[0], cause) for span, cause in locate(text).newer) == (at, what)


def test_what_toml_1_0_allows_is_not_noted() -> None:
    """An escaped backslash before an e, or a list over several lines, is fine."""
    text = 'a = "\\\\e \\u00e9"\nb = [\n { c = 1 },\n]\n'
    tomllib.loads(text)
    assert locate(text).newer == []


@pytest.mark.parametrize("text", ["a = [1", "a = {", "[", "= 1", 'a = "', "a"])
def test_what_is_not_toml_ends_in_an_error(text: str) -> None:
    """Broken text never makes the search for places run on."""
    with pytest.raises(ValueError, match="not TOML"):
        locate(text)
