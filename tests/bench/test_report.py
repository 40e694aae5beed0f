"""The arithmetic of the report, and the table that it writes."""

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench import readme
from tests.bench.report import summarize
from tests.bench.runs import Miss, Record, Run, Writer, read, with_derived

_MACHINE = {
    "date": "2026-01-02", "cpu": "Abacus", "cpus": 2, "memory_gib": 4, "kernel": "6.1",
    "python": "3.11.2", "natives": "C", "file_system": "ext4", "load": 0.1, "root": True,
    "seconds": {"idle": 20.0, "lines": 5.0},
}  # fmt: skip


def _runs(figure: str, **of: float) -> list[Run]:
    """Return three repetitions, in which the machine gets slower and slower."""
    return [
        Run("start", 100, contender, repetition, {figure: value * (repetition + 1)})
        for repetition in range(3)
        for contender, value in of.items()
    ]


def test_ratios_are_taken_inside_one_repetition() -> None:
    """A machine that slows down between two repetitions does not change the ratio."""
    floor, ours = summarize(_runs("x_s", floor=1.0, ours=3.0))

    assert (floor.contender, floor.ratios) == ("floor", ())
    assert ours.values == (3.0, 6.0, 9.0)
    assert ours.ratios == (3.0, 3.0, 3.0)
    assert (ours.peer, ours.peer_ratios) == ("", ())


def test_ours_is_compared_with_the_best_peer() -> None:
    """Less is better, but for what is done in a second."""
    of_time = summarize(_runs("x_s", floor=1.0, ours=3.0, slow=12.0, fast=6.0))[1]
    of_rate = summarize(_runs("mb_per_s", floor=9.0, ours=3.0, slow=6.0, fast=12.0))[1]

    assert (of_time.peer, of_time.peer_ratios) == ("fast", (0.5, 0.5, 0.5))
    assert (of_rate.peer, of_rate.peer_ratios) == ("fast", (0.25, 0.25, 0.25))


def test_a_peer_that_was_asked_less_often_is_compared_where_it_was() -> None:
    """Ratios come from the repetitions that both have."""
    runs = [run for run in _runs("x_s", ours=3.0, peer=6.0) if run.repetition != 1 or
            run.contender == "ours"]  # fmt: skip

    ours = summarize(runs)[0]

    assert len(ours.values) == 3
    assert ours.peer_ratios == (0.5, 0.5)


def test_counts_and_zeros_have_no_ratio() -> None:
    """How much was done is no cost, and nothing is a multiple of nothing."""
    assert summarize(_runs("kills", floor=1.0, ours=3.0))[1].ratios == ()
    assert summarize(_runs("cpu_ms", floor=0.0, ours=3.0))[1].ratios == ()


def test_what_a_further_command_costs_is_a_difference() -> None:
    """Memory beside many less that beside few, of the same repetition, for each one more."""
    runs = [
        Run("idle", size, "ours", repetition, {"pss_mib": 10.0 * (repetition + 1) + size / 100})
        for repetition in range(2)
        for size in (100, 500)
    ]

    derived = with_derived(runs)

    assert [run.figures.get("pss_kib_each") for run in derived] == pytest.approx(
        [None, 10.24, None, 10.24]
    )


def _written(path: Path) -> Path:
    with path.open("w") as file:
        writer = Writer(file)
        writer.write("machine", _MACHINE)
        writer.write("versions", {"floor": "C", "ours": "1.2.3", "runit": "2.1"})
        for run in _runs("last_birth_s", floor=0.05, ours=0.125, runit=0.25):
            writer.write("run", run)
        for size, figures in ((100, {"pss_mib": 20.0}), (500, {"pss_mib": 24.0, "cpu_ms": 0.0})):
            writer.write("run", Run("idle", size, "ours", 0, figures))
        writer.write("miss", Miss("absent", "s6", "", 0, "apt-get install s6"))
        writer.write("miss", Miss("failed", "runit", "idle", 500, "a command\nwas started again"))
        writer.write("miss", Miss("abstains", "runit", "adoption", 0, "it cannot"))
    return path


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Nothing is lost between a run and its table."""
    record = read(_written(tmp_path / "runs.json"))

    assert record.machine == _MACHINE
    assert record.versions["runit"] == "2.1"
    assert len(record.runs) == 11
    assert [miss.kind for miss in record.misses] == ["absent", "failed", "abstains"]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """A line that nobody writes is no record."""
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"walk": {}}))

    with pytest.raises(ValueError, match="what is a 'walk'"):
        read(path)


def test_the_table_stands_between_its_marks(tmp_path: Path) -> None:
    """The command writes it from a record, again and again, and changes nothing else."""
    path, record = tmp_path / "README.md", _written(tmp_path / "runs.json")
    path.write_text("# A\n\n<!-- performance -->\nold\n<!-- /performance -->\n\n## B\n")

    for _ in range(2):
        assert command.main(["--from", str(record), "--readme", str(path)]) == 0

    assert path.read_text() == (
        "# A\n\n<!-- performance -->\n"
        "Medians of 2026-01-02: 2 CPUs (Abacus), 4 GiB, Linux 6.1, Python 3.11.2, ext4. "
        "ours 1.2.3, runit 2.1. "
        "The floor is a C loop of vfork and exec, or a warm interpreter that forks.\n\n"
        "|  | ours | floor | runit | ours / floor | ours / best peer |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| start 100 commands, s | 0.25 | 0.1 | 0.5 | 2.5 | 0.5 (runit) |\n"
        "| 500 commands sleep for 20 s: CPU, ms | 0 |  |  |  |  |\n"
        "| memory beside 500 commands (PSS), MiB | 24 |  |  |  |  |\n"
        "| memory for each further command, KiB | 10.2 |  |  |  |  |\n"
        "\n- s6 absent: apt-get install s6\n- runit failed (idle 500): a command\n"
        "<!-- /performance -->\n\n## B\n"
    )


@pytest.mark.parametrize(
    "text",
    ["", "<!-- performance -->", "<!-- /performance --><!-- performance -->",
     2 * "<!-- performance --><!-- /performance -->"],
)  # fmt: skip
def test_a_readme_without_marks_is_not_touched(text: str, tmp_path: Path) -> None:
    """Nobody's text is overwritten by guess."""
    path = tmp_path / "README.md"
    path.write_text(text)

    with pytest.raises(ValueError, match="where the table is to stand"):
        readme.write(path, Record(_MACHINE, {}, [], []))

    assert path.read_text() == text
