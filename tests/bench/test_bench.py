"""The bench itself: every workload, small, with real processes."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench import native, plans
from tests.bench.bench import Bench
from tests.bench.contenders.floor import Floor
from tests.bench.contenders.ours import Ours
from tests.bench.ends import wait_ends
from tests.bench.native import Natives, build
from tests.bench.runs import Writer
from tests.bench.sweep import FOLDER_PREFIX, MARKER, sweep
from tests.bench.workloads import common
from tests.bench.written import check_lines
from tests.support import leftovers
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

_FIGURES = {
    "start": {"first_birth_s", "last_birth_s", "cpu_s"},
    "python-start": {"ready_s"},
    "restart": {"p50_ms", "p99_ms", "max_ms", "kills"},
    "python-restart": {"p50_ms", "p99_ms", "max_ms", "kills"},
    "idle": {"cpu_ms", "wake_ups"},
    "flood": {"mb_per_s", "cpu_s", "files"},
    "lines": {"cpu_s", "cpu_us_per_line"},
    "status": {"command_ms", "raw_ms", "states_ms"},
    "reload": {"both_s"},
    "stop": {"gone_s", "left"},
    "storm": {"cpu_percent", "births"},
    "adoption": {"p50_ms", "max_ms"},
}
#: Of the flood: more than one log file holds.
_SIZES = {"flood": 51}


@pytest.fixture(scope="module")
def natives(tmp_path_factory: pytest.TempPathFactory) -> Natives:
    """Return the child and the floor, compiled once."""
    return build(tmp_path_factory.mktemp("natives"))


@pytest.fixture
def folder() -> Path:
    """Return a folder whose sockets have short paths."""
    return leftovers.short_folder()


def test_every_workload_has_a_small_one_here() -> None:
    """A new workload is tested too."""
    assert set(_FIGURES) == set(plans.NAMES)


@pytest.mark.parametrize("name", list(_FIGURES))
def test_a_workload_gives_figures_of_ours_and_of_its_floor(
    name: str, natives: Natives, folder: Path
) -> None:
    """Everything promised in the tables is measured, and what is measured was done right."""
    bench = Bench([Floor, Ours], natives, folder, Writer(None), patience=0.03)
    small = plans.plan(name, sizes=(_SIZES.get(name, 3),), repetitions=1, seconds=0.1)

    bench.measure([small])

    assert not [miss.sentence for miss in bench.misses if miss.kind == "failed"]
    has_floor = natives.floor or name.startswith("python")
    assert [run.contender for run in bench.runs] == (["floor", "ours"] if has_floor else ["ours"])
    for run in bench.runs:
        assert set(run.figures) >= _FIGURES[name]
    if name == "flood":
        assert bench.runs[-1].figures["files"] == 2
    assert list(folder.iterdir()) == [], "a run's folder was left"


def test_one_call_writes_what_another_shows(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command measures into a record, which can be shown again; who is absent is named."""
    path = folder / "runs.json"
    words = ["--only", "storm", "--size", "storm=1", "--seconds", "0.01", "--repetitions", "1",
             "--folder", str(folder), "--json", str(path)]  # fmt: skip

    assert command.main([*words, "--peers", str(folder)]) in {0, 1}  # runit may be here, or not
    measured = capsys.readouterr().out
    assert command.main(["--from", str(path)]) == 0

    assert capsys.readouterr().out == measured
    assert "circus absent" in measured
    assert "gunicorn abstains" not in measured
    assert re.search(r"^storm +1 +cpu_percent", measured, re.MULTILINE)
    assert list(folder.iterdir()) == [path], "a run's folder was left"


@pytest.mark.parametrize("mode", ["", "exit", "daemonize", "flood 700", "pace 20 1000"])
def test_the_child_without_a_compiler_does_the_same(
    mode: str, natives: Natives, tmp_path: Path
) -> None:
    """The stand-in stamps and writes what the C program does."""
    said = [_said(each, mode.split(), tmp_path) for each in (natives, native.stand_in())]

    assert said[0] == said[1]


def _said(natives: Natives, mode: list[str], folder: Path) -> tuple[list[str], bytes]:
    """Return the names that were stamped, and the output."""
    births, output = folder / "births", folder / "output"
    births.write_bytes(b"")
    with output.open("wb") as file:
        child = subprocess.Popen([*natives.child, str(births), "b", *mode], stdout=file)
    try:
        writes = mode[:1] in (["flood"], ["pace"])
        wait_until(births.read_text, what="a birth")
        if writes:
            child.send_signal(signal.SIGUSR1)
            wanted = int(mode[1]) * 100
            wait_until(lambda: output.stat().st_size >= wanted, what="all lines")
        if mode == ["daemonize"]:
            wait_until(lambda: births.read_text().count("\n") > 1, what="a grandchild")
        if mode == ["exit"]:
            assert child.wait(10) == 1
    finally:
        child.kill()
        child.wait()
        stamps = [line.split() for line in births.read_text().splitlines()]
        leftovers.kill({int(pid) for name, pid, _ in stamps if name.endswith(".grand")})
    return sorted(stamp[0] for stamp in stamps), output.read_bytes()


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

    check_lines([tmp_path / "good"], 100)
    with pytest.raises(AssertionError, match=message):
        check_lines([tmp_path / "bad"], 100)


def test_the_flood_may_be_spread_over_files_in_any_order(tmp_path: Path) -> None:
    """Rotated files are put in order by what is in them, not by their names."""
    _flood(tmp_path / "a", lambda data: data[5000:])
    _flood(tmp_path / "b", lambda data: data[:5000])
    (tmp_path / "c").touch()

    check_lines(sorted(tmp_path.iterdir()), 100)


def test_a_command_that_does_not_start_is_a_failure(natives: Natives, folder: Path) -> None:
    """A contender that starts too few has no figures, and nothing of it is left."""
    if natives.floor is None:
        pytest.skip("needs a C compiler: apt install gcc")
    broken = Natives(("/no/such/program",), natives.floor)

    with Floor(broken, folder) as contender:
        contender.start(common.sleepers(contender, 2))
        with pytest.raises(AssertionError, match="2 births"):
            contender.births.wait_all(2, timeout_s=0.1)

    assert list(folder.iterdir()) == []


def test_who_does_not_end_is_told() -> None:
    """The wait for ends gives up with the number of those that live."""
    with subprocess.Popen(["sleep", "60"]) as process:
        with pytest.raises(AssertionError, match="1 of 1 live"):
            wait_ends([process.pid], lambda: None, timeout_s=0.05)
        took_s = wait_ends([process.pid], process.kill, timeout_s=10)

    assert 0 <= took_s < 10


def test_what_a_killed_run_has_left_is_cleared_away_by_the_next(folder: Path) -> None:
    """Processes and folders of a run that was itself killed by SIGKILL are found by its pid."""
    run = subprocess.Popen(["true"])
    run.wait()
    its_folder = folder / f"{FOLDER_PREFIX}{run.pid}-x"
    its_folder.mkdir()
    environment = os.environ | {MARKER: f"{run.pid}-x"}
    with subprocess.Popen(["sleep", "60"], env=environment, cwd=its_folder) as left:
        assert any(str(its_folder) in line for line in sweep(folder))
        assert left.wait(10) == -signal.SIGKILL

    assert list(folder.iterdir()) == []


def test_a_live_run_is_let_alone(folder: Path) -> None:
    """Two benches side by side do not clear each other away."""
    mine = folder / f"{FOLDER_PREFIX}{os.getpid()}-x"
    mine.mkdir()

    assert sweep(folder) == []
    assert mine.is_dir()
