"""Runs to a table: median, spread, and the ratios to the floor and to the best peer."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.runs import Run, with_derived

FLOOR, OURS = "floor", "ours"
#: Figures that say how much was done: a ratio would mean nothing.
_COUNTS = ("kills", "files", "left", "births")
_MORE_IS_BETTER = ("mb_per_s",)

_Values = dict[str, dict[int, float]]  # of each contender, by repetition


@dataclass(frozen=True)
class Summary:
    """One figure of one contender over all repetitions.

    Attributes:
        ratios: To the floor's value of the same repetition; none for counts, or where that is 0.
        peer: Of ours: whose median is the best among the peers; else empty.
        peer_ratios: To that one's, likewise.
    """

    workload: str
    size: int
    figure: str
    contender: str
    values: tuple[float, ...]
    ratios: tuple[float, ...] = ()
    peer: str = ""
    peer_ratios: tuple[float, ...] = ()


def summarize(runs: Iterable[Run]) -> list[Summary]:
    """Return a summary for each figure, its contenders side by side, in the order of *runs*."""
    tree: dict[tuple[str, int], dict[str, _Values]] = {}
    for run in with_derived(runs):
        figures = tree.setdefault((run.workload, run.size), {})
        for figure, value in run.figures.items():
            figures.setdefault(figure, {}).setdefault(run.contender, {})[run.repetition] = value
    summaries = []
    for (workload, size), figures in tree.items():
        for figure, contenders in figures.items():
            for contender, values in contenders.items():
                each = tuple(values.values())
                ratios, peer, peer_ratios = _compared(figure, contender, contenders)
                summaries.append(
                    Summary(workload, size, figure, contender, each, ratios, peer, peer_ratios)
                )
    return summaries


def _compared(
    figure: str, contender: str, contenders: _Values
) -> tuple[tuple[float, ...], str, tuple[float, ...]]:
    """Return the ratios to the floor, and of ours the best peer with the ratios to that."""
    values = contenders[contender]
    if contender == FLOOR or figure in _COUNTS:
        return (), "", ()
    ratios = _ratios(values, contenders.get(FLOOR, {}))
    peer = _best_peer(figure, contenders) if contender == OURS else ""
    return ratios, peer, _ratios(values, contenders[peer]) if peer else ()


def _ratios(values: Mapping[int, float], others: Mapping[int, float]) -> tuple[float, ...]:
    return tuple(value / others[at] for at, value in values.items() if others.get(at))


def _best_peer(figure: str, contenders: _Values) -> str:
    medians = {
        name: statistics.median(values.values())
        for name, values in contenders.items()
        if name not in {FLOOR, OURS}
    }
    best = max if figure in _MORE_IS_BETTER else min
    return best(medians, key=medians.__getitem__) if medians else ""


def table(summaries: Iterable[Summary]) -> str:
    """Return the table for people at a terminal."""
    rows = [("workload", "size", "figure", "contender", "median", "min..max", "x floor", "x peer")]
    before = ("", "", "")
    for each in summaries:
        head = (each.workload, str(each.size), each.figure)
        first = head if head != before else ("", "", "")
        value = number(statistics.median(each.values))
        peer = f"{_ratio(each.peer_ratios)} {each.peer}" if each.peer_ratios else ""
        spread = _spread(each.values)
        rows.append((*first, each.contender, value, spread, _ratio(each.ratios), peer))
        before = head
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _ratio(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    return f"{number(statistics.median(ratios))} ({_spread(ratios)})"


def _spread(values: Sequence[float]) -> str:
    return f"{number(min(values))}..{number(max(values))}"


def number(value: float) -> str:
    """Return *value* with three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
