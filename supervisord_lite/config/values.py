"""One value of one kind out of a table: checked, or a problem noted and the default taken."""

from __future__ import annotations

import json
import os.path
from typing import TYPE_CHECKING, TypeVar

from supervisord_lite.base.units import UnitError, parse_duration_s, parse_size_bytes
from supervisord_lite.config.expand import literal_text
from supervisord_lite.config.words import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisord_lite.config.errors import Problem
    from supervisord_lite.config.locate import Path
    from supervisord_lite.config.syntax import Document
    from supervisord_lite.config.tree import Node, Table

Default = TypeVar("Default")


class Reader:
    """Reads values out of the tables of one document and collects what is wrong.

    Every reading method takes a table, a key and a default, which is also the answer where the
    value is wrong: reading goes on and finds all problems.

    Attributes:
        problems: What was noted so far; each once, however many workers share the value.
        alone: While true, each key is judged alone, and not what several mean together: so
            [defaults] is read by itself.
    """

    def __init__(self, document: Document) -> None:
        """Read from *document*."""
        self.source = document.source
        self.places = document.places
        self.problems: dict[Problem, None] = {}
        self.alone = False

    def at_key(self, path: Path, message: str, hint: str = "") -> None:
        """Note a problem about the key of *path*."""
        self.problems[self.source.problem(self.places.key(path), message, hint)] = None

    def at_value(self, path: Path, message: str, hint: str = "") -> None:
        """Note a problem about the value of *path*."""
        self.problems[self.source.problem(self.places.value(path), message, hint)] = None

    def clash(self, path: Path, message: str, hint: str = "") -> None:
        """Note that the value of *path* does not go together with another key."""
        if not self.alone:
            self.at_value(path, message, hint)

    def wrong(self, path: Path, expected: str, got: object, hint: str = "") -> None:
        """Note that the value of *path* is not what its key takes."""
        self.at_value(path, f"{name_of(path)}: expected {expected}, got {shown(got)}", hint)

    def line(self, path: Path) -> int:
        """Return the line where *path* begins: its header if it has one."""
        span = self.places.headers.get(path) or self.places.key(path)
        return self.source.place(span[0])[0]

    def table(self, table: Table, key: str) -> Table:
        """Return the table below *key*, empty where there is none."""
        node = table.get(key)
        if node is None:
            return {}
        inner = node.table()
        if inner is None:
            hint = f"write its keys dotted: {key}.NAME = …"
            self.wrong(node.path, "a table", node.value, hint)
            return {}
        return inner

    def text(self, table: Table, key: str, default: Default) -> str | Default:
        """Return a text that is not empty."""
        node = table.get(key)
        if node is None:
            return default
        return self.checked_text(node.value, node.path) or default

    def checked_text(self, value: object, path: Path, *, may_be_empty: bool = False) -> str | None:
        """Return *value* if it is a text without NUL; None: noted as wrong."""
        if not isinstance(value, str):
            quoted = isinstance(value, (int, float)) and not isinstance(value, bool)
            self.wrong(
                path, "a text", value, f'write it in quotes: "{shown(value)}"' if quoted else ""
            )
        elif not value and not may_be_empty:
            self.at_value(path, f"{name_of(path)}: must not be empty")
        elif "\0" in value:
            self.at_value(path, f"{name_of(path)}: no NUL character can be passed to a program")
        else:
            return value
        return None

    def texts(self, table: Table, key: str) -> list[tuple[str, Path]]:
        """Return a text, or a list of texts, as a list; each with its path."""
        node = table.get(key)
        if node is None:
            return []
        if not isinstance(node.value, list):
            pairs: list[tuple[object, Path]] = [(node.value, node.path)]
        else:
            pairs = [(item, (*node.path, i)) for i, item in enumerate(node.value)]
        checked = [(self.checked_text(value, path), path) for value, path in pairs]
        return [(text, path) for text, path in checked if text is not None]

    def path(self, table: Table, key: str, default: Default) -> str | Default:
        """Return a path, absolute: a relative one is relative to the folder of its file."""
        text = self.text(table, key, None)
        return default if text is None else self.absolute(text)

    def absolute(self, text: str) -> str:
        """Return the path *text* as seen from the folder of its file."""
        return _join(self.source.folder, text)

    def instance_path(self, text: str) -> str:
        """Return the same for a path of a worker, in which %i has a meaning."""
        return _join(literal_text(self.source.folder), text)

    def flag(self, table: Table, key: str, default: bool) -> bool:
        """Return a truth value."""
        node = table.get(key)
        if node is None:
            return default
        if isinstance(node.value, bool):
            return node.value
        self.wrong(node.path, "true or false", node.value, "without quotes")
        return default

    def whole(
        self, table: Table, key: str, default: Default, *, least: int, most: int
    ) -> int | Default:
        """Return a whole number from *least* to *most*."""
        node = table.get(key)
        if node is None:
            return default
        value = self.checked_whole(node.value, node.path, least=least, most=most)
        return default if value is None else value

    def checked_whole(self, value: object, path: Path, *, least: int, most: int) -> int | None:
        """Return *value* if it is a whole number from *least* to *most*; None: noted as wrong."""
        if not isinstance(value, int) or isinstance(value, bool):
            digits = isinstance(value, str) and value.isascii() and value.isdigit()
            hint = f"without quotes: {value}" if digits else ""
            self.wrong(path, f"a whole number from {least} to {most}", value, hint)
        elif not least <= value <= most:
            got = shown(value)
            self.at_value(path, f"{name_of(path)}: must be from {least} to {most}, got {got}")
        else:
            return value
        return None

    def number(
        self, table: Table, key: str, default: Default, *, least: float, most: float
    ) -> float | Default:
        """Return a number from *least* to *most*."""
        node = table.get(key)
        if node is None:
            return default
        value = node.value
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            self.wrong(node.path, "a number", value)
        elif not least <= value <= most:  # NaN ends here too
            got = shown(value)
            message = f"{name_of(node.path)}: must be from {least:g} to {most:g}, got {got}"
            self.at_value(node.path, message)
        else:
            return float(value)
        return default

    def duration(self, table: Table, key: str, default: Default) -> float | Default:
        """Return a duration in seconds, longer than 0."""
        node = table.get(key)
        if node is None:
            return default
        seconds = self.checked_duration(node.value, node.path)
        return default if seconds is None else seconds

    def checked_duration(self, value: object, path: Path) -> float | None:
        """Return *value* in seconds if it is a duration longer than 0; None: noted as wrong."""
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.wrong(path, 'a duration such as "10s" or "5m"', value)
            return None
        try:
            seconds = parse_duration_s(value)
        except UnitError as error:
            self.at_value(path, f"{name_of(path)}: {error}", error.hint)
            return None
        if seconds > 0:
            return seconds
        self.at_value(path, f"{name_of(path)}: must be longer than 0, got {shown(value)}")
        return None

    def size(
        self, table: Table, key: str, default: Default, *, least_bytes: int = 0
    ) -> int | Default:
        """Return a size in bytes, at least *least_bytes*."""
        node = table.get(key)
        if node is None:
            return default
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            self.wrong(node.path, 'a size such as "512M" or "2G"', value)
            return default
        try:
            size_bytes = parse_size_bytes(value)
        except UnitError as error:
            self.at_value(node.path, f"{name_of(node.path)}: {error}", error.hint)
            return default
        if size_bytes < least_bytes:
            message = f"{name_of(node.path)}: must be at least {least_bytes}, got {shown(value)}"
            self.at_value(node.path, message)
            return default
        return size_bytes

    def choice(
        self,
        table: Table,
        key: str,
        default: Default,
        *,
        choices: Sequence[str],
        what: str,
    ) -> str | Default:
        """Return one word of *choices*; *what* is what such a word is called."""
        node = table.get(key)
        if node is None:
            return default
        if isinstance(node.value, str) and node.value in choices:
            return node.value
        self.refuse_choice(node, choices, what)
        return default

    def refuse_choice(self, node: Node, choices: Sequence[str], what: str) -> None:
        """Note that the value of *node* is none of *choices*."""
        *others, last = (f'"{choice}"' for choice in choices)
        hint = f"use {', '.join(others)} or {last}" if others else f"use {last}"
        if isinstance(node.value, str):
            near = did_you_mean(node.value, choices)
            hint = f'did you mean "{near}"? {hint}' if near else hint
            self.at_value(node.path, f"{shown(node.value)} is not {what}", hint)
        else:
            self.wrong(node.path, what, node.value, hint)


def _join(folder: str, text: str) -> str:
    return os.path.normpath(os.path.join(folder, text))  # noqa: PTH118  # pathlib keeps ".."


def name_of(path: Path) -> str:
    """Return the key of *path* as people write it in its table: "log.stdout", "command, item 2"."""
    parts = path[2:] if path[0] == "worker" and len(path) > 2 else path[1:] or path
    name = ".".join(part for part in parts if isinstance(part, str))
    return f"{name}, item {path[-1] + 1}" if isinstance(path[-1], int) else name


def shown(value: object) -> str:
    """Return a value for a message, short and in the file's own words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 60 else f'{text[:56]}…"'
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a very large number"  # str() refuses more than 4300 digits
    text = str(value)
    return text if len(text) <= 40 else f"{text[:38]}…"
