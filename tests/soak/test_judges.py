"""Who judges a soak would notice: each kind of loss is made, and found."""

import json
from pathlib import Path

import pytest

from tests.soak import judge
from tests.soak.flat import slope
from tests.soak.fleet import Pool, make_fleet
from tests.soak.schedule import KINDS, schedule

POOL = Pool("w", "lines", 2)
LINES = [b"w-1 r1 %d ..\n" % number for number in range(5)]
SIZE_BYTES = sum(map(len, LINES))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Return a folder in which one run has written down that it said five lines."""
    (tmp_path / "said").mkdir()
    (tmp_path / "starts").mkdir()
    told = b"%20d %20d\n" % (5, SIZE_BYTES)
    (tmp_path / "said/w-1~r1").write_bytes(told * 2)
    return tmp_path


def judged(world: Path, lines: list[bytes], dropped_bytes: int = 0) -> tuple[int, int]:
    (world / "w-1.log").write_bytes(b"".join(lines))
    return judge.judge_log(world / "w-1.log", POOL, "w-1", world, dropped_bytes)


def test_all_lines_are_well(world: Path) -> None:
    """And so is one that is missing and counted."""
    assert judged(world, LINES) == (5, 0)
    assert judged(world, LINES[:2] + LINES[3:], len(LINES[2])) == (4, len(LINES[2]))


@pytest.mark.parametrize(
    ("lines", "dropped_bytes"),
    [
        (LINES[:4], 0),
        (LINES[1:], 0),
        (LINES[:2] + LINES[3:], 0),
        (LINES[:2] + LINES[3:], len(LINES[2]) + 1),
        ([*LINES, LINES[4]], 0),
        ([LINES[1], LINES[0], *LINES[2:]], 0),
        ([*LINES[:4], LINES[4][:-1]], 0),
        ([*LINES[:4], LINES[4][3:]], 0),
        ([*LINES, b"w-1 r2 0 ..\n"], 0),
        ([*LINES, b"w-2 r1 0 ..\n"], 0),
        ([*LINES, b"w-1 r1 5 ..\n"], 0),
    ],
    ids=["end", "beginning", "middle", "miscounted", "doubled", "disorder", "no newline", "cut",
         "of nobody", "of another", "never said"],
)  # fmt: skip
def test_what_is_wrong_with_lines_is_found(
    world: Path, lines: list[bytes], dropped_bytes: int
) -> None:
    """Lost, doubled, cut, out of order, or of somebody else."""
    with pytest.raises(AssertionError):
        judged(world, lines, dropped_bytes)


def test_a_run_that_is_killed_may_be_off_by_one_write(world: Path) -> None:
    """It was about to say the fifth line: that is there, or not."""
    four_bytes = SIZE_BYTES - len(LINES[4])
    told = b"%20d %20d\n%20d %20d\n" % (5, SIZE_BYTES, 4, four_bytes)
    (world / "said/w-1~r1").write_bytes(told)
    assert judged(world, LINES) == (5, 0)
    assert judged(world, LINES[:4]) == (4, 0)
    with pytest.raises(AssertionError, match="3 are there"):
        judged(world, LINES[:3])


@pytest.mark.parametrize("runs", [[(1, 1), (3, 2)], [(1, 1), (2, 1)], [(1, 2), (2, 1)]])
def test_what_is_wrong_with_events_is_found(tmp_path: Path, runs: list[tuple[int, int]]) -> None:
    """A number that is missing, a run that was started twice, or after a later one."""
    events = [
        {"id": f"life-{number}", "event": "worker.started", "name": "w", "run": run}
        for number, run in runs
    ]
    text = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in events)
    (tmp_path / "events.jsonl").write_text(text)
    with pytest.raises(AssertionError):
        judge.judge_journal(tmp_path)


def test_starts_that_a_breaker_forbids_are_found(world: Path) -> None:
    """One more than three for each closed breaker; one on trial before its time."""
    (world / "starts/trip").write_text("1.0\n2.0\n3.0\n")
    assert judge.judge_breaker(world, "trip", 0, 0) == 3
    with pytest.raises(AssertionError):
        judge.judge_breaker(world, "trip", 1, 0)
    (world / "starts/cool").write_text("1.0\n1.1\n1.2\n3.3\n5.4\n")
    assert judge.judge_cooldown(world, "cool", 0, 0) == 5
    (world / "starts/cool").write_text("1.0\n1.1\n1.2\n3.3\n5.4\n6.0\n")
    with pytest.raises(AssertionError):
        judge.judge_cooldown(world, "cool", 0, 0)


def test_a_line_that_climbs_is_seen_through_noise() -> None:
    """A sawtooth as of processes that are replaced has no slope, with a leak it has."""
    saw = [(float(second), second % 7 * 100_000.0) for second in range(300)]
    assert abs(slope(saw)) * 300 < 20_000
    leaky = [(at_s, size + at_s * 5000) for at_s, size in saw]
    assert slope(leaky) == pytest.approx(5000, rel=0.02)


def test_the_same_seed_is_the_same_list() -> None:
    """Another seed is another one; of one kind there is that kind alone."""
    fleet = make_fleet(60, None, None)
    one = schedule(1, 2, 30.0, fleet)
    assert one == schedule(1, 2, 30.0, fleet)
    assert one != schedule(2, 2, 30.0, fleet)
    kinds = {fault.kind for faults in schedule(3, 10, 60.0, fleet) for fault in faults}
    assert kinds == set(KINDS) - {"disk_full", "disk_frozen", "upgrade"}
    only = [fault.kind for faults in schedule(1, 2, 30.0, fleet, ["crowd"]) for fault in faults]
    assert set(only) == {"crowd"}


@pytest.mark.parametrize("count", [44, 60, 200, 500])
def test_a_fleet_has_as_many_workers_as_were_asked_for(count: int) -> None:
    """And some of every kind."""
    assert len(make_fleet(count, None, None).slots()) == count
