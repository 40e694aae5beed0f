"""The table of `status`: a line per pool, totals, and what needs somebody."""

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

from supervisord_lite.cli import colour, snapshot
from supervisord_lite.cli.text import COLUMNS, ago, clip, count, fold, printable, size, up, width

#: A name that is longer gets a line of its own.
_MAX_NAME_COLUMNS = 20
_STATE_COLUMNS = 8
#: What goes on in a note, and with how many columns its cause still says something.
_GOES_ON = {"; again ": 8, "; next ": 9}
#: Most problems that are named; more are counted.
_MAX_PROBLEMS = 10

#: The state of a pool whose instances differ: the first of these that one of them is in.
_RANK = (
    "running",
    "tripped",
    "backoff",
    "probing",
    "starting",
    "stopping",
    "waiting",
    "stopped",
    "exited",
)
_PHRASES = {"backoff": "in backoff", "probing": "on trial"}

Worker = dict[str, Any]


def pools_of(workers: Iterable[Worker]) -> list[list[Worker]]:
    """Return the workers by pool, in the order of the file."""
    pools: dict[str, list[Worker]] = {}
    for worker in workers:
        pools.setdefault(str(worker["pool"]), []).append(worker)
    return list(pools.values())


def table(
    workers: list[Worker],
    *,
    every_instance: bool,
    columns_max: int = COLUMNS,
    in_colour: bool = False,
) -> list[str]:
    """Return the header and the lines: one per pool, or one per instance.

    Args:
        workers: As `snapshot` tells them.
        every_instance: One line each, not one per pool.
        columns_max: Of the terminal; notes are cut to it, and whole in `status NAME` and JSON.
        in_colour: The state of each has a colour.
    """
    groups = [[worker] for worker in workers] if every_instance else pools_of(workers)
    named = [(_name(group), group) for group in groups]
    columns = max([4, *(len(name) for name, _ in named if len(name) <= _MAX_NAME_COLUMNS)])
    header = f"{'NAME':<{columns}}  STATE    READY     PID   UP RST  CPU%   MEM  NOTE"
    lines = [header]
    for name, group in named:
        if len(name) > columns:
            lines += [name, _line("", group, columns, columns_max)]
        else:
            lines.append(_line(name, group, columns, columns_max))
        if in_colour:
            lines[-1] = _coloured(lines[-1], columns + 2, group)
    return lines


def _coloured(line: str, at: int, group: list[Worker]) -> str:
    """Return a line whose state, which begins in column *at*, has its colour."""
    state = line[at : at + _STATE_COLUMNS]
    is_good = all(snapshot.as_wanted(worker) for worker in _slots(group))
    painted = colour.of_state(state, _state(_slots(group)), is_good=is_good)
    return line[:at] + painted + line[at + _STATE_COLUMNS :]


def _slots(group: list[Worker]) -> list[Worker]:
    """Return one process for each instance: of two the one that is ready, else the new one."""
    found: dict[object, Worker] = {}
    for worker in group:
        other = found.get(worker["instance"])
        if other is None or (bool(worker["ready"]), not worker.get("outgoing")) > (
            bool(other["ready"]), not other.get("outgoing"),
        ):  # fmt: skip
            found[worker["instance"]] = worker
    return list(found.values())


def _being_replaced(group: list[Worker]) -> str:
    """Return "-1 being replaced", or nothing."""
    seen = Counter(worker["instance"] for worker in group)
    swapped = [str(instance) for instance, processes in seen.items() if processes > 1]
    if len(seen) == 1:
        return "being replaced" if swapped else ""
    return f"-{', -'.join(swapped)} being replaced" if swapped else ""


def _name(group: list[Worker]) -> str:
    """Return the pool's name, or the worker's own."""
    return clip(str(group[0]["name"] if len(group) == 1 else group[0]["pool"]), COLUMNS)


def _line(name: str, group: list[Worker], columns: int, columns_max: int) -> str:
    """Return one line for the instances of a pool."""
    swapped, processes, group = _being_replaced(group), group, _slots(group)
    state = _state(group)
    pids = [worker["pid"] for worker in group]
    pid = "-" if len(group) > 1 or pids[0] is None else str(pids[0])
    ups = [worker["uptime_s"] for worker in group if worker["uptime_s"] is not None]
    cpus = [worker["cpu_percent"] for worker in processes if worker["cpu_percent"] is not None]
    memory = [found for worker in processes if (found := _memory(worker)) is not None]
    cpu = f"{sum(cpus):.1f}" if cpus else "-"
    restarts = sum(worker["restarts"] or 0 for worker in group)
    start = (
        f"{name:<{columns}}  {clip(state, _STATE_COLUMNS):<{_STATE_COLUMNS}} "
        f"{_ready(group):>5} {pid:>7} "
        f"{up(max(ups, default=None)):>4} {restarts:>3} {cpu:>5} "
        f"{size(sum(memory) if memory else None):>5}  "
    )
    note = "; ".join(filter(None, (_by_hand(group), swapped, _note(group, state))))
    return (start + _clip_note(note, columns_max - len(start))).rstrip()


def _by_hand(group: list[Worker]) -> str:
    """Return "file: 8" for a pool that has another size than its file says."""
    size = group[0].get("file_pool_size")
    return "" if size is None else f"file: {size}"


def _clip_note(note: str, columns: int) -> str:
    """Return a note cut to *columns*; of one that says when it goes on, the cause is cut."""
    for goes_on, least in _GOES_ON.items():
        cause, again, when = note.rpartition(goes_on)
        if again and columns - width(again + when) >= least:
            return clip(cause, columns - width(again + when)) + again + when
    return clip(note, columns)


def _state(group: list[Worker]) -> str:
    """Return the state of a pool: of what runs, else of the worst."""
    states = {str(worker["state"]) for worker in group}
    return min(states, key=lambda state: _RANK.index(state) if state in _RANK else 0)


def _ready(group: list[Worker]) -> str:
    """Return "2/3"; "-" where nobody is meant to be ready now."""
    if all(worker["state"] in {"waiting", "stopped"} for worker in group):
        return "-"
    ready = sum(bool(worker["ready"]) or snapshot.ended_well(worker) for worker in group)
    return f"{ready}/{len(group)}"


def _memory(worker: Worker) -> int | None:
    """Return bytes of memory: shared pages counted once (PSS) where that is known."""
    found = worker["pss_bytes"] if worker["pss_bytes"] is not None else worker["rss_bytes"]
    return None if found is None else int(found)


def _note(group: list[Worker], state: str) -> str:
    """Return what is next or wrong in a pool."""
    if len(group) == 1:
        return snapshot.note(group[0])
    others = [worker for worker in group if worker["state"] != state]
    if len(others) == 1:
        return f"-{others[0]['instance']} {_phrase(str(others[0]['state']))}"
    if others:
        counted = Counter(str(worker["state"]) for worker in others)
        return ", ".join(f"{number} {_phrase(name)}" for name, number in counted.items())
    recycles = sum(worker["recycles"] or 0 for worker in group)
    notes = {worker["instance"]: worker["note"] for worker in group if worker["note"]}
    if state not in {"running", "stopped"}:
        told = ((worker["instance"], snapshot.note(worker)) for worker in group)
        notes = {instance: note for instance, note in told if note}
    if not notes:
        return f"{recycles} recycled" if recycles else ""
    instance, first = next(iter(notes.items()))
    same = len(notes) == len(group) and len(set(notes.values())) == 1
    return str(first) if same else f"-{instance}: {first}"


def _phrase(state: str) -> str:
    return _PHRASES.get(state, state)


def totals(status: dict[str, Any]) -> str:
    """Return the line below the table: how many, how they are, where, since when."""
    workers: list[Worker] = status["workers"]
    pools = pools_of(workers)
    how = Counter(_how(group) for group in pools)
    parts = [f"{how.pop('ok')} ok"] if how["ok"] else []
    how.pop("ok", None)
    parts += [f"{number} {printable(name)}" for name, number in how.items()]
    processes = sum(worker["pid"] is not None for worker in workers)
    text = f"{count(len(pools), 'worker')}, {count(processes, 'process')}"
    text += f": {', '.join(parts)}." if parts else "."
    since = status["supervisor"]["started_at"]
    where = printable(os.uname().nodename)
    if since:
        where += f", up {ago(since).removesuffix(' ago')}"
    if len(text) + 3 + len(where) <= COLUMNS:
        return f"{text}   {where}"
    return f"{fold(text, indent=2)}\n{where}"


def _how(group: list[Worker]) -> str:
    """Return one word for a pool: "ok", or the worst that one of its instances is."""
    group = _slots(group)
    wrong = [str(worker["state"]) for worker in group if not snapshot.as_wanted(worker)]
    if wrong:
        worst = min(wrong, key=lambda state: _RANK.index(state) if state in _RANK else 0)
        if worst == "running":
            if any(worker["ready"] is False for worker in group):
                return "not ready"
            return "outdated" if any(worker.get("outdated") for worker in group) else "not logging"
        is_failed = worst == "exited" or any(map(snapshot.job_failed, group))
        return "failed" if is_failed else _phrase(worst)
    return "stopped" if all(worker["state"] == "stopped" for worker in group) else "ok"


def problems(status: dict[str, Any], command: str) -> list[str]:
    """Return what needs somebody, each with what to type; *command* calls this daemon."""
    supervisor = status["supervisor"]
    lines = [fold(f"! {warning}", indent=2) for warning in supervisor["warnings"] or []]
    if supervisor["state"] not in {None, "running"}:
        lines.append(f"! the daemon itself is {printable(str(supervisor['state']))}")
    wrong = [worker for worker in status["workers"] if snapshot.needs_somebody(worker)]
    for worker in wrong[:_MAX_PROBLEMS]:
        name = printable(str(worker["name"]))
        lines.append(fold(f"! {name}: {command} why {name}", indent=2))
    if len(wrong) > _MAX_PROBLEMS:
        lines.append(f"! and {len(wrong) - _MAX_PROBLEMS} more: {command} status --check")
    return lines


def wrong_lines(workers: list[Worker]) -> list[str]:
    """Return a line for each worker that is not as wanted, for `status --check`."""
    wrong = [worker for worker in workers if not snapshot.as_wanted(worker)]
    columns = max((len(str(worker["name"])) for worker in wrong), default=0)
    lines = []
    for worker in wrong:
        start = f"{printable(str(worker['name'])):<{columns}} {worker['state']:<8} "
        lines.append(fold(start + snapshot.problem(worker), indent=2).rstrip())
    return lines
