"""What people may call a worker: its name, its pool, a glob, or all."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from supervisord_lite.base.suggest import nearest
from supervisord_lite.control.parameters import InvalidParameterError
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot

#: More globs than this in one request would hold up everybody else.
MAX_GLOBS = 64


class NoSuchWorkerError(Exception):
    """A name that nothing has.

    Attributes:
        name: As asked for.
        suggestion: The nearest name, or None.
    """

    def __init__(self, name: str, suggestion: str | None) -> None:
        """Take the name and what may have been meant."""
        super().__init__(name)
        self.name = name
        self.suggestion = suggestion


def resolve(fleet: Fleet, names: Sequence[str]) -> list[Slot]:
    """Return the slots that *names* mean, each once, in file order; all when empty.

    Raises:
        NoSuchWorkerError: One of the names means nothing; no name is used then.
        InvalidParameterError: Too many globs.
    """
    if not names:
        return list(fleet.workers)
    names = list(dict.fromkeys(names))
    if len(names) == 1 and (slot := _exact(fleet, names[0])) is not None:
        return [slot]  # nobody else need be looked at
    if sum(map(_is_glob, names)) > MAX_GLOBS:
        raise InvalidParameterError("names")
    by_name = {fleet.name(slot): slot for slot in fleet.workers}
    wanted: set[Slot] = set()
    for name in names:
        found = set(_matching(fleet, by_name, name))
        if not found:
            raise NoSuchWorkerError(name, nearest(name, [*by_name, *fleet.pools()]))
        wanted |= found
    return [slot for slot in fleet.workers if slot in wanted]


def _exact(fleet: Fleet, name: str) -> Slot | None:
    """Return the instance in force that is called so, where that is plain from the name."""
    pool, _, index = name.rpartition("-")
    for slot in ((name, 1), (pool, int(index) if index.isdecimal() else 0)):
        if slot[0] in fleet.specs and slot in fleet.workers and fleet.name(slot) == name:
            return slot
    return None


def is_pattern(name: str) -> bool:
    """Return whether a name means whoever there is: a glob or "all"."""
    return name == "all" or _is_glob(name)


def _is_glob(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def _matching(fleet: Fleet, by_name: dict[str, Slot], name: str) -> Iterable[Slot]:
    if name == "all":
        return fleet.workers
    if name in by_name:
        return [by_name[name]]
    if name in fleet.pools():
        return fleet.slots(name)
    if _is_glob(name):
        return [
            slot
            for printed, slot in by_name.items()
            if fnmatchcase(printed, name) or fnmatchcase(slot[0], name)
        ]
    return []
