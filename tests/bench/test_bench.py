"""The bench itself: every workload, small, with real processes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench import workloads
from tests.bench.floor import Floor
from tests.bench.native import Natives, build
from tests.bench.report import Run, summarize

pytestmark = pytest.mark.bench

_FIGURES = {
    "start": {"first_birth_s", "last_birth_s", "cpu_s"},
    "restart": {"p50_ms", "p99_ms", "kills"},
    "logs": {"mb_per_s", "cpu_s", "files"},
    "idle": {"cpu_ms", "wake_ups"},
}


@pytest.fixture(scope="module")
def natives(tmp_path_factory: pytest.TempPathFactory) -> Natives:
    """The child and the floor, compiled once."""
    return build(tmp_path_factory.mktemp("natives"))


def _lines(path: Path) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", list(_FIGURES))
def test_a_workload_gives_figures_of_ours_and_of_its_floor(name: str, tmp_path: Path) -> None:
    """Everything promised in the tables is measured, and what is measured was done right."""
    size = {"logs": "110"}.get(name, "20")
    path = tmp_path / "runs.json"

    status = command.main(
        ["--only", name, "--size", f"{name}={size}", "--alone", "--repetitions", "1",
         "--idle-seconds", "1", "--json", str(path), "--folder", str(tmp_path)]
    )  # fmt: skip

    assert status == 0
    runs = [line["run"] for line in _lines(path) if "run" in line]
    assert [run["contender"] for run in runs] == ["floor", "ours"]
    for run in runs:
        figures = run["figures"]
        assert isinstance(figures, dict)
        assert set(figures) >= _FIGURES[name]
    assert {"machine", "summary"} <= {kind for line in _lines(path) for kind in line}
    assert list(tmp_path.iterdir()) == [path], "a run's folder was left"


def _flood(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = b"".join(b"%012d %s\n" % (number, b"x" * 86) for number in range(100))
    path.write_bytes(change(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[100:], "differs"),
        (lambda data: data[:-100], "missing"),
        (lambda data: data[:-50], "cut"),
        (lambda data: data[:200] + data[100:], "differs"),
        (lambda data: data + data[-100:], "more than was written"),
        (lambda data: data.replace(b"x", b"y", 1), "differs"),
    ],
    ids=["begin lost", "end lost", "line cut", "line doubled", "end doubled", "byte changed"],
)
def test_a_log_with_a_wrong_byte_has_no_figures(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    """The check of the flood sees lines that are lost, cut, doubled or changed."""
    _flood(tmp_path / "good", lambda data: data)
    _flood(tmp_path / "bad", change)

    workloads.check_lines([tmp_path / "good"], 100)
    with pytest.raises(AssertionError, match=message):
        workloads.check_lines([tmp_path / "bad"], 100)


def test_the_flood_may_be_spread_over_files_in_any_order(tmp_path: Path) -> None:
    """Rotated files are put in order by what is in them, not by their names."""
    _flood(tmp_path / "a", lambda data: data[5000:])
    _flood(tmp_path / "b", lambda data: data[:5000])
    (tmp_path / "c").touch()

    workloads.check_lines(sorted(tmp_path.iterdir()), 100)


def test_a_command_that_does_not_start_is_a_failure(natives: Natives, tmp_path: Path) -> None:
    """A contender that starts too few has no figures, and nothing of it is left."""
    broken = Natives(child=("/no/such/program",), floor=natives.floor, kind="C")

    with Floor(broken, tmp_path) as contender:
        contender.start(workloads.sleepers(contender, 2))
        with pytest.raises(AssertionError, match="2 births"):
            contender.births.wait_all(2, timeout_s=0.1)

    assert list(tmp_path.iterdir()) == []


def test_ratios_are_taken_inside_one_repetition() -> None:
    """A machine that slows down between two repetitions does not change the ratio."""
    runs = [
        Run("start", 1, contender, repetition, {"x_s": value * (repetition + 1)})
        for repetition in range(3)
        for contender, value in (("floor", 1.0), ("ours", 3.0))
    ]

    floor, ours = summarize(runs)

    assert (floor.contender, floor.ratios) == ("floor", ())
    assert ours.values == (3.0, 6.0, 9.0)
    assert ours.ratios == (3.0, 3.0, 3.0)
