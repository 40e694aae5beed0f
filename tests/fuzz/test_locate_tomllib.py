"""Our places against tomllib's tree: the same key paths, and each place holds that key or value."""

import math
import tomllib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from supervisord_lite.config.locate import Locations, Path, locate

pytestmark = pytest.mark.slow

# Few names, so that tables are opened again, extended and doubled.
NAMES = st.sampled_from(["a", "b", "c-1", "_x", "9", "a b", "", 'q"', "é", "#", "a.b", "=", "\t"])
PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)
SPACE = st.sampled_from(["", " ", "\t", "  "])
LINE_END = st.sampled_from(["\n", "\r\n", " # x = [1\n", "\n\n", '# "\n'])


def basic(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'


@st.composite
def key_parts(draw: st.DrawFn) -> str:
    name = draw(NAMES)
    if name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name):
        return draw(st.sampled_from([name, f'"{name}"', f"'{name}'"]))
    return basic(name) if "'" in name or draw(st.booleans()) else f"'{name}'"


@st.composite
def keys(draw: st.DrawFn) -> str:
    parts = draw(st.lists(key_parts(), min_size=1, max_size=3))
    return f"{draw(SPACE)}.{draw(SPACE)}".join(parts)


@st.composite
def multi_line_texts(draw: st.DrawFn) -> str:
    inner = draw(
        st.lists(
            st.sampled_from(["x", "\n", "\r\n", '"', '""', "'", "''", "[a]", "k = 1", "#", "="])
        )
    )
    if draw(st.booleans()):
        return f"'''{''.join(inner)}'''"
    escapes = st.sampled_from(["", "\\\\", '\\"', "\\\n  ", "\\u00e9"])
    return f'"""{"".join(part + draw(escapes) for part in inner)}"""'


BARE = st.sampled_from(
    ["1", "-0", "+1_000", "0xff", "0o7", "0b1", "1.5", "1e3", "-inf", "nan", "true", "false",
     "1979-05-27", "07:32:00", "1979-05-27 07:32:00", "1979-05-27T07:32:00.5-07:00"]
)  # fmt: skip
SCALARS = st.one_of(
    BARE,
    PLAIN.map(basic),
    PLAIN.filter(lambda text: "'" not in text).map(lambda text: f"'{text}'"),
    multi_line_texts(),
)


@st.composite
def arrays(draw: st.DrawFn, items: st.SearchStrategy[str]) -> str:
    blank = st.sampled_from(["", " ", "\n", " # [,\n", "\r\n\t"])
    parts = draw(st.lists(items, max_size=3))
    text = "".join(f"{draw(blank)}{part}{draw(blank)}," for part in parts)
    return f"[{text if draw(st.booleans()) else text.removesuffix(',')}{draw(blank)}]"


@st.composite
def inline_tables(draw: st.DrawFn, items: st.SearchStrategy[str]) -> str:
    pairs = draw(st.lists(st.tuples(keys(), items), max_size=3))
    words = (f"{draw(SPACE)}{k}{draw(SPACE)}={draw(SPACE)}{v}{draw(SPACE)}" for k, v in pairs)
    return "{" + ",".join(words) + "}"


VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=6)


@st.composite
def statements(draw: st.DrawFn) -> str:
    key, end, space = draw(keys()), draw(LINE_END), draw(SPACE)
    kind = draw(st.sampled_from(["pair", "pair", "header", "array"]))
    if kind == "header":
        return f"{space}[{draw(SPACE)}{key}{draw(SPACE)}]{end}"
    if kind == "array":
        return f"{space}[[{draw(SPACE)}{key}{draw(SPACE)}]]{end}"
    return f"{space}{key}{draw(SPACE)}={draw(SPACE)}{draw(VALUES)}{end}"


def is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Statements that go together: whatever tomllib refuses after the others is left out."""
    text = ""
    for statement in draw(st.lists(statements(), max_size=10)):
        if is_toml(text + statement):
            text += statement
    return text.replace("\r\n", "\n")


def same(left: object, right: object) -> bool:
    """Equality in which nan is nan."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return type(left) is type(right) and left == right


def check(text: str, places: Locations, value: object, path: Path) -> set[Path]:
    """Hold one value of tomllib's tree, and all below it, against the places; return its paths."""
    found = {path} if path else set()
    if path:
        key = text[slice(*places.keys[path])]
        name = path[-1] if isinstance(path[-1], str) else path[-2]
        if isinstance(path[-1], str) or path not in places.values:
            assert tomllib.loads(f"{key} = 1") == {name: 1}
        if path in places.values:
            written = text[slice(*places.values[path])]
            assert same(tomllib.loads(f"x = {written}")["x"], value)
        else:
            assert isinstance(value, (dict, list)), path
    if isinstance(value, dict):
        for key, item in value.items():
            found |= check(text, places, item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found |= check(text, places, item, (*path, index))
    return found


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(documents())
@example('a=1\nb.c = "" # x\nb.d= ""\n-_9 =""""x"\n"""\nf = 1979-05-27 07:32:00\ng = +1_0.5e3')
@example('[[a]]\nb.c = 1\n[[a]]\nb.c = 2\n[[a.d]]\ne = 1\n[a.d.f]\ng.h = "x"\n')
@example('a = []\nb = [ "x","", "y#]" , ]\nc = ["x" , "y"]\nd = ["]", """x"""]\ne = ["\\"", "]"]\n')
@example('a = """x"""""\nb = """"x""""\nc = """"""\nd = """"""""\n')
@example("a = '''x'''''\nb = ''''x''''\nc = ''''''\n")
@example("[[a]]\n[[a.b]]\n[[a]]\n[[a.b]]\n[[a.b]]\n[a.b.c]\nd = [{ e = 1 }]\n")
def test_our_places_are_those_of_tomllib(text: str) -> None:
    """Whatever tomllib reads, every key and value of it has its place, and nothing else has one."""
    places = locate(text)
    assert check(text, places, tomllib.loads(text), ()) == places.keys.keys()
    assert places.values.keys() <= places.keys.keys()
    assert places.newer == []
