"""Records: frozen values with named fields, cheap to define and cheap to make.

A `dataclass(frozen=True, slots=True)` costs 0.4 ms each time its module is imported, and with it
`inspect`: with forty of them that was half of the time until a new supervisor had taken over.
These cost a sixth, and making one a third. What is given up: nothing at run time keeps a field
from being set. The type checker does, for all code here.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    _T = TypeVar("_T")
else:  # the module would cost more than all records together

    def dataclass_transform(**_facts):
        """Tell type checkers that what follows makes a dataclass of a class."""
        return lambda function: function


@dataclass_transform(frozen_default=True)
def record(cls: type[_T]) -> type[_T]:
    """Return *cls* with its annotations as fields: slots, `__init__`, equality, hash and repr.

    Fields with a default stand last. Two records are equal when they are of one class and all
    fields are. `defaults_of` and `__annotations__` say what there is; a subclass is not a record.
    """
    names = tuple(cls.__annotations__)
    body = dict(cls.__dict__)
    defaults = {name: body.pop(name) for name in names if name in body}
    assert tuple(defaults) == names[len(names) - len(defaults) :], "defaults stand last"
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)
    body.update(
        __slots__=names,
        __match_args__=names,
        __init__=_init(names, tuple(defaults.values())),
        __repr__=_repr,
        __record_defaults__=defaults,
    )
    key: Callable[[Any], Any] = attrgetter(*names) if names else type
    made: type[_T] = type(cls.__name__, cls.__bases__, body)

    def equals(self: object, other: object) -> bool:
        if self is other:
            return True
        return bool(key(self) == key(other)) if type(other) is made else NotImplemented

    def hashed(self: object) -> int:
        return hash(key(self))

    made.__eq__ = equals  # type: ignore[method-assign]
    made.__hash__ = hashed  # type: ignore[method-assign]
    return made


def replace(value: _T, **changes: object) -> _T:
    """Return a record like *value* with some fields changed.

    Raises:
        TypeError: It has no such field.
    """
    names: tuple[str, ...] = value.__slots__  # type: ignore[attr-defined]
    for name in names:
        if name not in changes:
            changes[name] = getattr(value, name)
    return type(value)(**changes)


def fields_of(value: object) -> dict[str, Any]:
    """Return name -> value of each field of a record, in order."""
    names: tuple[str, ...] = value.__slots__  # type: ignore[attr-defined]
    return {name: getattr(value, name) for name in names}


def defaults_of(kind: type) -> dict[str, Any]:
    """Return name -> default of those fields of a record class that have one."""
    defaults: dict[str, Any] = kind.__record_defaults__  # type: ignore[attr-defined]
    return defaults


def _init(names: tuple[str, ...], defaults: tuple[object, ...]) -> Callable[..., None]:
    """Return `__init__`; compiled, as no other way makes a record as fast."""
    lines = "".join(f"\n self.{name}={name}" for name in names) or "\n pass"
    made: dict[str, Any] = {}
    exec(f"def __init__({','.join(('self', *names))}):{lines}", made)  # noqa: S102  # our own names
    init: Callable[..., None] = made["__init__"]
    init.__defaults__ = defaults or None
    return init


def _repr(self: object) -> str:
    inside = ", ".join(f"{name}={value!r}" for name, value in fields_of(self).items())
    return f"{type(self).__qualname__}({inside})"
