"""Runs to lines of JSON, and to a table: median, spread, and the ratio to the floor."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TextIO

FLOOR = "floor"
#: Figures that say how much was done: a ratio would mean nothing.
_COUNTS = ("kills", "files")


@dataclass(frozen=True)
class Run:
    """One workload, done once by one contender."""

    workload: str
    size: int
    contender: str
    repetition: int
    figures: dict[str, float]
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """One figure of one contender over all repetitions.

    Attributes:
        ratios: To the floor's value of the same repetition; none for counts, or where that is 0.
    """

    workload: str
    size: int
    figure: str
    contender: str
    values: tuple[float, ...]
    ratios: tuple[float, ...]


def summarize(runs: Iterable[Run]) -> list[Summary]:
    """Return a summary for each figure, its contenders side by side, in the order of *runs*."""
    tree: dict[tuple[str, int], dict[str, dict[str, dict[int, float]]]] = {}
    for run in runs:
        figures = tree.setdefault((run.workload, run.size), {})
        for figure, value in run.figures.items():
            figures.setdefault(figure, {}).setdefault(run.contender, {})[run.repetition] = value
    summaries = []
    for (workload, size), figures in tree.items():
        for figure, contenders in figures.items():
            floor = contenders.get(FLOOR, {})
            for contender, values in contenders.items():
                ratios = tuple(v / floor[at] for at, v in values.items() if floor.get(at))
                if contender == FLOOR or figure in _COUNTS:
                    ratios = ()
                each = tuple(values.values())
                summaries.append(Summary(workload, size, figure, contender, each, ratios))
    return summaries


def table(summaries: Iterable[Summary]) -> str:
    """Return the table for people."""
    rows = [("workload", "size", "figure", "contender", "median", "min..max", "x floor", "")]
    before = ("", "", "")
    for each in summaries:
        head = (each.workload, str(each.size), each.figure)
        ratio, ratios = "", ""
        if each.ratios:
            ratio = _number(statistics.median(each.ratios))
            ratios = f"({_spread(each.ratios)})"
        value = _number(statistics.median(each.values))
        first = head if head != before else ("", "", "")
        rows.append((*first, each.contender, value, _spread(each.values), ratio, ratios))
        before = head
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{_number(min(values))}..{_number(max(values))}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


class Writer:
    """Lines of JSON, each an object with one key that says what it is; written as they come."""

    def __init__(self, file: TextIO | None) -> None:
        """Write into *file*, or nowhere."""
        self._file = file

    def write(self, kind: str, value: Run | Summary | dict[str, object]) -> None:
        """Write one line: machine, run, failure or summary."""
        if self._file is not None:
            data = value if isinstance(value, dict) else asdict(value)
            self._file.write(json.dumps({kind: data}) + "\n")
            self._file.flush()
