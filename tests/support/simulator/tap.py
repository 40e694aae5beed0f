"""Hearing every step of the core, wherever it is made, without changing any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from supervisord_lite.config.spec import Spec
from supervisord_lite.core import fleet as core_fleet
from supervisord_lite.core.actions import Action
from supervisord_lite.core.events import Event, SlotEvent
from supervisord_lite.core.states import Worker
from supervisord_lite.core.swap import Both
from supervisord_lite.supervisor import fleet as supervisor_fleet

#: Told of each step: before, event, time, after, actions.
Listener = Callable[[Worker, Event, float, Worker, tuple[Action, ...]], None]
#: Told of each step of a slot with two runs: the slot and its twin before, event, time, after.
BothListener = Callable[[Worker, Worker | None, SlotEvent, float, Both], None]
#: Told of each change of what is in force, before anybody is told of it.
Switched = Callable[[supervisor_fleet.Fleet], None]


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Tell *listener* of every step that a fleet makes meanwhile."""
    places = [module for module in (core_fleet, supervisor_fleet) if hasattr(module, "step")]
    originals = [vars(module)["step"] for module in places]
    try:
        for module, original in zip(places, originals, strict=True):
            setattr(module, "step", _tapped(original, listener))  # noqa: B010  # not all have one
        yield
    finally:
        for module, original in zip(places, originals, strict=True):
            setattr(module, "step", original)  # noqa: B010


def _tapped(original: Callable[..., Any], listener: Listener) -> Callable[..., Any]:
    def step(worker: Worker, event: Event, *, now_s: float, **others: Any) -> Any:
        after, actions = original(worker, event, now_s=now_s, **others)
        listener(worker, event, now_s, after, actions)
        return after, actions

    return step


@contextmanager
def swaps_heard_by(listener: BothListener) -> Iterator[None]:
    """Tell *listener* of every step of a slot that has two runs, or gets them."""
    original = vars(core_fleet)["step_both"]

    def step_both(
        worker: Worker, twin: Worker | None, event: SlotEvent, *, now_s: float, **others: Any
    ) -> Both:
        both: Both = original(worker, twin, event, now_s=now_s, **others)
        listener(worker, twin, event, now_s, both)
        return both

    setattr(core_fleet, "step_both", step_both)  # noqa: B010
    try:
        yield
    finally:
        setattr(core_fleet, "step_both", original)  # noqa: B010


@contextmanager
def switches_heard_by(listener: Switched) -> Iterator[None]:
    """Tell *listener* of every other configuration that comes in force meanwhile."""
    original = supervisor_fleet.Fleet.reconfigure

    def reconfigure(fleet: supervisor_fleet.Fleet, specs: Iterable[Spec]) -> list[tuple[str, int]]:
        new = original(fleet, specs)
        listener(fleet)
        return new

    setattr(supervisor_fleet.Fleet, "reconfigure", reconfigure)  # noqa: B010
    try:
        yield
    finally:
        setattr(supervisor_fleet.Fleet, "reconfigure", original)  # noqa: B010
