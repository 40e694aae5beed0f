"""What `doctor` thinks of what it has seen. Pure: facts in, findings out."""

from __future__ import annotations

import shlex
import stat
from typing import TYPE_CHECKING, Literal

from supervisord_lite.base.record import record
from supervisord_lite.base.units import format_duration
from supervisord_lite.config.guarded import OPEN_FILE
from supervisord_lite.core.backoff import backoff_s
from supervisord_lite.core.fleet import Fleet
from supervisord_lite.core.pools import Pool
from supervisord_lite.core.states import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from supervisord_lite.cli.doctor_facts import Facts, Folder
    from supervisord_lite.config.spec import Configuration, Spec

#: "error": it will not work, or is not safe. "warning": it will hurt some day. "note": to be known.
Level = Literal["error", "warning", "note"]

#: Of the keeper for each process, and for everything else.
_DESCRIPTORS_EACH = 3
_DESCRIPTORS_OURS = 64
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0,
            "w": 604800.0, "month": 2629800.0, "y": 31557600.0}  # fmt: skip
#: What a folder is that programs stand in.
_PROGRAMS = ("command of", "interpreter of")
#: What `docker stop` waits before it kills, unless it is told otherwise.
_CONTAINER_STOP_S = 10


@record
class Finding:
    """One thing that somebody should know.

    Attributes:
        level: How bad it is.
        about: The check: a word.
        text: What is so, and why that matters.
        remedy: What to type or to write.
    """

    level: Level
    about: str
    text: str
    remedy: str


def findings(facts: Facts) -> list[Finding]:
    """Return everything that is found, the worst first, else in the order of the checks."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda each: ("error", "warning", "note").index(each.level))


def _configuration(facts: Facts) -> Iterator[Finding]:
    if facts.judged is None:
        text = f"{facts.config_path} is not good: {facts.error.splitlines()[0]}"
        remedy = f"supervisord-lite check -c {shlex.quote(facts.config_path)}"
        yield Finding("error", "configuration", text, remedy)
        return
    for problem in facts.judged.warnings:
        if problem.message.endswith(OPEN_FILE):
            continue  # told by the check of permissions
        place = f"{problem.file}:{problem.line}"
        yield Finding("warning", "configuration", f"{place}: {problem.message}", problem.hint)


def _daemon(facts: Facts) -> Iterator[Finding]:
    if facts.status is None:
        active = facts.unit.get("ActiveState") == "active"
        text = facts.no_answer + (", though its unit is active" if active else "")
        remedy = f"supervisord-lite run -c {shlex.quote(facts.config_path)}"
        if _has_unit(facts):
            verb = "status" if active else "start"
            remedy = f"{facts.manager} {verb} {facts.unit_name}"
        yield Finding("error" if active else "note", "daemon", text, remedy)
        return
    for warning in facts.status["supervisor"].get("warnings") or []:
        if "descriptors; the limit is" in warning and facts.judged is not None:
            continue  # told by a check of its own, with what to write
        yield Finding("warning", "daemon", warning, "supervisord-lite status")
    unmet: dict[str, list[str]] = {}
    for worker in facts.status["workers"]:
        for sentence in worker.get("limits") or []:
            unmet.setdefault(sentence, []).append(worker["name"])
    for sentence, names in unmet.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        text = f"limits of {', '.join(names[:3])}{more}: {sentence}"
        yield Finding("warning", "limits", text, _limits_remedy(facts))


def _descriptors(facts: Facts) -> Iterator[Finding]:
    if facts.judged is None:
        return
    processes = sum(spec.pool_size for spec in facts.judged.configuration.specs)
    wanted = processes * _DESCRIPTORS_EACH + _DESCRIPTORS_OURS
    hard = facts.descriptors[1]
    if hard >= wanted or hard < 0:
        return
    text = f"{processes} processes may need {wanted} descriptors in the daemon; the limit is {hard}"
    line = f"LimitNOFILE=1024:{max(524288, wanted)}"
    remedy = _edit(facts, line) if _has_unit(facts) else f"ulimit -n {wanted}"
    yield Finding("error", "descriptors", text, remedy)


def _has_unit(facts: Facts) -> bool:
    """Return whether it is there; of one that is not, systemd shows its own defaults."""
    return facts.unit.get("LoadState") == "loaded"


def _edit(facts: Facts, line: str, section: str = "Service") -> str:
    return f"{facts.manager} edit {facts.unit_name}, below [{section}]: {line}"


def _delegation_remedy(facts: Facts) -> str:
    if _has_unit(facts) and facts.unit.get("Delegate") != "yes":
        return _edit(facts, "Delegate=yes")
    return "systemd.unified_cgroup_hierarchy=1 on the kernel's command line, and a boot"


def _limits_remedy(facts: Facts) -> str:
    if facts.keeper_pid == 1:
        return "docker run --memory SIZE …, which limits the whole container, or leave limits out"
    return f"{_delegation_remedy(facts)}, or leave limits out"


def _delegation(facts: Facts) -> Iterator[Finding]:
    if _has_unit(facts) and facts.unit.get("Delegate") != "yes":
        text = "without cgroups of their own, trees of workers are found by marks and sessions only"
        yield Finding("warning", "delegation", text, _delegation_remedy(facts))
    elif not facts.has_cgroup_v2 and facts.keeper_pid != 1:  # a container has what it was given
        text = "no cgroup v2 is mounted: trees of workers are found by marks and sessions only"
        yield Finding("warning", "delegation", text, _delegation_remedy(facts))


def _trees(facts: Facts) -> Iterator[Finding]:
    """Without cgroups a tree has a marker in its environment, which one must be let read."""
    if facts.judged is None or facts.makes_cgroups or facts.sees_all:
        return
    others = [
        spec.pool
        for spec in facts.judged.configuration.specs
        if spec.launch.identity is not None and spec.launch.identity.uid != facts.uid
    ]
    if not others:
        return
    text = (
        f"{', '.join(others[:3])} {'runs' if len(others) == 1 else 'run'} as somebody else, and "
        "the daemon may not read their environment (no CAP_SYS_PTRACE) and make no cgroups: a "
        "process that leaves its session is not recognised as theirs when they are stopped"
    )
    remedy = "docker run --cap-add SYS_PTRACE …, or docker run --user USER … for all of them"
    yield Finding("warning", "trees", text, remedy)


def _journald(facts: Facts) -> Iterator[Finding]:
    if facts.judged is None or facts.has_journal:
        return
    names = [
        spec.pool
        for spec in facts.judged.configuration.specs
        if "journal" in (str(spec.launch.stdout.kind), str(spec.launch.stderr.kind))
    ]
    if names:
        text = f"{', '.join(names[:5])} log to the journal, and no journald takes messages here"
        remedy = 'systemctl start systemd-journald.socket systemd-journald, or log = "PATH"'
        yield Finding("error", "journald", text, remedy)


def _clock(facts: Facts) -> Iterator[Finding]:
    if facts.judged is None:
        return
    jobs = {
        spec.pool: spec.policy.schedule
        for spec in facts.judged.configuration.specs
        if spec.policy.schedule is not None
    }
    if facts.is_clock_synchronised is False:
        level: Level = "warning" if jobs else "note"
        text = "the clock is not synchronised: times in logs, and schedules, go by it"
        yield Finding(level, "clock", text, "timedatectl set-ntp true, or apt-get install chrony")
    local = [name for name, schedule in jobs.items() if not schedule.zone.name]
    if local and not facts.has_timezone:
        text = f"{local[0]} has a schedule, and the box has no time zone: it means UTC"
        remedy = 'timedatectl set-timezone Europe/Vienna, or schedule.timezone = "Europe/Vienna"'
        yield Finding("note", "clock", text, remedy)


def _unit(facts: Facts) -> Iterator[Finding]:
    unit = facts.unit
    if not unit:
        return
    if unit.get("LoadState") != "loaded":
        text = f"there is no unit {facts.unit_name}: nothing starts the daemon at boot"
        yield Finding("note", "unit", text, "supervisord-lite install-unit")
        return
    for key, wanted, why in (
        ("Type", ("notify", "notify-reload"), "systemd would not hear when it is ready"),
        ("KillMode", ("mixed",), "systemd would stop the workers itself, in no order"),
        ("OOMPolicy", ("continue",), "a worker that the kernel kills would end the whole service"),
        ("RuntimeDirectoryPreserve", ("yes", "restart"), "a restart would remove its sockets"),
    ):
        if unit.get(key, wanted[0]) not in wanted:
            line = f"{key}={wanted[0]}"
            text = f"{key}={unit[key]}: {why}"
            yield Finding("error", "unit", text, _edit(facts, line))
    prevented = unit.get("RestartPreventExitStatus", "").split()
    missing = [code for code in ("2", "77", "78") if code not in prevented]
    if unit.get("Restart") not in ("no", None) and missing:
        text = (
            f"systemd would start it again after {', '.join(missing)}, which would only come again"
        )
        line = "RestartPreventExitStatus=2 77 78"
        yield Finding("warning", "unit", text, _edit(facts, line))
    if unit.get("NeedDaemonReload") == "yes":
        text = "the unit's file has changed since systemd read it"
        yield Finding("warning", "unit", text, f"{facts.manager} daemon-reload")


def _stop_time(facts: Facts) -> Iterator[Finding]:
    if facts.judged is None:
        return
    stop_s = longest_stop_s(facts.judged.configuration)
    if facts.keeper_pid == 1 and stop_s >= _CONTAINER_STOP_S:
        text = (
            f"an ordered stop may take {format_duration(stop_s)}, and `docker stop` kills "
            f"everything after {_CONTAINER_STOP_S}s, unless this container was started with more"
        )
        grace = f"{int(stop_s) + _CONTAINER_STOP_S}"
        remedy = (
            f"docker run --stop-timeout {grace} …, or in compose.yaml stop_grace_period: {grace}s"
        )
        yield Finding("note", "stop time", text, remedy)
    timeout_s = seconds_of(facts.unit.get("TimeoutStopUSec", ""))
    if not _has_unit(facts) or timeout_s is None or stop_s <= timeout_s:
        return
    if facts.unit.get("Type", "").startswith("notify") and facts.unit.get("NotifyAccess") != "none":
        # The daemon asks for more with EXTEND_TIMEOUT_USEC: `systemctl stop` waits.
        level: Level = "note"
        text = (
            f"an ordered stop may take {format_duration(stop_s)}, and TimeoutStopSec is "
            f"{format_duration(timeout_s)}: the daemon asks systemd for the difference, "
            "but at shutdown of the box it may not get it"
        )
    else:
        level = "error"
        text = (
            f"an ordered stop may take {format_duration(stop_s)}; after TimeoutStopSec="
            f"{format_duration(timeout_s)} systemd kills what is left"
        )
    line = f"TimeoutStopSec={int(stop_s) + 10}s"
    remedy = _edit(facts, line) + ", or shorten stop_timeout"
    yield Finding(level, "stop time", text, remedy)


def longest_stop_s(configuration: Configuration) -> float:
    """Return how long an ordered stop of everything can take, in seconds."""
    pools = [
        Pool(spec.pool, spec.requires, spec.after, spec.critical) for spec in configuration.specs
    ]
    workers = {(spec.pool, 1): Worker(spec.pool, 1, spec.policy) for spec in configuration.specs}
    return Fleet(pools, workers).longest_stop_s() + configuration.settings.drain_s


def _start_limit(facts: Facts) -> Iterator[Finding]:
    """A critical worker that always fails must make the unit fail, not go round for ever."""
    interval_s = seconds_of(facts.unit.get("StartLimitIntervalUSec", ""))
    burst = facts.unit.get("StartLimitBurst", "")
    if facts.judged is None or not _has_unit(facts) or not interval_s or not burst.isdigit():
        return
    for spec in facts.judged.configuration.specs:
        if spec.critical == "no":
            continue
        cycle_s = trip_s(spec)
        if cycle_s * int(burst) <= interval_s:
            continue
        text = (
            f"critical worker {spec.pool} takes {format_duration(round(cycle_s))} or more to trip; "
            f"{burst} times that is more than StartLimitInterval={format_duration(interval_s)}, so "
            "systemd never gives up and OnFailure= never runs"
        )
        line = f"StartLimitIntervalSec={int(cycle_s * (int(burst) + 1)) // 60 + 1}min"
        remedy = f"{_edit(facts, line, 'Unit')}, or lower backoff.max"
        yield Finding("warning", "start limit", text, remedy)


def trip_s(spec: Spec) -> float:
    """Return how long a worker that fails at once takes to trip its breaker, in seconds."""
    policy = spec.policy
    return sum(backoff_s(attempt, policy.backoff) for attempt in range(1, policy.max_restarts))


def _permissions(facts: Facts) -> Iterator[Finding]:
    for folder in facts.folders:
        who = who_may_change(folder, facts.uid)
        if not who:
            continue
        kind = "folder" if folder.is_folder else "file"
        is_code = folder.what == "configuration" or folder.what.startswith(_PROGRAMS)
        level: Level = "error" if is_code and facts.as_root else "warning"
        whose = "root" if facts.as_root else "the daemon"
        harm = f"and so what {whose} runs" if is_code else "and so redirect or forge what is kept"
        text = f"{who} may change the {kind} {folder.path} ({folder.what}), {harm}"
        path = shlex.quote(folder.path)
        remedy = f"chmod go-w {path}"
        if folder.uid not in (0, facts.uid):
            remedy = f"chown {'root' if facts.as_root else facts.uid} {path}"
        yield Finding(level, "permissions", text, remedy)


def who_may_change(folder: Folder, uid: int) -> str:
    """Return who else may put another thing in this place; empty: nobody.

    In a sticky folder that root owns (/tmp) nobody may replace what is somebody else's.
    """
    if folder.uid not in (0, uid):
        # A log folder or a release may belong to the worker's user; its parents are ours.
        is_theirs = folder.what.startswith(("folder of", *_PROGRAMS))
        return "" if is_theirs and not folder.mode & stat.S_IWOTH else f"uid {folder.uid}"
    if folder.is_folder and folder.mode & stat.S_ISVTX and folder.uid == 0:
        return ""
    if folder.mode & stat.S_IWOTH:
        return "everybody"
    if folder.mode & stat.S_IWGRP and folder.gid != 0 and folder.what == "configuration":
        return f"group {folder.gid}"
    return ""


def seconds_of(text: str) -> float | None:
    """Return a time span as systemctl shows it ("1min 30s") in seconds; None: there is none."""
    if not text or text == "infinity":
        return None
    total_s = 0.0
    for word in text.split():
        digits = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = word[len(digits) :]
        if unit not in _UNITS_S:
            return None
        total_s += float(digits) * _UNITS_S[unit]
    return total_s


#: In the order in which they are told.
def _installation(facts: Facts) -> Iterator[Finding]:
    if facts.unit_starts is None:
        return
    unit, command = facts.unit_starts["unit"], facts.unit_starts["command"]
    text = (
        f"{unit} starts {command}, and another installation runs since an upgrade: with the next "
        "start of the unit, after a boot say, the one before is back"
    )
    yield Finding("warning", "unit", text, "supervisord-lite install-unit, with the one that runs")


CHECKS: tuple[Callable[[Facts], Iterable[Finding]], ...] = (
    _configuration, _daemon, _descriptors, _delegation, _trees, _journald, _clock, _unit,
    _stop_time, _start_limit, _permissions, _installation,
)  # fmt: skip
_ALWAYS = ("configuration", "daemon", "delegation")
_OF_A_CONFIGURATION = ("descriptors", "trees", "journald", "clock", "permissions")


def looked_at(facts: Facts) -> list[str]:
    """Return which checks could be made, by the words that findings name them with."""
    names = [*_ALWAYS]
    if facts.status is not None:
        names.append("limits")
    if facts.judged is not None:
        names += _OF_A_CONFIGURATION
    if facts.unit:
        names.append("unit")
    if _has_unit(facts) and facts.judged is not None:
        names += ["stop time", "start limit"]
    elif facts.keeper_pid == 1 and facts.judged is not None:
        names.append("stop time")
    return names
