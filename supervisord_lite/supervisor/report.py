"""Reloads as they go over the wire (the types of the varlink definition).

An answer has to fit into what the connection holds for one client, however large the file is. So
what is only read by people gives way: first the keys and places of single workers, then the end of
what the reader of the file has said. Every worker is named in any case.
"""

import json
from collections.abc import Callable, Iterable, Mapping

from supervisord_lite.base.record import fields_of
from supervisord_lite.config.plan import Changed, KeyChange, Plan
from supervisord_lite.config.spec import Spec
from supervisord_lite.control.connection import MAX_OUTPUT_BYTES
from supervisord_lite.supervisor.in_between import looking
from supervisord_lite.supervisor.reload import Done, Refusal, Reloads

#: Of all workers in one answer: the rest is for texts.
_MOST_BYTES = MAX_OUTPUT_BYTES - 1024 * 1024
#: Of their keys and places, or of problems.
_MOST_DETAIL_BYTES = 3 * 1024 * 1024
#: Of one worker without these, beside its name.
_ENTRY_BYTES = 112
#: Of a text for people; each may take twelve bytes.
_MOST_CHARACTERS = 50_000
#: Of its end, where it says how many there are in all.
_END_CHARACTERS = 500


class _Room:
    """How much detail an answer still holds."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._left = _MOST_DETAIL_BYTES
        self.left_out = 0
        if plan is not None:
            names = [spec.pool for spec in (*plan.added, *plan.removed)]
            names += [change.new.pool for change in plan.changed]
            size = sum(map(len, (*names, *plan.kept))) + _ENTRY_BYTES * len(names)
            self._left = min(self._left, _MOST_BYTES - size - 3 * len(plan.kept))

    def holds(self, detail: object) -> bool:
        """Return whether *detail* fits in too, and count it, or that it is left out."""
        cost = len(json.dumps(detail))
        fits = cost <= self._left
        self._left -= cost if fits else 0
        self.left_out += not fits
        return fits


def reload_report(done: Done, look: Callable[[], None] = lambda: None) -> dict[str, object]:
    """Return the answer to Reload; *look* is called after each worker, see in_between.py."""
    plan, room = done.plan, _Room(done.plan)
    daemon = _keys(plan.daemon)
    told = {
        "changed": not plan.is_empty,
        "generation": done.generation,
        "added": [_entry(spec, room) for spec in looking(plan.added, look)],
        "modified": [_changed(change, done.alive, room) for change in looking(plan.changed, look)],
        "removed": [_entry(spec, room) for spec in looking(plan.removed, look)],
        "kept": list(plan.kept),
        "daemon": daemon,
        **fields_of(done.touched),
    }
    warnings = _bounded(done.warnings)
    if room.left_out:
        left_out = (
            f"warning: this is too much for one answer: of {room.left_out:,} workers "
            "it does not say which keys change"
        )
        warnings = "\n".join(filter(None, [warnings, left_out]))
    return {**told, "warnings": warnings}


def refusal_report(refusal: Refusal, reloads: Reloads) -> dict[str, object]:
    """Return the parameters of ConfigurationRefused."""
    room = _Room()
    return {
        "message": _bounded(refusal.message),
        "problems": [problem for problem in refusal.problems if room.holds(problem)],
        "in_force_since": reloads.in_force.since,
    }


def refusal_status(refusal: Refusal | None) -> dict[str, object] | None:
    """Return what a status says of it."""
    if refusal is None:
        return None
    return {"count": refusal.count, "first": refusal.first, "at": refusal.at}


def _changed(change: Changed, alive: Mapping[str, int], room: _Room) -> dict[str, object]:
    new = change.new
    is_restart = change.effect == "restart"
    is_roll = is_restart and (new.pool_size > new.max_unavailable or new.max_surge > 0)
    more = {
        "at_once": new.max_unavailable if is_roll and new.max_unavailable else None,
        "more_first": (is_restart and new.max_surge) or None,
        "alive": alive.get(new.pool),
    }
    return {**_entry(new, room, change.effect, change.keys), **more}


def _entry(
    spec: Spec, room: _Room, effect: str | None = None, keys: Iterable[KeyChange] = ()
) -> dict[str, object]:
    detail = {"keys": _keys(keys), "origin": f"{spec.origin.file}:{spec.origin.line}"}
    return {
        "pool": spec.pool,
        "processes": spec.pool_size,
        "effect": effect,
        "at_once": None,
        "more_first": None,
        "alive": None,
        **(detail if room.holds(detail) else {"keys": [], "origin": ""}),
    }


def _keys(keys: Iterable[KeyChange]) -> list[dict[str, object]]:
    return [fields_of(key) for key in keys]


def _bounded(text: str) -> str:
    """Return *text* without its middle where it is too long for an answer."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]}…\n…{text[-_END_CHARACTERS:]}"
