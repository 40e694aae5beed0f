"""A worker as a record that survives its supervisor, and back.

A record is plain JSON material without the policy, which belongs to the configuration in force. It
is written with each change and read after a crash, an upgrade, or the way back from one, so
neighbouring versions read each other's: fields may be added with a default, what is not known is
left out, and `"v"` changes only when that is not enough.
"""

from typing import Any, Literal, TypeVar, get_args, get_origin

from supervisord_lite.base.record import defaults_of, fields_of
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import LastExit, State, Worker

VERSION = 1

#: No clock shows that; also what is no number at all is not below it.
_ENDLESS = 1e300
_STATES: dict[str, type[State]] = {kind.__name__.lower(): kind for kind in get_args(State)}
_Record = TypeVar("_Record", State, LastExit)


class RecordError(ValueError):
    """A saved record that this version cannot read."""


def to_record(worker: Worker) -> dict[str, object]:
    """Return *worker* as JSON-ready values, without its policy."""
    state = worker.state
    last_exit = worker.last_exit
    return {
        "v": VERSION,
        "pool": worker.pool,
        "index": worker.index,
        "run": worker.run,
        "attempt": worker.attempt,
        "failures": list(worker.failures),
        "restarts": worker.restarts,
        "recycles": worker.recycles,
        "spent": worker.spent,
        "recycle": worker.recycle,
        "last_exit": None if last_exit is None else fields_of(last_exit),
        **_of_job(worker),
        "state": {"is": type(state).__name__.lower(), **fields_of(state)},
    }


def _of_job(worker: Worker) -> dict[str, object]:
    if worker.settled_s is None and not worker.is_owed:
        return {}  # nearly all
    return {"settled_s": worker.settled_s, "is_owed": worker.is_owed}


def from_record(record: dict[str, object], policy: Policy) -> Worker:
    """Return the worker that `to_record` was given, living by *policy*.

    Raises:
        RecordError: Another version wrote it, or it is damaged; the message says what is wrong.
    """
    version = record.get("v")
    if version != VERSION:
        message = f"saved record has version {version!r}; this version reads {VERSION}"
        raise RecordError(message)
    failures = record.get("failures")
    if not isinstance(failures, list):
        message = f"saved record: failures: {failures!r} is not a list"
        raise RecordError(message)
    last_exit = record.get("last_exit")
    state = _mapping("state", record.get("state"))
    kind = _STATES.get(str(state.pop("is", None)))
    if kind is None:
        message = f"saved record: state: {record.get('state')!r} is not known"
        raise RecordError(message)
    return Worker(
        pool=_checked("pool", record.get("pool"), str),
        index=_checked("index", record.get("index"), int),
        policy=policy,
        state=_made(kind, state),
        run=_checked("run", record.get("run"), int),
        attempt=_checked("attempt", record.get("attempt"), int),
        failures=tuple(_checked("failures", time_s, float) for time_s in failures),
        restarts=_checked("restarts", record.get("restarts"), int),
        recycles=_checked("recycles", record.get("recycles", 0), int),
        last_exit=None if last_exit is None else _made(LastExit, _mapping("last_exit", last_exit)),
        settled_s=_checked("settled_s", record.get("settled_s"), float | None),
        is_owed=_checked("is_owed", record.get("is_owed", False), bool),
        spent=_checked("spent", record.get("spent", 0), int),
        recycle=_checked("recycle", record.get("recycle", ""), str),
    )


def _mapping(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        message = f"saved record: {name}: {value!r} is not an object"
        raise RecordError(message)
    return dict(value)


def _made(kind: type[_Record], values: dict[str, object]) -> _Record:
    arguments = {}
    defaults = defaults_of(kind)
    for field, annotation in kind.__annotations__.items():
        name = f"{kind.__name__.lower()}.{field}"
        if field in values:
            arguments[field] = _checked(name, values[field], annotation)
        elif field not in defaults:
            message = f"saved record: {name} is missing"
            raise RecordError(message)
    return kind(**arguments)


def _checked(name: str, value: object, kind: Any) -> Any:
    """Return *value* if it fits the annotation *kind*: a type, a union of types, or a Literal."""
    words = get_args(kind)
    if get_origin(kind) is Literal:
        fits = value in words
    else:
        types = words or (kind,)
        fits = type(value) in types or (type(value) is int and float in types)
        if type(value) is float:
            fits = fits and abs(value) < _ENDLESS
    if not fits:
        message = f"saved record: {name}: {value!r} does not fit"
        raise RecordError(message)
    return value
