"""What was said, heard, started and told, judged when all has ended.

Every line that a run says is numbered, and the run itself has written down how many there were
(programs.py). In its log each must stand once, whole and in order; what is missing is what `status`
counts as dropped, to the byte.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.fleet import COOLDOWN_S, TRIPS, Pool
from tests.support.scribe import whole

_EVENT = re.compile(rb'"id":"[^"]*-(\d+)"')


@dataclass
class Log:
    """What stands in the log of one worker.

    Attributes:
        numbers: Of each run the numbers of its lines, in order.
        size_bytes: Of all lines, as they were said.
    """

    numbers: dict[str, list[int]] = field(default_factory=dict)
    size_bytes: int = 0


def _said(line: bytes, form: str) -> bytes:
    return json.loads(line)["line"].encode() if form == "json" else line


def read_log(path: Path, slot: str, form: str) -> Log:
    """Return what stands in a log.

    Raises:
        AssertionError: A line is not whole, or of somebody else.
    """
    log, data = Log(), whole(path)
    assert data.endswith(b"\n") or not data, f"{path} ends in the middle of a line: {data[-200:]!r}"
    for line in data.splitlines():
        said = _said(line, form)
        words = said.split(b" ")
        is_whole = len(words) == 4 and set(words[3]) <= {ord(".")} and words[2].isdigit()
        assert is_whole, f"{path}: {line!r}"
        assert words[0].decode() == slot, f"{path}: {line!r} is not of {slot}"
        log.numbers.setdefault(words[1].decode(), []).append(int(words[2]))
        log.size_bytes += len(said) + 1
    return log


@dataclass(frozen=True)
class Record:
    """What a run has written down: how much it has said at least, and at most."""

    run: str
    lines: tuple[int, int]
    size_bytes: tuple[int, int]


def read_records(world: Path, slot: str) -> Iterator[Record]:
    """Yield what the runs of a worker have written down."""
    for path in (world / "said").glob(f"{slot}~*"):
        words = list(map(int, path.read_bytes().split()))
        if len(words) == 4:  # else it was killed before it could say anything
            intended_lines, intended_bytes, lines, size_bytes = words
            run = path.name.partition("~")[2]
            yield Record(run, (lines, intended_lines), (size_bytes, intended_bytes))


def judge_log(
    path: Path, pool: Pool, slot: str, world: Path, dropped_bytes: int
) -> tuple[int, int]:
    """Return how many lines there were, and how many bytes are accounted for as dropped.

    Raises:
        AssertionError: Something is missing, doubled, out of order or cut.
    """
    log = read_log(path, slot, pool.form)
    records = list(read_records(world, slot))
    assert set(log.numbers) <= {each.run for each in records}, f"{path}: lines of nobody"
    least = sum(each.size_bytes[0] for each in records)
    most = sum(each.size_bytes[1] for each in records)
    for each in records:
        numbers = log.numbers.get(each.run, [])
        about = f"{path}, run {each.run}, which said {each.lines} lines"
        assert all(a < b for a, b in itertools.pairwise(numbers)), f"{about}: disorder"
        assert not numbers or numbers[-1] < each.lines[1], f"{about}: {numbers[-1]}"
        if not dropped_bytes:
            gap = next((n for n, number in enumerate(numbers) if number != n), None)
            assert gap is None, f"{about}: {gap} is missing"
            assert len(numbers) >= each.lines[0], f"{about}: {len(numbers)} are there"
    accounted = log.size_bytes + dropped_bytes
    assert least <= accounted <= most, (
        f"{path}: said {least} to {most} bytes, stored {log.size_bytes}, dropped {dropped_bytes}"
    )
    return sum(map(len, log.numbers.values())), dropped_bytes


def judge_journal(state: Path) -> int:
    """Return how many events there are: none is missing, none is there twice.

    Raises:
        AssertionError: The numbers have a gap, or a run was started twice.
    """
    lines = whole(state / "events.jsonl").splitlines()
    numbers = [int(found[1]) for line in lines if (found := _EVENT.search(line))]
    assert len(numbers) == len(lines), "each event has a number"
    gaps = [(a, b) for a, b in itertools.pairwise(numbers) if b != a + 1]
    assert not gaps, f"events are missing or doubled: {gaps[:5]}"
    latest: dict[str, int] = {}
    for line in lines:
        if b'"worker.started"' in line:
            told = json.loads(line)
            assert told["run"] > latest.get(told["name"], 0), f"started again: {line!r}"
            latest[told["name"]] = told["run"]
    return len(lines)


def starts(world: Path, slot: str) -> list[float]:
    """Return when the runs of a worker began."""
    path = world / "starts" / slot
    return list(map(float, path.read_text().split())) if path.exists() else []


def judge_breaker(world: Path, slot: str, resets: int, unsure: int) -> int:
    """Return how often one that always fails was started: three times for each closed breaker.

    Raises:
        AssertionError: It was more or fewer.
    """
    began = starts(world, slot)
    least, most = TRIPS * (1 + resets), TRIPS * (1 + resets + unsure)
    assert least <= len(began) <= most, f"{slot}: {len(began)} starts, not {least} to {most}"
    return len(began)


def judge_cooldown(world: Path, slot: str, resets: int, unsure: int) -> int:
    """Return how often one on trial was started: each time only when the breaker had cooled down.

    Raises:
        AssertionError: A start came too early.
    """
    began = starts(world, slot)
    early = [b - a for a, b in itertools.pairwise(began) if b - a < COOLDOWN_S - 0.05]
    # Two waits before the breaker opens; each reset allows three starts more, the first at once.
    most = (TRIPS - 1) + TRIPS * (resets + unsure)
    assert len(early) <= most, f"{slot}: {len(early)} early starts of {len(began)}: {early}"
    return len(began)
