"""Reloads as they go over the wire (the types of the varlink definition)."""

from collections.abc import Iterable

from supervisord_lite.base.record import fields_of
from supervisord_lite.config.plan import Changed, KeyChange
from supervisord_lite.config.spec import Spec
from supervisord_lite.supervisor.reload import Done, Refusal, Reloads


def reload_report(done: Done) -> dict[str, object]:
    """Return the answer to Reload."""
    plan = done.plan
    return {
        "changed": not plan.is_empty,
        "generation": done.generation,
        "added": [_worker(spec) for spec in plan.added],
        "modified": [_changed(change) for change in plan.changed],
        "removed": [_worker(spec) for spec in plan.removed],
        "kept": list(plan.kept),
        "daemon": _keys(plan.daemon),
        **fields_of(done.touched),
        "warnings": done.warnings,
    }


def refusal_report(refusal: Refusal, reloads: Reloads) -> dict[str, object]:
    """Return the parameters of ConfigurationRefused."""
    return {
        "message": refusal.message,
        "problems": list(refusal.problems),
        "in_force_since": reloads.in_force.since,
    }


def refusal_status(refusal: Refusal | None) -> dict[str, object] | None:
    """Return what a status says of it."""
    if refusal is None:
        return None
    return {"count": refusal.count, "first": refusal.first, "at": refusal.at}


def _worker(spec: Spec) -> dict[str, object]:
    return _entry(spec, None, ())


def _changed(change: Changed) -> dict[str, object]:
    new = change.new
    is_roll = change.effect == "restart" and new.pool_size > new.max_unavailable
    at_once = new.max_unavailable if is_roll else None
    return {**_entry(new, change.effect, change.keys), "at_once": at_once}


def _entry(spec: Spec, effect: str | None, keys: Iterable[KeyChange]) -> dict[str, object]:
    return {
        "pool": spec.pool,
        "processes": spec.pool_size,
        "effect": effect,
        "at_once": None,
        "keys": _keys(keys),
        "origin": f"{spec.origin.file}:{spec.origin.line}",
    }


def _keys(keys: Iterable[KeyChange]) -> list[dict[str, object]]:
    return [fields_of(key) for key in keys]
