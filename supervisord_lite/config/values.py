"""One value of one kind out of a table: checked, or a problem noted and the default taken."""

from __future__ import annotations

import json
import os.path
from typing import TYPE_CHECKING, TypeVar

from supervisord_lite.base.units import UnitError, parse_duration_s, parse_size_bytes
from supervisord_lite.config.expand import literal_text
from supervisord_lite.config.variables import Filled
from supervisord_lite.config.words import did_you_mean, foreign_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisord_lite.config.errors import Problem
    from supervisord_lite.config.locate import Path
    from supervisord_lite.config.source import Version
    from supervisord_lite.config.tree import Node, Table

Default = TypeVar("Default")
#: No number of a configuration is longer.
_MAX_DIGITS = 30


class Reader:
    """Reads values out of tables of nodes and collects what is wrong.

    Every reading method takes a table, a key and a default, which is also the answer where the
    value is wrong: reading goes on and finds all problems.

    Attributes:
        problems: What was noted so far; each once, however many workers share the value.
        warnings: What is allowed and probably not meant.
        alone: While true, each key is judged alone, and not what several mean together: so
            [defaults] is read by itself, and all of the rest where a file could not be read.
        seen: The version of each file that was read, by its name.
        unknown: Texts (file, path) in which a variable has no value, so that nothing can be said of
            them as a whole.
        environments: Files of variables, and where each was named first.
    """

    def __init__(self, seen: dict[str, Version] | None = None) -> None:
        """Start with nothing noted; *seen*: to be filled."""
        self.seen: dict[str, Version] = {} if seen is None else seen
        self.problems: dict[Problem, None] = {}
        self.warnings: dict[Problem, None] = {}
        self.alone = False
        self.unknown: set[tuple[str, Path]] = set()
        self.environments: dict[str, Node] = {}

    def at_key(self, node: Node, message: str, hint: str = "") -> None:
        """Note a problem about the key of *node*."""
        self.problems[_problem(node, node.places.key(node.path), message, hint)] = None

    def at_value(self, node: Node, message: str, hint: str = "") -> None:
        """Note a problem about the value of *node*, if that is known."""
        if (node.document.source.file, node.path) in self.unknown:
            return
        self.problems[_problem(node, node.places.value(node.path), message, hint)] = None

    def at_hidden(
        self, node: Node, message: str, hint: str = "", *, is_warning: bool = False
    ) -> None:
        """Note a problem, or what may not be meant, without showing the line: it holds a secret."""
        if (node.document.source.file, node.path) in self.unknown or (is_warning and self.alone):
            return
        problem = _problem(node, node.places.value(node.path), message, hint)
        (self.warnings if is_warning else self.problems)[problem._replace(source="")] = None

    def clash(self, node: Node, message: str, hint: str = "") -> None:
        """Note that the value of *node* does not go together with another key."""
        if not self.alone:
            self.at_value(node, message, hint)

    def warn(self, node: Node, message: str, hint: str = "") -> None:
        """Note what may not be meant about the value of *node*."""
        if not self.alone:
            self.warnings[_problem(node, node.places.value(node.path), message, hint)] = None

    def wrong(self, node: Node, expected: str, hint: str = "") -> None:
        """Note that the value of *node* is not what its key takes."""
        self.at_value(
            node, f"{name_of(node.path)}: expected {expected}, got {shown(node.value)}", hint
        )

    def table(self, table: Table, key: str) -> Table:
        """Return the table below *key*, empty where there is none."""
        node = table.get(key)
        if node is None:
            return {}
        inner = node.table()
        if inner is None:
            self.wrong(node, "a table", f"write its keys dotted: {key}.NAME = …")
            return {}
        return inner

    def text(self, table: Table, key: str, default: Default) -> str | Default:
        """Return a text that is not empty."""
        node = table.get(key)
        if node is None:
            return default
        return self.checked_text(node) or default

    def checked_text(self, node: Node, *, may_be_empty: bool = False) -> str | None:
        """Return the value of *node* if it is a text without NUL; None: noted as wrong."""
        value = node.value
        if not isinstance(value, str):
            quoted = isinstance(value, (int, float)) and not isinstance(value, bool)
            self.wrong(node, "a text", f'write it in quotes: "{shown(value)}"' if quoted else "")
        elif not value and not may_be_empty:
            self.at_value(node, f"{name_of(node.path)}: must not be empty")
        elif "\0" in value:
            message = f"{name_of(node.path)}: no NUL character can be passed to a program"
            self.at_value(node, message)
        elif not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            # Only a variable can hold it: a file is UTF-8, and so is what is written back.
            self.at_value(node, f"{name_of(node.path)}: a variable in it is not UTF-8 text")
        else:
            return value
        return None

    def texts(self, table: Table, key: str) -> list[tuple[str, Node]]:
        """Return a text, or a list of texts, as a list; each with where it was written."""
        node = table.get(key)
        if node is None:
            return []
        checked = [(self.checked_text(item), item) for item in node.items()]
        return [(text, item) for text, item in checked if text is not None]

    def path(self, table: Table, key: str, default: Default) -> str | Default:
        """Return a path, absolute: a relative one is relative to the folder of its file."""
        node = table.get(key)
        text = self.text(table, key, None)
        return default if text is None or node is None else absolute(node, text)

    def flag(self, table: Table, key: str, default: bool) -> bool:
        """Return a truth value."""
        node = table.get(key)
        if node is None:
            return default
        value = plain(node.value)
        if isinstance(value, bool):
            return value
        self.wrong(node, "true or false", "without quotes")
        return default

    def whole(
        self, table: Table, key: str, default: Default, *, least: int, most: int
    ) -> int | Default:
        """Return a whole number from *least* to *most*."""
        node = table.get(key)
        if node is None:
            return default
        value = self.checked_whole(node, least=least, most=most)
        return default if value is None else value

    def checked_whole(self, node: Node, *, least: int, most: int) -> int | None:
        """Return the value if it is a whole number from *least* to *most*; None: it is wrong."""
        value = plain(node.value)
        if not isinstance(value, int) or isinstance(value, bool):
            digits = isinstance(value, str) and value.isascii() and value.isdigit()
            hint = f"without quotes: {value}" if digits else ""
            self.wrong(node, f"a whole number from {least} to {most}", hint)
        elif not least <= value <= most:
            got = shown(value)
            self.at_value(node, f"{name_of(node.path)}: must be from {least} to {most}, got {got}")
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
        value = plain(node.value)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            self.wrong(node, "a number")
        elif not least <= value <= most:  # NaN ends here too
            got = shown(value)
            message = f"{name_of(node.path)}: must be from {least:g} to {most:g}, got {got}"
            self.at_value(node, message)
        else:
            return float(value)
        return default

    def duration(self, table: Table, key: str, default: Default) -> float | Default:
        """Return a duration in seconds, longer than 0."""
        node = table.get(key)
        if node is None:
            return default
        seconds = self.checked_duration(node)
        return default if seconds is None else seconds

    def checked_duration(self, node: Node) -> float | None:
        """Return the value in seconds if it is a duration longer than 0; None: it is wrong."""
        value = plain(node.value)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.wrong(node, 'a duration such as "10s" or "5m"')
            return None
        try:
            seconds = parse_duration_s(value)
        except UnitError as error:
            self.at_value(node, f"{name_of(node.path)}: {error}", error.hint)
            return None
        if seconds > 0:
            return seconds
        self.at_value(node, f"{name_of(node.path)}: must be longer than 0, got {shown(value)}")
        return None

    def size(
        self, table: Table, key: str, default: Default, *, least_bytes: int = 0
    ) -> int | Default:
        """Return a size in bytes, at least *least_bytes*."""
        node = table.get(key)
        if node is None:
            return default
        value = plain(node.value)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            self.wrong(node, 'a size such as "512M" or "2G"')
            return default
        try:
            size_bytes = parse_size_bytes(value)
        except UnitError as error:
            self.at_value(node, f"{name_of(node.path)}: {error}", error.hint)
            return default
        if size_bytes < least_bytes:
            message = f"{name_of(node.path)}: must be at least {least_bytes}, got {shown(value)}"
            self.at_value(node, message)
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
        near = foreign_value(node.value, choices)
        if isinstance(node.value, str):
            near = near or did_you_mean(node.value, choices)
        hint = f'did you mean "{near}"? {hint}' if near else hint
        if isinstance(node.value, str):
            self.at_value(node, f"{shown(node.value)} is not {what}", hint)
        else:
            self.wrong(node, what, hint)


def own(table: Table, key: str) -> Node | None:
    """Return a key that stands with the worker, or with one that it extends.

    What [defaults] says is for those who can do something with it; for the others it is no mistake.
    """
    node = table.get(key)
    return None if node is None or node.path[0] == "defaults" else node


def _problem(node: Node, span: tuple[int, int], message: str, hint: str) -> Problem:
    return node.document.source.problem(span, message, hint)


def absolute(node: Node, text: str) -> str:
    """Return the path *text* as seen from the folder of the file that *node* stands in."""
    return _join(node.document.source.folder, text)


def instance_path(node: Node, text: str) -> str:
    """Return the same for a path of a worker, in which %i has a meaning."""
    return _join(literal_text(node.document.source.folder), text)


def plain(value: object) -> object:
    """Return a number or truth value where a text that came out of ``${NAME}`` spells one.

    TOML has no other way to say `pool_size = "${WEB_PROCESSES}"`; a text that was typed in quotes
    stays a text.
    """
    if not isinstance(value, Filled):
        return value
    if value in ("true", "false"):
        return value == "true"
    try:
        return json.loads(value) if len(value) <= _MAX_DIGITS and value[-1:].isdigit() else value
    except ValueError:
        return value


def _join(folder: str, text: str) -> str:
    return os.path.normpath(os.path.join(folder, text))  # noqa: PTH118  # pathlib keeps ".."


def name_of(path: Path) -> str:
    """Return the key of *path* as people write it in its table: "log.stdout", "command, item 2"."""
    is_named = path[0] in ("worker", "queue", "agent")
    parts = path[2:] if is_named and len(path) > 2 else path[1:] or path
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
