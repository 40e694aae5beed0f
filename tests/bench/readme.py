"""The table of a README, made from the record of one call and never typed."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import FLOOR, OURS, Summary, number, summarize
from tests.bench.runs import Miss, Record

BEGIN, END = "<!-- performance -->", "<!-- /performance -->"
_NONE = ""
_FLOOR_IS = "The floor is a C loop of vfork and exec, or a warm interpreter that forks."


@dataclass(frozen=True)
class _Row:
    """A row of the table: which figure, and how a reader would call it."""

    workload: str
    figure: str
    text: str


_ROWS = (
    _Row("start", "last_birth_s", "start {size} commands, s"),
    _Row("python-start", "ready_s", "start {size} Python workers, s"),
    _Row("python-start", "pss_mib", "memory with them (PSS), MiB"),
    _Row("restart", "p50_ms", "SIGKILL of a command → its successor runs, ms"),
    _Row("restart", "p99_ms", "the same, slowest of a hundred"),
    _Row("restart", "max_ms", "the same, slowest"),
    _Row("python-restart", "p50_ms", "SIGKILL of a Python worker → its successor runs, ms"),
    _Row("python-restart", "max_ms", "the same, slowest"),
    _Row("idle", "cpu_ms", "{size} commands sleep for {seconds} s: CPU, ms"),
    _Row("idle", "wake_ups", "the same: wake-ups"),
    _Row("idle", "pss_mib", "memory beside {size} commands (PSS), MiB"),
    _Row("idle", "pss_kib_each", "memory for each further command, KiB"),
    _Row("flood", "mb_per_s", "output into rotated files, MB/s"),
    _Row("lines", "cpu_s", "{size} commands that write 1000 lines/s for {seconds} s: CPU, s"),
    _Row("status", "command_ms", "`status` of {size}, ms"),
    _Row("status", "raw_ms", "the same over the socket, ms"),
    _Row("status", "states_ms", "only the state of each over the socket, ms"),
    _Row("reload", "both_s", "{size} commands, one changed, one added → both run, s"),
    _Row("stop", "gone_s", "stop {size} commands, s"),
    _Row("stop", "left", "of their 50 double-forked grandchildren then still run"),
    _Row("storm", "cpu_percent", "{size} commands that exit at once, as shipped: CPU, %"),
    _Row("adoption", "p50_ms", "SIGKILL of the supervisor of {size} → it answers again, ms"),
    _Row("adoption", "max_ms", "the same, slowest"),
)


def section(record: Record) -> str:
    """Return the lines between the marks: the machine, the table, who is missing and why."""
    summaries = summarize(record.runs)
    present = {run.contender for run in record.runs}
    peers = sorted(present - {FLOOR, OURS})
    columns = [name for name in (OURS, FLOOR, *peers) if name in present]
    lines = [_machine(record), ""]
    head = ["", *columns, "ours / floor", "ours / best peer"]
    lines += [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    lines += [_line(row) for row in _rows(record, summaries, columns)]
    lines += ["", *_remarks(record.misses)]
    return "\n".join(lines).rstrip() + "\n"


def _machine(record: Record) -> str:
    facts = record.machine
    present = {name: text for name, text in record.versions.items() if name != FLOOR}
    versions = ", ".join(f"{name} {text}" for name, text in sorted(present.items()))
    return (
        f"Medians of {facts['date']}: {facts['cpus']} CPUs ({facts['cpu']}), "
        f"{facts['memory_gib']} GiB, Linux {facts['kernel']}, Python {facts['python']}, "
        f"{facts['file_system']}. {versions}. {_FLOOR_IS}"
    )


def _rows(
    record: Record, summaries: Sequence[Summary], columns: Sequence[str]
) -> Iterator[list[str]]:
    for row in _ROWS:
        sizes = dict.fromkeys(
            each.size for each in summaries
            if (each.workload, each.figure) == (row.workload, row.figure)
        )  # fmt: skip
        if row.workload == "idle" and sizes:
            sizes = {max(sizes): None}
        for size in sizes:
            by_name = {
                each.contender: each for each in summaries
                if (each.workload, each.figure, each.size) == (row.workload, row.figure, size)
            }  # fmt: skip
            yield _row(row, size, by_name, columns, record)


def _row(
    row: _Row, size: int, by_name: dict[str, Summary], columns: Sequence[str], record: Record
) -> list[str]:
    seconds = record.machine.get("seconds", {}).get(row.workload, 0)
    cells = [row.text.format(size=size, seconds=number(seconds))]
    for name in columns:
        each = by_name.get(name)
        cells.append(number(statistics.median(each.values)) if each else _NONE)
    ours = by_name.get(OURS)
    cells.append(_median(ours.ratios) if ours else _NONE)
    peer = f" ({ours.peer})" if ours and ours.peer_ratios else ""
    cells.append((_median(ours.peer_ratios) if ours else _NONE) + peer)
    return cells


def _median(ratios: Sequence[float]) -> str:
    return f"{number(statistics.median(ratios))}" if ratios else _NONE


def _remarks(misses: Iterable[Miss]) -> Iterator[str]:
    """Yield a line for each who is absent or has failed; who abstains shows in the table."""
    for miss in misses:
        if miss.kind != "abstains":
            yield f"- {miss.sentence}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(path: Path, record: Record) -> None:
    """Put the section between the marks of *path*.

    Raises:
        ValueError: The marks are not there, once each and in order.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        message = f"{path}: write {BEGIN} and {END} where the table is to stand"
        raise ValueError(message)
    path.write_text(f"{before}{BEGIN}\n{section(record)}{END}{after}")
