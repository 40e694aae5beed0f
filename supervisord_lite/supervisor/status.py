"""A worker as it goes over the wire (the type Worker of the varlink definition)."""

from supervisord_lite.base.log_line import rfc3339
from supervisord_lite.base.signals import name_of
from supervisord_lite.base.units import format_bytes, format_duration
from supervisord_lite.config.flat import RLIMITS_IN_BYTES
from supervisord_lite.config.spec import Spec
from supervisord_lite.core.recycle import age_due_s, part_of
from supervisord_lite.core.scale import ScaledByHand
from supervisord_lite.core.schedule import Schedule, clock_text, next_planned_s
from supervisord_lite.core.standing import is_ready
from supervisord_lite.core.states import (
    Backoff,
    Probing,
    Running,
    Scheduled,
    Stopping,
    Tripped,
    Waiting,
    Worker,
    word_of,
)
from supervisord_lite.supervisor.launch import printed_name
from supervisord_lite.supervisor.samples import Usage


def worker_status(
    spec: Spec,
    worker: Worker,
    *,
    usage: Usage | None,
    now_s: float,
    wall_s: float,
    controllers: list[str],
    output: dict[str, object],
    stuck: str = "",
    words: str = "",
    by_hand: ScaledByHand | None = None,
    is_outdated: bool = False,
    is_outgoing: bool = False,
    generation: int | None = None,
) -> dict[str, object]:
    """Return one worker for the wire.

    Args:
        spec: Of its pool.
        worker: Its present state.
        usage: Its tree's, when there is a sample.
        now_s: The daemon's clock, to see which failures are still in the window.
        wall_s: The wall clock at `now_s`.
        controllers: Which cgroup limits are enforced.
        output: How that fares.
        words: What it says of itself.
        stuck: For whom it waits in vain, for people; else empty.
        by_hand: The size that a person gave its pool; None: it has that of the file.
        is_outdated: Its run is of an earlier configuration, and nobody is replacing it.
        is_outgoing: Another run of its slot takes its place, or goes on in its place.
        generation: Of the forkserver that its run came from; None: from none.
    """
    state = worker.state
    policy = spec.policy
    return {
        "name": printed_name(spec, worker.index),
        "pool": worker.pool,
        "instance": worker.index,
        "state": word_of(state),
        "pid": getattr(state, "pid", None),
        "ready": is_ready(worker),
        "started_at_s": getattr(state, "spawned_at_s", None),
        "restarts": worker.restarts,
        "recycles": worker.recycles,
        "failures_in_window": _failures_in_window(worker, now_s, policy.circuit_window_s),
        "max_restarts": policy.max_restarts,
        "breaker": _breaker(worker),
        "next_start_at_s": next_start_at_s(worker, now_s, wall_s),
        "critical": spec.critical != "no",
        **_usage(usage),
        "recycle": _recycle(spec, worker),
        "circuit_window_s": policy.circuit_window_s,
        "run": worker.run,
        "last_exit": _last_exit(worker, now_s, wall_s),
        "note": stuck
        or _note(worker)
        or _plan(worker, now_s, wall_s)
        or words
        or (output["trouble"] and f"log: {output['trouble']}")
        or ("has an earlier configuration: restart it" if is_outdated else None),
        "output": output,
        "limits": limits(spec, controllers),
        "file_pool_size": by_hand and by_hand.file_size,
        "outdated": is_outdated,
        "forkserver": generation,
        "schedule": schedule_text(policy.schedule),
        "outgoing": is_outgoing,
    }


def _failures_in_window(worker: Worker, now_s: float, window_s: float) -> int:
    since_s = now_s - window_s
    return sum(at_s > since_s for at_s in worker.failures)


def next_start_at_s(worker: Worker, now_s: float, wall_s: float) -> float | None:
    """Return when it starts again, on the daemon's clock, which shows *now_s* at *wall_s*."""
    match worker.state:
        case Scheduled():
            at_s = _next_planned_s(worker)
            is_cron = worker.policy.schedule is not None and worker.policy.schedule.cron is not None
            return at_s if at_s is None or not is_cron else now_s + (at_s - wall_s)
        case Backoff(retry_at_s=at_s):
            return at_s
        case Tripped(probe_at_s=at_s_or_none):
            return at_s_or_none
        case _:
            return None


def _next_planned_s(worker: Worker) -> float | None:
    schedule, settled_s = worker.policy.schedule, worker.settled_s
    if schedule is None or settled_s is None:
        return None
    return next_planned_s(schedule, settled_s)


def schedule_text(schedule: Schedule | None) -> str | None:
    """Return when a job runs, as one writes it: "7 * * * *", "every 1h"; None: it is none."""
    if schedule is None:
        return None
    if schedule.cron is not None:
        return schedule.cron.text
    return f"every {format_duration(schedule.every_s or 0.0)}"


def _plan(worker: Worker, now_s: float, wall_s: float) -> str | None:
    """Return "next 15:07, last ok" for a job between two runs."""
    schedule, last = worker.policy.schedule, worker.last_exit
    if schedule is None or not isinstance(worker.state, Scheduled):
        return None
    at_s = next_start_at_s(worker, now_s, wall_s)
    words = []
    if at_s is not None:
        words.append(f"next {clock_text(schedule.zone, wall_s + (at_s - now_s), wall_s)}")
    if last is not None:
        is_ok = last.code is not None and last.code in worker.policy.ok_exit_codes
        words.append("last ok" if is_ok else f"last failed: {last.reason}")
    return ", ".join(words) or None


def _breaker(worker: Worker) -> str:
    match worker.state:
        case Tripped() | Waiting(then="probe"):
            return "open"
        case Probing():
            return "half_open"
        case _:
            return "closed"


def _last_exit(worker: Worker, now_s: float, wall_s: float) -> dict[str, object] | None:
    last = worker.last_exit
    if last is None:
        return None
    return {
        "code": last.code,
        "signal": None if last.signal is None else name_of(last.signal),
        "reason": last.reason,
        "asked": last.asked,
        "ok": last.code is not None and last.code in worker.policy.ok_exit_codes,
        "at": rfc3339(wall_s - (now_s - last.at_s)),
    }


def _note(worker: Worker) -> str | None:
    state = worker.state
    match state:
        case Tripped():
            if len(worker.failures) < worker.policy.max_restarts and worker.last_exit:
                return worker.last_exit.reason  # no retry could have healed it
            window = format_duration(worker.policy.circuit_window_s)
            number = len(worker.failures)
            return f"{number} failure{'' if number == 1 else 's'} in {window}"
        case Stopping(pid=None, exited_at_s=float()):
            return "killing what it left behind"
        case Stopping(reason=reason, held_by=str(held_by)) if held_by:
            return f"{reason}: {held_by}"
        case Stopping(reason=reason, rung=rung):
            sent = "SIGKILL" if rung >= len(worker.policy.stop_ladder) else ""
            return f"{reason}: {sent} sent" if sent else reason
        case Waiting(reason=reason):
            return reason
        case _:
            return None


def _usage(usage: Usage | None) -> dict[str, object]:
    """Return what its tree takes, as far as there is a sample."""
    return {
        "rss_bytes": usage and usage.rss_bytes,
        "pss_bytes": usage and usage.pss_bytes,
        "cpu_percent": usage and usage.cpu_percent,
        "fds": usage and usage.fds,
        "threads": usage and usage.threads,
        "processes": usage and usage.processes,
        "sampled_at_s": usage and usage.at_s,
        "memory_bytes": usage and usage.memory_bytes,
    }


def _recycle(spec: Spec, worker: Worker) -> dict[str, object]:
    """Return the limits of its runs, and how old it may become."""
    own, spawned_at_s = spec.recycle, getattr(worker.state, "spawned_at_s", None)
    at_s = None
    if spawned_at_s is not None and isinstance(worker.state, Running):
        part = part_of(worker.pool, worker.index, worker.run)
        at_s = age_due_s(own, spawned_at_s, part)
    return {"memory_bytes": own.memory_bytes, "age_at_s": at_s, "runs": own.runs}


def limits(spec: Spec, controllers: list[str]) -> list[str]:
    """Return a few words for each limit; of those that cannot be held, that they are not."""
    rlimits = [f"{each.name} {_rlimit(each.name, each.value)}" for each in spec.launch.rlimits]
    return [*rlimits, *_of_cgroup(spec, controllers)]


def _rlimit(name: str, value: int | None) -> str:
    if value is None:
        return "unlimited"
    return format_bytes(value) if name in RLIMITS_IN_BYTES else str(value)


def _of_cgroup(spec: Spec, controllers: list[str]) -> list[str]:
    launch = spec.launch
    asked: list[tuple[str, str]] = []
    if launch.memory_bytes is not None:
        asked.append(("memory", format_bytes(launch.memory_bytes)))
    if launch.cpu_cores is not None:
        asked.append(("cpu", f"{launch.cpu_cores:g}"))
    if launch.pids is not None:
        asked.append(("pids", str(launch.pids)))
    return [
        f"{name} {value}"
        if name in controllers
        else f"{name} {value} NOT ENFORCED: no {name} controller here"
        for name, value in asked
    ]
