"""Values with the path they were written at, so that a merged table still knows its places."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from supervisord_lite.config.variables import substitute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisord_lite.config.locate import Locations, Path
    from supervisord_lite.config.syntax import Document
    from supervisord_lite.config.variables import Failure


class Node(NamedTuple):
    """One value of a file.

    Attributes:
        value: A `Table`, or what tomllib made of it: text, number, truth value, date, list.
        path: Where it was written in its file.
        document: The file.
        under: What this value has replaced: of an earlier file, of what the worker extends, of
            [defaults].
    """

    value: object
    path: Path
    document: Document
    under: Node | None = None

    def table(self) -> Table | None:
        """Return the table that this is, or None."""
        # Only `nodes_of` makes dictionaries of nodes.
        return cast("Table", self.value) if isinstance(self.value, dict) else None

    def items(self) -> list[Node]:
        """Return the items of a list; of anything else itself alone."""
        if not isinstance(self.value, list):
            return [self]
        return [
            Node(item, (*self.path, index), self.document) for index, item in enumerate(self.value)
        ]

    @property
    def places(self) -> Locations:
        """Where everything stands in its file."""
        return self.document.places

    def line(self) -> int:
        """Return the line, from 1, where this begins: its header if it has one."""
        span = self.places.headers.get(self.path) or self.places.key(self.path)
        return self.document.source.place(span[0])[0]


Table = dict[str, Node]


def nodes_of(tree: Mapping[str, object], document: Document, path: Path = ()) -> Table:
    """Return a tree of tomllib's as nodes; *path* is where the tree itself stands."""
    table: Table = {}
    for key, value in tree.items():
        place = (*path, key)
        inner = nodes_of(value, document, place) if isinstance(value, dict) else value
        table[key] = Node(inner, place, document)
    return table


#: A text in place of these tables is short for one of their keys.
_SHORT = (("log", "stdout"), ("schedule", "cron"))


def widen(table: Table) -> None:
    """Make ``log = "x"`` the ``log.stdout = "x"`` for which it is short, so that it can merge."""
    for key, inner in _SHORT:
        node = table.get(key)
        if node is not None and isinstance(node.value, str):
            table[key] = node._replace(value={inner: node})


def merge(under: Table, over: Table) -> Table:
    """Return both tables as one: tables merge, everything else of *over* replaces."""
    merged = dict(under)
    for key, node in over.items():
        below = under.get(key)
        if below is not None:
            inner, outer = below.table(), node.table()
            if inner is not None and outer is not None:
                node = node._replace(value=merge(inner, outer))
            else:
                node = node._replace(under=below)
        merged[key] = node
    return merged


def substitute_all(
    tree: Mapping[str, object],
    variables: Mapping[str, str],
    on_failure: Callable[[Path, Failure], None],
) -> dict[str, object]:
    """Return *tree* with the references in all its texts replaced; keys stay as they are.

    Args:
        tree: As tomllib made it.
        variables: What ``${NAME}`` stands for.
        on_failure: Called with the path of the text for each reference that has no value.
    """

    def replaced(value: object, path: Path) -> object:
        if isinstance(value, str):
            if "${" not in value:
                return value
            text, failures = substitute(value, variables)
            for failure in failures:
                on_failure(path, failure)
            return text
        if isinstance(value, dict):
            return {key: replaced(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, (*path, index)) for index, item in enumerate(value)]
        return value

    return {key: replaced(value, (key,)) for key, value in tree.items()}
