"""Where each key and value of a TOML text stands.

tomllib gives no positions. `locate` walks a text that tomllib has accepted and gives, for every
key path of tomllib's tree, the characters of its key and of its value. It checks nothing but what
TOML 1.1 would add (`Locations.newer`): a file must not pass on one Python and fail on the next.

A path holds keys and, for items of arrays and arrays of tables, indexes from 0:
``("worker", "web", "command", 0)``. For an array of tables ``[[a]]``, ``("a",)`` is the key in the
first header, ``("a", 1)`` the key in the second one.

Source: https://toml.io/en/v1.0.0, and tomllib's own order of reading. Fuzzed against tomllib.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
Span = tuple[int, int]

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
#: The four kinds of text, the long ones first.
STRINGS = (
    r'"""[^"\\]*(?:(?:\\.|"{1,2}(?!"))[^"\\]*)*"{3,5}',
    r"'''[^']*(?:'{1,2}(?!')[^']*)*'{3,5}",
    r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"',
    r"'[^'\n]*'",
)
_STRING = re.compile("|".join(STRINGS), re.DOTALL)
#: What nearly all lines are: a plain key, perhaps of a table, with a plain value. Read at once.
_LINE = re.compile(
    r"([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_-]+))?[ \t]*=[ \t]*"
    r"(\"[^\"\\\n]*\"|[A-Za-z0-9_+.:-]+)(?=[ \t]*(?:[#\n]|\Z))"
)
#: A list of plain texts on one line, which nearly all lists are: read at once.
_FLAT = re.compile(r'\[(?: *"[^"\\\n]*" *(?:,|(?=\])))* *\]')
_FLAT_ITEM = re.compile(r'"[^"]*"')
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}

_NOT_TOML = "not TOML"
MULTI_LINE_TABLE = "an inline table { … } must stand on one line"
TRAILING_COMMA = "an inline table { … } takes no comma after its last value"
NEW_ESCAPE = "this escape is not known to TOML 1.0"


class Locations:
    """The places of one text. Spans are offsets: the first character, and the one after the last.

    Attributes:
        keys: Of each path the characters of its key where it was first written; of an item of an
            array the characters of the item.
        values: Of each path that was given a value (`key = value`, array items) that value.
        headers: Of each ``[table]`` and ``[[table]]`` its whole header.
        newer: What only TOML 1.1 knows, in the order of the text.
        last: Path and place of the last key or header, also where it doubles an earlier one.
    """

    __slots__ = ("headers", "keys", "last", "newer", "values")

    def __init__(self) -> None:
        """Start with no place known."""
        self.keys: dict[Path, Span] = {}
        self.values: dict[Path, Span] = {}
        self.headers: dict[Path, Span] = {}
        self.newer: list[tuple[Span, str]] = []
        self.last: tuple[Path, Span] = ((), (0, 1))

    def key(self, path: Path) -> Span:
        """Return the key of *path*, or the nearest thing around it that has a place."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, (0, 1))

    def value(self, path: Path) -> Span:
        """Return the value of *path*; where it has none of its own (a table) its key."""
        return self.values.get(path) or self.key(path)


def locate(text: str) -> Locations:
    r"""Return the places of *text*.

    Args:
        text: What tomllib has accepted, with "\n" line ends. Anything else gives places of no
            meaning, or ValueError.
    """
    return _Scanner(text).document()


class _Scanner:
    """Reads statement by statement; every method takes an offset and returns the one behind."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found = Locations()
        # How many tables each array of tables has so far.
        self._counts: dict[Path, int] = {}

    def document(self) -> Locations:
        text = self._text
        skip_blank = _BLANK.match
        table: Path = ()
        position = _end(skip_blank(text, 0))
        while position < len(text):
            line = _LINE.match(text, position)
            if line:
                position = self._line(line, table)
            elif text[position] == "[":
                position, table = self._header(position)
            else:
                position = self._pair(position, table)
            position = _end(skip_blank(text, position))
        return self._found

    def _header(self, start: int) -> tuple[int, Path]:
        width = 2 if self._text.startswith("[[", start) else 1
        position = _end(_SPACE.match(self._text, start + width))
        position, parts = self._key_parts(position)
        position = _end(_SPACE.match(self._text, position)) + width
        path = self._name((), parts)
        if width == 2:
            count = self._counts.get(path, 0)
            self._counts[path] = count + 1
            path = (*path, count)
            self._found.keys[path] = parts[-1][1]
        self._found.last = path, (start, position)
        self._found.headers.setdefault(path, (start, position))
        return position, self._inside(path)

    def _line(self, line: re.Match[str], table: Path) -> int:
        """Note what `_pair` would note of a plain line."""
        keys = self._found.keys
        path = (*self._inside(table), line[1])
        span = line.span(1)
        keys.setdefault(path, span)
        if line[2] is not None:
            path = (*self._inside(path), line[2])
            keys.setdefault(path, line.span(2))
            span = (span[0], line.end(2))
        self._found.last = path, span
        self._found.values[path] = line.span(3)
        return line.end()

    def _pair(self, position: int, table: Path) -> int:
        position, parts = self._key_parts(position)
        path = self._name(table, parts)
        self._found.last = path, (parts[0][1][0], parts[-1][1][1])
        return self._value(_end(_EQUALS.match(self._text, position)), path)

    def _name(self, table: Path, parts: list[tuple[str, Span]]) -> Path:
        """Note the places of a dotted key's parts; return its path."""
        path = table
        keys = self._found.keys
        for name, span in parts:
            path = (*self._inside(path), name)
            if path not in keys:
                keys[path] = span
        return path

    def _inside(self, path: Path) -> Path:
        """Return the path that a key below *path* starts with: the last one of several tables."""
        count = self._counts.get(path) if self._counts else None
        return path if count is None else (*path, count - 1)

    def _key_parts(self, position: int) -> tuple[int, list[tuple[str, Span]]]:
        parts = []
        while True:
            bare = _BARE_KEY.match(self._text, position)
            if bare:
                end, name = bare.end(), bare[0]
            else:
                end = _end(_STRING.match(self._text, position))
                name = self._unquote(position, end)
            parts.append((name, (position, end)))
            dot = _DOT.match(self._text, end)
            if not dot:
                return end, parts
            position = dot.end()

    def _unquote(self, start: int, end: int) -> str:
        inner = self._text[start + 1 : end - 1]
        if self._text[start] == "'" or "\\" not in inner:
            return inner
        self._note_escapes(start, end)
        return _ESCAPE.sub(_unescape, inner)

    def _value(self, start: int, path: Path) -> int:
        text = self._text
        first = text[start : start + 1]
        if first in ('"', "'"):
            end = _end(_STRING.match(text, start))
            if first == '"' and text.find("\\", start, end) >= 0:
                self._note_escapes(start, end)
        elif first == "[":
            end = self._array(start, path)
        elif first == "{":
            end = self._inline_table(start, path)
        else:
            scalar = _SCALAR.match(text, start)
            end = start + len(scalar[0].rstrip(" \t")) if scalar else start
        self._found.values[path] = (start, end)
        return end

    def _array(self, start: int, path: Path) -> int:
        text, keys, values = self._text, self._found.keys, self._found.values
        flat = _FLAT.match(text, start)
        if flat:
            for index, found in enumerate(_FLAT_ITEM.finditer(text, start, flat.end())):
                keys[*path, index] = values[*path, index] = found.span()
            return flat.end()
        position = _end(_BLANK.match(text, start + 1))
        index = 0
        while not text.startswith("]", position):
            item = (*path, index)
            position = self._value(position, item)
            keys[item] = values[item]
            index += 1
            position = _end(_BLANK.match(text, position))
            if text.startswith(",", position):
                position = _end(_BLANK.match(text, position + 1))
            elif not text.startswith("]", position):
                raise ValueError(_NOT_TOML)
        return position + 1

    def _inline_table(self, start: int, path: Path) -> int:
        text = self._text
        position = self._space_in_table(start, start + 1)
        while not text.startswith("}", position):
            position = self._pair(position, path)
            position = self._space_in_table(start, position)
            if text.startswith(",", position):
                comma = position
                position = self._space_in_table(start, position + 1)
                if text.startswith("}", position):
                    self._found.newer.append(((comma, comma + 1), TRAILING_COMMA))
            elif not text.startswith("}", position):
                raise ValueError(_NOT_TOML)
        return position + 1

    def _space_in_table(self, start: int, position: int) -> int:
        end = _end(_BLANK.match(self._text, position))
        if self._text.find("\n", position, end) >= 0:
            self._found.newer.append(((start, start + 1), MULTI_LINE_TABLE))
        return end

    def _note_escapes(self, start: int, end: int) -> None:
        for escape in _ESCAPE.finditer(self._text, start, end):
            if escape[3] in ("e", "x"):
                self._found.newer.append(((escape.start(), escape.end()), NEW_ESCAPE))


def _end(match: re.Match[str] | None) -> int:
    if match is None:
        raise ValueError(_NOT_TOML)
    return match.end()


def _unescape(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else _ESCAPED.get(escape[3], escape[0])
