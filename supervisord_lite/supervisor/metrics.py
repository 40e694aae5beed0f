"""A status as metrics in the text format of Prometheus. Pure.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "supervisord_lite_"
_STATES = (
    "stopped", "waiting", "starting", "running", "stopping", "backoff", "tripped", "probing",
    "exited",
)  # fmt: skip
_BREAKERS = {"closed": 0, "half_open": 0.5, "open": 1}

Status = dict[str, Any]
_Value = Callable[[Status], float | int | None]

#: Of each process: name, type, help, how to read it from the status of one worker; None: no line.
_OF_WORKER: tuple[tuple[str, str, str, _Value], ...] = (
    ("worker_up", "gauge", "1 while its process lives.", lambda w: int(w["pid"] is not None)),
    ("worker_ready", "gauge", "1 while it is ready.", lambda w: int(bool(w["ready"]))),
    ("worker_restarts_total", "counter", "Starts that followed a failure.",
     lambda w: w["restarts"]),
    ("worker_recycles_total", "counter", "Planned replacements.", lambda w: w["recycles"]),
    ("worker_failures_in_window", "gauge", "Failures that its breaker counts now.",
     lambda w: w["failures_in_window"]),
    ("worker_breaker_open", "gauge", "1 while its breaker is open, 0.5 while it is on trial.",
     lambda w: _BREAKERS[w["breaker"]]),
    ("worker_last_exit_code", "gauge", "Exit code of its latest run that ended by itself.",
     lambda w: (w["last_exit"] or {}).get("code")),
    ("worker_resident_memory_bytes", "gauge", "Resident memory of its tree.",
     lambda w: w["rss_bytes"]),
    ("worker_proportional_memory_bytes", "gauge", "Its share of the memory of its tree (PSS).",
     lambda w: w["pss_bytes"]),
    ("worker_cpu_percent", "gauge", "Of one core, of its tree, lately.",
     lambda w: w["cpu_percent"]),
    ("worker_log_dropped_bytes_total", "counter", "Output that could not be kept.",
     lambda w: (w["output"] or {}).get("dropped_bytes")),
)  # fmt: skip


def metrics_text(status: Status, look: Callable[[], None] = lambda: None) -> str:
    """Return the metrics of one answer to Status, with its times on the daemon's clock.

    *look* is called between two metrics, for whoever must not be away for long.
    """
    supervisor, workers, now_s = status["supervisor"], status["workers"], status["now_s"]
    lines = [
        *_metric("info", "gauge", "The daemon's version.",
                 [({"version": supervisor["version"]}, 1)]),
        *_metric("state", "gauge", "1 for what the daemon is doing.",
                 [({"state": supervisor["state"]}, 1)]),
        *_metric("configuration_generation", "counter", "Configurations put in force.",
                 [({}, supervisor["generation"])]),
        *_metric("configuration_refused", "gauge", "1 while the file on disk is refused.",
                 [({}, int(bool(supervisor["config_errors"])))]),
        *_metric("workers", "gauge", "Processes by state.", _by_state(workers)),
        *_of_loops(supervisor.get("loops") or ()),
    ]  # fmt: skip
    labels = [{"worker": worker["name"], "pool": worker["pool"]} for worker in workers]
    for name, kind, about, value_of in _OF_WORKER:
        lines += _metric(name, kind, about, zip(labels, map(value_of, workers), strict=True))
        look()
    ages = (
        None if worker["started_at_s"] is None else max(0.0, now_s - worker["started_at_s"])
        for worker in workers
    )
    about = "For how long its process has lived."
    lines += _metric("worker_uptime_seconds", "gauge", about, zip(labels, ages, strict=True))
    return "".join(f"{line}\n" for line in lines)


def _of_loops(loops: Iterable[Status]) -> list[str]:
    """Return how long the daemon's own loops were away; an earlier daemon does not say."""
    longest = [({"process": loop["process"]}, loop["longest_stall_s"]) for loop in loops]
    counts = [({"process": loop["process"]}, loop["stalls"]) for loop in loops]
    return [
        *_metric("loop_longest_stall_seconds", "gauge",
                 "The longest time for which a process of the daemon served nobody.", longest),
        *_metric("loop_stalls_total", "counter", "Times that were longer than 0.1 s.", counts),
    ]  # fmt: skip


def _by_state(workers: Iterable[Status]) -> list[tuple[dict[str, str], int]]:
    counts = Counter(str(worker["state"]) for worker in workers)
    return [({"state": state}, counts[state]) for state in _STATES]


def _metric(
    name: str,
    kind: str,
    about: str,
    values: Iterable[tuple[dict[str, str], float | int | None]],
) -> list[str]:
    lines = [
        f"{_PREFIX}{name}{_labels(labels)} {value}" for labels, value in values if value is not None
    ]
    return [f"# HELP {_PREFIX}{name} {about}", f"# TYPE {_PREFIX}{name} {kind}", *lines]


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
