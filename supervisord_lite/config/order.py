"""`requires` and `after`: names that exist, and no worker that waits for itself."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from supervisord_lite.config.values import shown
from supervisord_lite.config.words import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

_SAYS = {"requires": "requires", "after": "starts after"}
#: Steps of a circle that are told: the first ones, and the one that closes it.
_MAX_WORDS = 6


class Edge(NamedTuple):
    """One worker waits for another: whom, by which key, and where that is written."""

    other: str
    key: str
    node: Node


class OrderReader:
    """Reads who waits for whom."""

    def __init__(
        self, reader: Reader, headers: Mapping[str, Node], disabled: Mapping[str, Node]
    ) -> None:
        """Read with *reader*.

        Args:
            reader: Takes the problems.
            headers: Where each worker stands, by name.
            disabled: The `enabled = false` of those that have one.
        """
        self._reader = reader
        self._headers = headers
        self._disabled = disabled

    def edges(self, name: str, table: Table) -> list[Edge]:
        """Return whom the enabled worker *name* waits for, in the order written."""
        found: list[Edge] = []
        for key in _SAYS:
            if key in table:
                found += self._edges(name, table, key)
        return found

    def _edges(self, name: str, table: Table, key: str) -> Iterator[Edge]:
        for other, node in self._reader.texts(table, key):
            inherited = node.path[0] == "defaults"
            if inherited and other == name:
                continue  # it holds for all the others
            # Told where it is written, once, and not for each worker that inherits it.
            says = f"{'[defaults]' if inherited else node.path[1]} {_SAYS[key]}"
            if other == name:
                self._reader.clash(node, f"{says} itself", f"{key} = [] in [worker.{name}]")
            elif other not in self._headers:
                self._note_unknown(node, says, other)
            elif other not in self._disabled:
                yield Edge(other, key, node)
            elif key == "requires":
                off = place_of(self._disabled[other])
                self._reader.clash(node, f'{says} "{other}", which is disabled ({off})')

    def _note_unknown(self, node: Node, says: str, other: str) -> None:
        pool, _, number = other.rpartition("-")
        if number.isdigit() and pool in self._headers:
            message = f"{says} {shown(other)}, which is one instance"
            self._reader.clash(node, message, f'name the whole pool: "{pool}"')
            return
        message = f"{says} {shown(other)}, which is not defined"
        near = did_you_mean(other, self._headers)
        if near:
            message += f'; did you mean "{near}" ({place_of(self._headers[near])})?'
        self._reader.clash(node, message)


def note_circles(reader: Reader, edges: Mapping[str, Sequence[Edge]]) -> None:
    """Note every circle once, at the edge that closes it. No recursion: chains may be long."""
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        ways = [(start, iter(edges[start]))]
        entered: dict[str, Edge | None] = {start: None}
        while ways:
            name, left = ways[-1]
            edge = next(left, None)
            if edge is None:
                ways.pop()
                del entered[name]
                done.add(name)
            elif edge.other in entered:
                _note_circle(reader, entered, edge)
            elif edge.other not in done:
                entered[edge.other] = edge
                ways.append((edge.other, iter(edges[edge.other])))


def _note_circle(reader: Reader, entered: Mapping[str, Edge | None], last: Edge) -> None:
    names = list(entered)
    names = names[names.index(last.other) :]
    steps = [(name, entered[after]) for name, after in pairwise(names)]
    circle = [(name, edge) for name, edge in [*steps, (names[-1], last)] if edge is not None]
    words = [f"{name} {_SAYS[edge.key]} {edge.other}" for name, edge in circle]
    if len(words) > _MAX_WORDS:
        words[_MAX_WORDS - 1 : -1] = ["…"]
    hints = (
        f"[defaults] says that {name} {_SAYS[edge.key]} {edge.other}: give {name} {edge.key} = []"
        for name, edge in circle
        if edge.node.path[0] == "defaults"
    )
    message = f"none of them could ever start: {', '.join(words)}"
    reader.clash(last.node, message, next(hints, ""))


def place_of(node: Node) -> str:
    """Return "file:line" of *node*, the file as seen from the folder of the first one."""
    return f"{node.document.source.short}:{node.line()}"
