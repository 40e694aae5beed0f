"""What a manager knows of each worker, as the daemon tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one worker stands.

    Attributes:
        name: "web", or "web-2" in a pool.
        state: As `supervisord-lite status` has it: "running", "backoff", "tripped" …
        at_rest: Nothing more happens to it by itself.
        tripped: Its latest run has opened its breaker; also when it was stopped since, as it is
            when a critical worker ends everything.
        run: How often it was started.
        failures: Inside the window.
        max_restarts: So many open its breaker.
        window_s: Length of that window.
        reason: How its latest run ended: "exit 1"; empty before the first end.
    """

    name: str
    pool: str
    instance: int
    state: str
    ready: bool
    at_rest: bool
    tripped: bool
    run: int
    failures: int
    max_restarts: int
    window_s: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Trip:
    """A breaker that has opened.

    Attributes:
        name: Of the worker.
        reason: How its latest run ended.
        failures: Inside the window; all of them, as many as `max_restarts`.
        window_s: Length of that window.
        at: When it was heard of.
        last_lines: The end of its log, with the traceback of a Python target; empty without a
            log folder, and for a worker that never ran.
    """

    name: str
    reason: str
    failures: int
    window_s: float
    at: datetime
    last_lines: tuple[str, ...]


def standing_of(told: dict[str, Any]) -> Standing:
    """Return what one object of the daemon's answer means."""
    return Standing(
        name=told["name"],
        pool=told["pool"],
        instance=told["instance"],
        state=told["state"],
        ready=told["ready"],
        at_rest=told["at_rest"],
        tripped=told["tripped"],
        run=told["run"],
        failures=told["failures"],
        max_restarts=told["max_restarts"],
        window_s=told["window_s"],
        reason=told.get("reason") or "",
    )


def standings_of_note(note: dict[str, Any]) -> list[Standing]:
    """Return how those stood whose open breakers have ended the service.

    Args:
        note: What the daemon has noted; may be empty, or that of another version.
    """
    try:
        return [_standing_of_note(note, told) for told in note["workers"]]
    except (KeyError, TypeError, ValueError):
        return []


def _standing_of_note(note: dict[str, Any], told: dict[str, Any]) -> Standing:
    name, pool, ends = told["name"], note["pool"], told["failures"]
    # Only the latest of very many stand there.
    failures = note["failures"] if name == note["worker"] else len(ends)
    return Standing(
        name=name,
        pool=pool,
        instance=1 if name == pool else int(name.removeprefix(f"{pool}-")),
        state="stopped",
        ready=False,
        at_rest=True,
        tripped=True,
        run=failures,
        failures=failures,
        max_restarts=note["max_restarts"],
        window_s=note["circuit_window_s"],
        reason=(ends[-1]["reason"] if ends else note["reason"]) or "",
    )
