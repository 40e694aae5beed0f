"""Pools and what they are to each other: who starts before whom, and stops after whom."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from supervisord_lite.base.record import record
from supervisord_lite.core.policy import Critical

#: (pool, index from 1). Never a printed name.
Slot = tuple[str, int]


@record
class Pool:
    """What one pool is to the others.

    Attributes:
        requires: Pools that must be ready before it starts.
        after: Pools that must be ready, or have given up, before it starts.
        critical: Whose open breaker ends the service.
    """

    name: str
    requires: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    critical: Critical = "no"


class Graph:
    """The order among pools.

    A cycle is refused where the file is read. Should one come all the same, the edge that closes it
    counts for nothing: a fleet that starts in a doubtful order is better than one that waits for
    ever, and above all it can be stopped.

    Attributes:
        pools: By name, in file order.
        rank: Place in the start order: whoever comes after another has a higher one.
        requires: Name -> the pools it requires, those that exist.
        after: Name -> the pools it comes after without requiring them.
    """

    def __init__(self, pools: Iterable[Pool]) -> None:
        """Sort out who comes after whom."""
        self.pools = {pool.name: pool for pool in pools}
        edges = {name: _edges(pool, self.pools) for name, pool in self.pools.items()}
        for name, other in _closing_edges(edges):
            edges[name].remove(other)
        self.requires = {
            name: tuple(each for each in dict.fromkeys(pool.requires) if each in edges[name])
            if pool.requires
            else ()
            for name, pool in self.pools.items()
        }
        self.after = {
            name: tuple(each for each in ahead if each not in self.requires[name]) if ahead else ()
            for name, ahead in edges.items()
        }
        self._edges = edges
        self._behind: dict[str, list[str]] = {name: [] for name in self.pools}
        for name, ahead in edges.items():
            for each in ahead:
                self._behind[each].append(name)
        self.rank = {name: place for place, name in enumerate(_start_order(edges))}
        self._closures: dict[tuple[bool, str], tuple[str, ...]] = {}

    def has_ties(self, name: str) -> bool:
        """Return whether this pool waits for another, or another for it."""
        return bool(self._edges.get(name) or self._behind.get(name))

    def ahead_of(self, name: str) -> tuple[str, ...]:
        """Return every pool that *name* comes after, through others too, in start order."""
        return self._closure(name, self._edges, is_ahead=True)

    def behind(self, name: str) -> tuple[str, ...]:
        """Return every pool that comes after *name*, through others too, in start order."""
        return self._closure(name, self._behind, is_ahead=False)

    def directly_behind(self, name: str) -> tuple[str, ...]:
        """Return the pools that name *name* themselves."""
        return tuple(self._behind[name])

    def required_by(self, names: Iterable[str]) -> set[str]:
        """Return every pool that one of *names* requires, through others too."""
        return _reached(names, self.requires)

    def in_start_order(self, slots: Iterable[Slot]) -> list[Slot]:
        """Return *slots* so that each comes after those it waits for."""
        return sorted(slots, key=lambda slot: (self.rank[slot[0]], slot[1]))

    def in_stop_order(self, slots: Iterable[Slot]) -> list[Slot]:
        """Return *slots* in the reverse of the start order."""
        return self.in_start_order(slots)[::-1]

    def _closure(
        self, name: str, edges: Mapping[str, Sequence[str]], *, is_ahead: bool
    ) -> tuple[str, ...]:
        known = self._closures.get((is_ahead, name))
        if known is None:
            found = sorted(_reached([name], edges), key=self.rank.__getitem__)
            known = self._closures[is_ahead, name] = tuple(found)
        return known


def _edges(pool: Pool, pools: Mapping[str, Pool]) -> list[str]:
    if not (pool.requires or pool.after):
        return []
    names = dict.fromkeys((*pool.requires, *pool.after))
    return [name for name in names if name in pools and name != pool.name]


def _reached(names: Iterable[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    reached: set[str] = set()
    todo = list(names)
    while todo:
        for each in edges.get(todo.pop(), ()):
            if each not in reached:
                reached.add(each)
                todo.append(each)
    return reached


def _closing_edges(edges: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield each edge that closes a cycle; whoever asks may remove it meanwhile.

    A walk in depth without recursion: a chain may be as long as a file has workers.
    """
    finished: set[str] = set()
    for root, first in edges.items():
        if not first:
            continue  # as most
        path: list[str] = [root]
        on_path = {root}
        todo = [iter(tuple(edges[root]))] if root not in finished else []
        while todo:
            name = next(todo[-1], None)
            if name is None:
                todo.pop()
                finished.add(path[-1])
                on_path.discard(path.pop())
            elif name in on_path:
                yield path[-1], name
            elif name not in finished:
                path.append(name)
                on_path.add(name)
                todo.append(iter(tuple(edges[name])))


def _start_order(edges: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names so that each stands behind those it comes after; else in file order."""
    order: dict[str, None] = {}
    for root, first in edges.items():
        if not first:
            order[root] = None  # without more ado: so are most
            continue
        path = [(root, iter(first))]
        while path:
            name, ahead = path[-1]
            following = next((each for each in ahead if each not in order), None)
            if following is None:
                order[name] = None
                path.pop()
            else:
                path.append((following, iter(edges[following])))
    return list(order)
