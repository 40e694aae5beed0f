"""A status answer as the command shows it: the JSON shape, and what is not as wanted."""

from typing import Any

from supervisord_lite.cli.text import ago, soon, up

_SUPERVISOR_KEYS = (
    "version",
    "pid",
    "keeper_pid",
    "state",
    "started_at",
    "generation",
    "config",
    "config_files",
    "config_errors",
    "warnings",
    "last_escalation",
    "loops",
)
_WORKER_KEYS = (
    "name",
    "pool",
    "instance",
    "state",
    "pid",
    "ready",
    "uptime_s",
    "restarts",
    "recycles",
    "failures_in_window",
    "breaker",
    "next_start_in_s",
    "critical",
    "rss_bytes",
    "pss_bytes",
    "cpu_percent",
    "last_exit",
    "note",
    "run",
    "max_restarts",
    "output",
    "limits",
    "file_pool_size",
    "outdated",
    "outgoing",
    "forkserver",
    "fds",
    "threads",
    "processes",
    "memory_bytes",
    "sample_age_s",
    "recycle",
    "circuit_window_s",
    "schedule",
)
_EXIT_KEYS = ("code", "signal", "reason", "at", "ok", "asked")

#: What stands in a job's note between when it runs next and why its last run failed.
_LAST_FAILED = ", last failed: "
#: How the reason of a run begins that failed before the program ran; its stage follows.
SPAWN_FAILED = "spawn failed ("
#: How the reason of a run begins that the kernel has ended; how much there was follows.
OUT_OF_MEMORY = "out of memory, "
#: What stands before the wait for the next start.
AGAIN = "again in "
#: States of a worker that people need not look at, as long as nothing else is wrong.
_SETTLED = frozenset({"running", "waiting", "stopped", "exited"})


def snapshot(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what `status --json` prints: every key is there, absent values are null.

    Args:
        answer: The answer to Status; its times are on the daemon's clock, and become durations.
    """
    now_s = float(answer.get("now_s") or 0.0)
    supervisor = answer.get("supervisor") or {}
    return {
        "supervisor": {key: supervisor.get(key) for key in _SUPERVISOR_KEYS},
        "workers": [_worker(worker, now_s) for worker in answer.get("workers") or []],
    }


def _worker(worker: dict[str, Any], now_s: float) -> dict[str, Any]:
    """Return one worker with every key, in order."""
    shown = {key: worker.get(key) for key in _WORKER_KEYS}
    started_at_s = worker.get("started_at_s")
    next_start_at_s = worker.get("next_start_at_s")
    if started_at_s is not None:
        shown["uptime_s"] = round(max(0.0, now_s - started_at_s), 3)
    if next_start_at_s is not None:
        shown["next_start_in_s"] = round(max(0.0, next_start_at_s - now_s), 3)
    sampled_at_s = worker.get("sampled_at_s")
    if sampled_at_s is not None:
        shown["sample_age_s"] = round(max(0.0, now_s - sampled_at_s), 3)
    shown["recycle"] = _recycle(worker.get("recycle") or {}, now_s)
    last_exit = worker.get("last_exit")
    if last_exit is not None:
        shown["last_exit"] = {key: last_exit.get(key) for key in _EXIT_KEYS}
    return shown


def _recycle(limits: dict[str, Any], now_s: float) -> dict[str, Any]:
    at_s = limits.get("age_at_s")
    return {
        "memory_bytes": limits.get("memory_bytes"),
        "age_in_s": None if at_s is None else round(max(0.0, at_s - now_s), 3),
        "runs": limits.get("runs"),
    }


def ended_well(worker: dict[str, Any]) -> bool:
    """Return whether a worker finished its work: `exited`, with an ok exit code."""
    last_exit = worker["last_exit"] or {}
    ok = last_exit.get("ok")
    return worker["state"] == "exited" and (last_exit.get("code") == 0 if ok is None else bool(ok))


def job_failed(worker: dict[str, Any]) -> bool:
    """Return whether the last run of a job failed that waits for its next one."""
    last_exit = worker["last_exit"]
    is_job = bool(worker.get("schedule")) and worker["state"] == "waiting"
    return is_job and last_exit is not None and last_exit.get("ok") is False


def as_wanted(worker: dict[str, Any]) -> bool:
    """Return whether a worker is where it should be; a stop by hand is what somebody wanted."""
    if worker["state"] == "exited":
        return ended_well(worker)
    if job_failed(worker):
        return False
    if (worker["output"] or {}).get("trouble") or worker.get("outdated"):
        return False
    if worker["state"] == "running":
        return worker["ready"] is not False
    return worker["state"] in _SETTLED


def needs_somebody(worker: dict[str, Any]) -> bool:
    """Return whether it stays wrong until a person does something.

    A program that is missing is tried again, but nothing of ours will bring it.
    """
    if worker["state"] == "backoff":
        return could_not_start(worker)
    return worker["state"] == "tripped" or (worker["state"] == "exited" and not ended_well(worker))


def could_not_start(worker: dict[str, Any]) -> bool:
    """Return whether the last run failed before the program ran: it has written nothing."""
    return str((worker["last_exit"] or {}).get("reason") or "").startswith(SPAWN_FAILED)


def reason(worker: dict[str, Any]) -> str:
    """Return how the last run ended, for people: "exit 1"; empty when there was none."""
    last_exit = worker["last_exit"] or {}
    text = str(last_exit.get("reason") or last_exit.get("signal") or "")
    # A column is short: the cause first. The stage that failed stands in `status NAME`.
    return text.partition("): ")[2] if text.startswith(SPAWN_FAILED) else text


def failures(worker: dict[str, Any]) -> str:
    """Return "failure 3 of 5"; empty without one."""
    number = worker["failures_in_window"]
    most = worker["max_restarts"]
    if not number:
        return ""
    return f"failure {number} of {most}" if most else f"failure {number}"


def note(worker: dict[str, Any]) -> str:
    """Return what is next or wrong, in a few words; empty when all is normal."""
    state = worker["state"]
    said = str(worker["note"] or "")
    if state == "backoff":
        left_s = worker["next_start_in_s"]
        again = f"{AGAIN}{up(left_s)}" if left_s is not None else "again soon"
        return "; ".join(filter(None, (reason(worker), again)))
    if job_failed(worker):
        # What is wrong comes first: who cuts a note to its columns cuts its end.
        planned, _, failed = said.partition(_LAST_FAILED)
        return f"failed: {failed}; {planned}" if failed else said
    if state == "tripped":
        return said or _tripped(worker)
    if state == "exited":
        how = "ok" if ended_well(worker) else reason(worker)
        at = (worker["last_exit"] or {}).get("at")
        return said or ", ".join(filter(None, (how, ago(at) if at else "")))
    if state == "running" and not said and worker["recycles"]:
        return f"{worker['recycles']} recycled"
    return said


def problem(worker: dict[str, Any]) -> str:
    """Return why a worker is not as wanted, in full."""
    state = worker["state"]
    if state == "backoff":
        left_s = worker["next_start_in_s"]
        again = f"{AGAIN}{soon(left_s)}" if left_s is not None else ""
        return ", ".join(filter(None, (reason(worker), failures(worker), again)))
    if job_failed(worker):
        left_s = worker["next_start_in_s"]
        again = f"{AGAIN}{soon(left_s)}" if left_s is not None else ""
        return ", ".join(filter(None, (f"last run failed: {reason(worker)}", again)))
    words = {
        "starting": "not ready yet",
        "running": "not ready",
        "probing": "on trial",
        "stopping": "not down yet",
    }
    return note(worker) or words.get(state, "")


def _tripped(worker: dict[str, Any]) -> str:
    number = worker["failures_in_window"] or 0
    said = f"{number} failure{'' if number == 1 else 's'}" if number else ""
    return ": ".join(filter(None, (said, reason(worker))))
