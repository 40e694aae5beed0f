"""What a value must look like, said in one line each: for keys that are judged and not yet used.

A shape is a function that notes what is wrong with one node. `keys` and `named` make shapes of
tables out of the shapes of what is in them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisord_lite.config.launch import read_command
from supervisord_lite.config.values import name_of, plain, shown
from supervisord_lite.config.words import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from supervisord_lite.config.locate import Path
    from supervisord_lite.config.tree import Node
    from supervisord_lite.config.values import Reader

    Shape = Callable[[Reader, Node], None]

_KEY = "value"


def flag(reader: Reader, node: Node) -> None:
    """Take true or false."""
    reader.flag({_KEY: node}, _KEY, False)


def text(reader: Reader, node: Node) -> None:
    """Take a text that is not empty."""
    reader.checked_text(node)


def texts(reader: Reader, node: Node) -> None:
    """Take a text or a list of texts."""
    reader.texts({_KEY: node}, _KEY)


def duration(reader: Reader, node: Node) -> None:
    """Take a duration longer than 0."""
    reader.checked_duration(node)


def durations(reader: Reader, node: Node) -> None:
    """Take a list of durations."""
    if not isinstance(node.value, list):
        reader.wrong(node, 'a list of durations such as ["1m", "5m"]')
        return
    for item in node.items():
        reader.checked_duration(item)


def size(reader: Reader, node: Node) -> None:
    """Take a size."""
    reader.size({_KEY: node}, _KEY, None)


def command(reader: Reader, node: Node) -> None:
    """Take a command line."""
    read_command(reader, node)


def anything(_reader: Reader, _node: Node) -> None:
    """Take whatever TOML can say."""


def whole(least: int, most: int) -> Shape:
    """Take a whole number from *least* to *most*."""

    def check(reader: Reader, node: Node) -> None:
        reader.checked_whole(node, least=least, most=most)

    return check


def number(least: float, most: float) -> Shape:
    """Take a number from *least* to *most*."""

    def check(reader: Reader, node: Node) -> None:
        reader.number({_KEY: node}, _KEY, None, least=least, most=most)

    return check


def one_of(choices: Sequence[str], what: str) -> Shape:
    """Take one word of *choices*; *what* is what such a word is called."""

    def check(reader: Reader, node: Node) -> None:
        reader.choice({_KEY: node}, _KEY, None, choices=choices, what=what)

    return check


def like(pattern: str, what: str, hint: str = "") -> Shape:
    """Take a text that *pattern* matches; *what* is what it is called."""

    def check(reader: Reader, node: Node) -> None:
        found = reader.checked_text(node)
        if found is not None and not re.fullmatch(pattern, found):
            message = f"{name_of(node.path)}: expected {what}, got {shown(found)}"
            reader.at_value(node, message, hint)

    return check


def each(shape: Shape) -> Shape:
    """Take one value of *shape*, or a list of them."""

    def check(reader: Reader, node: Node) -> None:
        for item in node.items():
            shape(reader, item)

    return check


def either(kinds: tuple[type, ...], first: Shape, second: Shape) -> Shape:
    """Take *first* where the value is one of *kinds*, else *second*."""

    def check(reader: Reader, node: Node) -> None:
        (first if isinstance(plain(node.value), kinds) else second)(reader, node)

    return check


def named(shape: Shape, *, name: Shape | None = None) -> Shape:
    """Take a table of names, each with a value of *shape*; *name* judges the names."""

    def check(reader: Reader, node: Node) -> None:
        for item in reader.table({_KEY: node}, _KEY).values():
            if name is not None:
                name(reader, item)
            shape(reader, item)

    return check


def keys(
    shapes: Mapping[str, Shape] | None = None, /, *, needs: Collection[str] = (), **more: Shape
) -> Shape:
    """Take a table with the keys of *shapes* and *more*; all of *needs* must be there."""
    known = {**(shapes or {}), **more}

    def check(reader: Reader, node: Node) -> None:
        table = reader.table({_KEY: node}, _KEY)
        for key, item in table.items():
            if key in known:
                known[key](reader, item)
            else:
                near = did_you_mean(key, known)
                name = name_of(item.path)
                hint = f'did you mean "{name.removesuffix(key)}{near}"?' if near else ""
                if not near and node.path in node.places.headers:
                    header = ".".join(map(str, node.path))
                    hint = f"[{header}] takes every key below it: move this above that header"
                where = header_of(item.path)
                reader.at_key(item, f'unknown key "{name}" in {where}', hint)
        for key in needs:
            if node.table() is not None and key not in table:
                reader.clash(node, f'{name_of(node.path)}: "{key}" is missing')

    return check


def header_of(path: Path) -> str:
    """Return the header under which *path* is written in the house style: "[worker.web]"."""
    length = 2 if path[0] in ("worker", "queue", "agent") else 1
    return f"[{'.'.join(map(str, path[:length]))}]"
