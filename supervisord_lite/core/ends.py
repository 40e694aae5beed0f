"""How a run ends, and where that leads: failures are counted here, and nowhere else."""

from typing import assert_never

from supervisord_lite.base.clock import Rng
from supervisord_lite.base.record import replace
from supervisord_lite.base.signals import describe_end, name_of
from supervisord_lite.core import events, jobs
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.backoff import backoff_s, draw_s
from supervisord_lite.core.breaker import count_failure, is_full
from supervisord_lite.core.moves import Live, Moved, close_breaker, start
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    LastExit,
    Probing,
    Stopped,
    Stopping,
    Tripped,
    Worker,
)

Fields = tuple[tuple[str, str | int | float], ...]

#: Of signal(7); this module touches nothing.
SIGKILL = 9


def end(worker: Worker, live: Live, event: events.Exited, now_s: float, rng: Rng) -> Moved:
    """The leader ended and nobody had asked for it."""
    is_ok = event.code in worker.policy.ok_exit_codes
    reason = how(event)
    ended = Stopping(
        live.run,
        "ended" if is_ok else "failed",
        reason,
        spawned_at_s=live.spawned_at_s,
        # What is left behind is being killed already.
        rung=len(worker.policy.stop_ladder),
        code=event.code,
        signal=event.signal,
        exited_at_s=now_s,
        was_probing=isinstance(live, Probing),
    )
    last_exit = _last_exit(ended, live.pid, reason, now_s)
    moved, actions = _go_on(worker, ended, last_exit, now_s, rng, emptied=event.emptied)
    return moved, (*_out_of_memory(event, live.pid), *actions)


def record_end(
    worker: Worker, stopping: Stopping, event: events.Exited, now_s: float, rng: Rng
) -> Moved:
    """The leader ended while that was on its way: write down how."""
    ended = replace(
        stopping,
        pid=None,
        deadline_s=None,
        code=event.code,
        signal=event.signal,
        exited_at_s=now_s,
        held_by="",  # there is nobody left to be told
    )
    # After a missed deadline that is the reason, and not the signal that we sent ourselves.
    is_missed = stopping.outcome in ("failed", "rejected") or _was_judged(stopping)
    # Where SIGKILL was sent by us there is nothing to explain.
    is_ours = stopping.rung >= len(worker.policy.stop_ladder)
    known = replace(event, oom="") if is_ours else event
    reason = stopping.reason if is_missed else how(known)
    last_exit = _last_exit(ended, stopping.pid, reason, now_s)
    moved, actions = _go_on(worker, ended, last_exit, now_s, rng, emptied=event.emptied)
    return moved, (*_out_of_memory(known, stopping.pid), *actions)


def _out_of_memory(event: events.Exited, pid: int | None) -> tuple[Announce, ...]:
    if not event.oom:
        return ()
    told: Fields = (("run", event.run), ("reason", event.oom))
    if pid is not None:
        told = (("run", event.run), ("pid", pid), ("reason", event.oom))
    return (Announce("worker.oom", told),)


def how(event: events.Exited) -> str:
    """Return how it ended, with its own words: "exit 1: ValueError: no luck".

    A SIGKILL is the kernel's where it has counted one.
    """
    if event.oom and event.signal == SIGKILL:
        return f"out of memory, {event.oom}"
    how = describe_end(event.code, event.signal)
    return f"{how}: {event.words}" if event.words else how


def _go_on(
    worker: Worker,
    ended: Stopping,
    last_exit: LastExit,
    now_s: float,
    rng: Rng,
    *,
    emptied: bool,
) -> Moved:
    """Go on at once if nothing was left behind, else wait until that is gone."""
    moved = replace(worker, state=ended, last_exit=last_exit)
    return settle(moved, ended, now_s, rng) if emptied else (moved, ())


def spawn_failed(
    worker: Worker, stopping: Stopping, event: events.SpawnFailed, now_s: float, rng: Rng
) -> Moved:
    """The run never ran, so nothing of it is left."""
    reason = f"spawn failed ({event.stage}): {event.reason}"
    ended = replace(stopping, pid=None, deadline_s=None, exited_at_s=now_s)
    moved = replace(worker, last_exit=_last_exit(ended, stopping.pid, reason, now_s))
    if ended.outcome == "failed":
        return _fail(moved, ended, now_s, rng, missing=event.missing, hopeless=event.hopeless)
    return settle(moved, ended, now_s, rng)


def settle(worker: Worker, ended: Stopping, now_s: float, rng: Rng) -> Moved:
    """Nothing of the run is left: go where its end leads."""
    match ended.outcome:
        case "stopped":
            return worker.in_state(Stopped(by_hand=True)), (_stopped(worker, ended, "stop"),)
        case "shutdown":
            return worker.in_state(Stopped()), (_stopped(worker, ended, "shutdown"),)
        case "restart":
            moved, actions = start(_rested(worker, ended), now_s)
            if ended.recycle:
                moved = replace(moved, recycles=worker.recycles + 1)
                return moved, (_recycled(worker, ended), *actions)
            return moved, (_stopped(worker, ended, "restart"), *actions)
        case "replaced":
            if ended.recycle:
                return worker.in_state(Stopped()), (_recycled(worker, ended),)
            return worker.in_state(Stopped()), (_stopped(worker, ended, "replaced"),)
        case "rejected":
            told = Announce("worker.rejected", _evidence(worker, ended))
            return worker.in_state(Stopped()), (told,)
        case "failed":
            return _fail(worker, ended, now_s, rng)
        case "ended":
            return _end_well(worker, ended, now_s)
        case _:
            assert_never(ended.outcome)


def _fail(
    worker: Worker,
    ended: Stopping,
    now_s: float,
    rng: Rng,
    *,
    missing: bool = False,
    hopeless: bool = False,
) -> Moved:
    """Count one failure, at the time it happened, and decide what follows."""
    policy = worker.policy
    at_s = now_s if ended.exited_at_s is None else ended.exited_at_s
    failures = count_failure(
        worker.failures,
        at_s,
        window_s=policy.circuit_window_s,
        max_restarts=policy.max_restarts,
    )
    attempt = 1 if _was_stable(worker, ended) else worker.attempt + 1
    counted = replace(worker, attempt=attempt, failures=failures)
    fields: Fields = (
        *_evidence(counted, ended),
        ("failure", len(failures)),
        ("of", policy.max_restarts),
        ("attempt", attempt),
    )
    is_over = policy.restart != "never" and is_full(failures, max_restarts=policy.max_restarts)
    if policy.schedule is not None:
        is_given_up = hopeless or is_over or policy.restart == "never"
        if (is_given_up or worker.is_owed) and not ended.start_again:
            return jobs.give_up(counted, fields, now_s)
    elif hopeless or ended.was_probing or is_over:
        return _trip(counted, fields, now_s, _why_tripped(ended, hopeless=hopeless))
    if ended.start_again:
        moved, actions = start(counted, now_s)
        return moved, (Announce("worker.failed", (*fields, *_next("restart", 0.0))), *actions)
    if policy.restart == "never":
        return counted.in_state(Exited(at_s)), (
            Announce("worker.failed", (*fields, *_next("none"))),
        )
    full_s = backoff_s(attempt, policy.backoff)
    delay_s = policy.backoff.max_s if missing else draw_s(full_s, policy.backoff, rng, now_s=now_s)
    return counted.in_state(Backoff(now_s + delay_s, delay_s)), (
        Announce("worker.failed", (*fields, *_next("restart", delay_s))),
    )


def _why_tripped(ended: Stopping, *, hopeless: bool) -> str:
    if hopeless:
        return "no retry can heal it"
    return "failed on trial" if ended.was_probing else ""


def _trip(worker: Worker, fields: Fields, now_s: float, reason: str) -> Moved:
    """Open the breaker."""
    policy = worker.policy
    at_s = probe_at_s(worker, now_s)
    following = _next("reset") if at_s is None else _next("probe", at_s - now_s)
    tripped: Fields = (
        ("failures", len(worker.failures)),
        ("of", policy.max_restarts),
        ("window_s", policy.circuit_window_s),
        *((("reason", reason),) if reason else ()),
        *following,
    )
    return worker.in_state(Tripped(now_s, at_s)), (
        Announce("worker.failed", (*fields, *following)),
        Announce("worker.tripped", tripped),
    )


def probe_at_s(worker: Worker, tripped_at_s: float) -> float | None:
    """Return when a breaker that is open since *tripped_at_s* allows a start on trial."""
    cooldown_s = worker.policy.circuit_cooldown_s
    if cooldown_s is None or worker.policy.restart == "never":
        return None
    return tripped_at_s + cooldown_s


def _end_well(worker: Worker, ended: Stopping, now_s: float) -> Moved:
    """It ended by itself with an ok exit code: no failure, whatever the restart policy."""
    rested = _rested(worker, ended)
    evidence = _evidence(worker, ended)
    resets: tuple[Announce, ...] = ()
    if ended.was_probing:
        rested, reset = close_breaker(worker, "ended well on trial")
        resets = (reset,)
    policy = worker.policy
    is_service = policy.schedule is None
    is_stable = is_service and policy.restart == "always" and _was_stable(worker, ended)
    if ended.start_again or is_stable:
        moved, actions = start(rested, now_s)
        exited = Announce("worker.exited", (*evidence, *_next("restart", 0.0)))
        return moved, (exited, *resets, *actions)
    if not is_service:
        rest, following = jobs.go_on(rested, now_s)
        exited = Announce("worker.exited", (*evidence, *_next("schedule")))
        return rest, (exited, *resets, *following)
    if policy.restart == "always":
        # Else `exit 0` would loop as fast as the machine can fork.
        delay_s = policy.backoff.min_s
        waiting = Backoff(now_s + delay_s, delay_s, after_failure=False)
        exited = Announce("worker.exited", (*evidence, *_next("restart", delay_s)))
        return rested.in_state(waiting), (exited, *resets)
    at_s = now_s if ended.exited_at_s is None else ended.exited_at_s
    exited = Announce("worker.exited", (*evidence, *_next("none")))
    return rested.in_state(Exited(at_s)), (exited, *resets)


def _was_stable(worker: Worker, ended: Stopping) -> bool:
    # The sum and not the difference: with floats only one of them agrees with the deadline.
    return (
        ended.spawned_at_s is not None
        and ended.exited_at_s is not None
        and ended.exited_at_s >= ended.spawned_at_s + worker.policy.stable_run_period_s
    )


def _rested(worker: Worker, ended: Stopping) -> Worker:
    """Return the worker with its backoff at the beginning, if this run was a stable one."""
    return replace(worker, attempt=0) if _was_stable(worker, ended) else worker


def _last_exit(ended: Stopping, pid: int | None, reason: str, now_s: float) -> LastExit:
    begun_s = now_s if ended.spawned_at_s is None else ended.spawned_at_s
    # An old run that ended by itself, before it was replaced, has that end as its reason.
    is_replaced = ended.outcome == "replaced" and not _was_judged(ended)
    asked = is_replaced or ended.outcome in ("stopped", "shutdown", "restart")
    ran_s = max(0.0, now_s - begun_s)
    return LastExit(ended.code, ended.signal, reason, now_s, ran_s, pid, asked)


def _was_judged(stopping: Stopping) -> bool:
    """Return whether an old run gave way to one that was not ready yet, and what for is known."""
    return stopping.outcome == "replaced" != stopping.reason


def _stopped(worker: Worker, ended: Stopping, asked: str) -> Announce:
    return Announce("worker.stopped", (*_evidence(worker, ended), ("asked", asked)))


def _recycled(worker: Worker, ended: Stopping) -> Announce:
    evidence = (each for each in _evidence(worker, ended) if each[0] != "reason")
    fields = (*evidence, ("reason", ended.recycle), *_next("restart", 0.0))
    return Announce("worker.recycled", fields)


def _next(word: str, in_s: float | None = None) -> Fields:
    return (("next", word),) if in_s is None else (("next", word), ("in_s", round(in_s, 3)))


def _evidence(worker: Worker, ended: Stopping) -> Fields:
    """Return what is known of this end, in printing order."""
    last = worker.last_exit
    if ended.exited_at_s is None or last is None:
        return (("run", ended.run),)
    fields: list[tuple[str, str | int | float]] = [("run", ended.run)]
    if last.pid is not None:
        fields.append(("pid", last.pid))
    if last.code is not None:
        fields.append(("code", last.code))
    if last.signal is not None:
        fields.append(("signal", name_of(last.signal)))
    if last.reason != describe_end(last.code, last.signal) or last.reason == "unknown":
        fields.append(("reason", last.reason))
    fields.append(("ran_s", round(last.ran_s, 3)))
    return tuple(fields)
