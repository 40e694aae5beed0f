"""Which part of a log is meant, where the marks beside it are old, damaged or of other files."""

import argparse
from datetime import datetime
from pathlib import Path

import pytest

from supervisord_lite.cli import main
from supervisord_lite.cli.logfiles import LogFile
from supervisord_lite.cli.logspan import NoSuchPartError, Wanted
from supervisord_lite.cli.since import moment_s
from supervisord_lite.scribe.marks import marks_path
from tests.support.control import log_file


def mark(path: Path, at_s: float, last: str, file: Path | str, offset: int, run: str) -> None:
    """Add one line as the scribe writes it."""
    where = file
    if isinstance(file, Path):
        found = file.stat()
        where = f"{found.st_dev:x}:{found.st_ino:x}"
    with Path(marks_path(str(path))).open("a") as marks:
        marks.write(f"{at_s:.3f} {last} {where} {offset} {run}\n")


def shown(path: Path, lines: int | None = None, **wanted: float) -> str:
    log = LogFile(str(path))
    try:
        return b"".join(log.tail_of(Wanted(**wanted), lines)).decode()  # type: ignore[arg-type]
    finally:
        log.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a log of three files and three runs, the second one silent."""
    first = log_file(tmp_path, "web.log.4", ["a1", "a2"])
    second = log_file(tmp_path, "web.log.5", ["a3", "c1"])
    path = log_file(tmp_path, "web.log", ["c2"])
    mark(path, 100, "-", "0", 0, "1.x")
    mark(path, 101, "-", first, 0, "1.x")
    mark(path, 105, "103.000", second, 0, "1.x")
    mark(path, 110, "106.000", second, 3, "2.x")
    mark(path, 120, "106.000", second, 3, "3.x")
    mark(path, 130, "121.000", path, 0, "3.x")
    return path


def test_a_run_is_what_stands_between_two_beginnings(path: Path) -> None:
    """Through rotation; a run that has said nothing is empty, and counts."""
    assert shown(path, run=0) == "c1\nc2\n"
    assert shown(path, run=-1) == ""
    assert shown(path, run=-2) == shown(path, run=1) == "a1\na2\na3\n"
    assert shown(path, run=3, lines=1) == "c2\n"
    assert shown(path, run=1, lines=2) == "a2\na3\n"


def test_what_a_forkserver_imports_is_no_run(path: Path) -> None:
    """It stands before the run that comes of it, and counts as none."""
    mark(path, 140, "131.000", path, 3, "0.f")
    with path.open("a") as log:
        log.write("imported\nd1\n")
    mark(path, 141, "140.000", path, 12, "4.x")
    assert shown(path, run=0) == shown(path, run=4) == "d1\n"
    assert shown(path, run=-1) == "c1\nc2\n"
    assert shown(path, run=-3) == "a1\na2\na3\n"


@pytest.mark.parametrize("run", [-3, 4, 9])
def test_a_run_that_nobody_knows_is_told(path: Path, run: int) -> None:
    """Nothing is shown in the place of what was asked for."""
    with pytest.raises(NoSuchPartError, match="nothing is known of") as error:
        shown(path, run=run)
    assert error.value.hint == "--run 0 to -2 are known"


def test_a_number_that_two_daemons_gave_is_the_latest_ones(path: Path) -> None:
    """Numbers begin anew with each daemon."""
    mark(path, 200, "131.000", path, 3, "1.y")
    with path.open("a") as log:
        log.write("d1\n")

    assert shown(path, run=1) == "d1\n"
    assert shown(path, run=-1) == "c1\nc2\n"


@pytest.mark.parametrize(
    ("since_s", "expected"),
    [
        (90, "a1 a2 a3 c1 c2"),
        (103, "a1 a2 a3 c1 c2"),
        (104, "a3 c1 c2"),
        (107, "c1 c2"),
        (122, "c2"),
        (130.5, "c2"),
    ],
)
def test_since_leaves_out_what_was_read_before(path: Path, since_s: float, expected: str) -> None:
    """It is known of pieces, so that a little more may be shown, and never less."""
    assert shown(path, since_s=since_s).split() == expected.split()


def test_since_of_a_quiet_log_is_nothing(path: Path) -> None:
    """Behind the last mark the file's own time decides."""
    changed_at_s = path.stat().st_mtime
    assert shown(path, since_s=changed_at_s - 60) == "c2\n"
    assert shown(path, since_s=changed_at_s + 60) == ""


def test_what_is_left_of_a_run_is_shown(path: Path) -> None:
    """Its first file is gone; its number is known, and where it ended."""
    path.with_name("web.log.4").unlink()

    assert shown(path, run=1) == "a3\n"
    assert shown(path, run=0) == "c1\nc2\n"


def test_an_inode_that_is_used_again_is_another_file(path: Path) -> None:
    """Marks of a file that is gone do not move the beginning of a run into a newer one."""
    lines = Path(marks_path(str(path))).read_text().splitlines(keepends=True)
    Path(marks_path(str(path))).unlink()
    mark(path, 50, "-", path, 0, "8.w")
    mark(path, 60, "59.000", path, 2, "9.w")
    with Path(marks_path(str(path))).open("a") as marks:
        marks.writelines(lines)

    assert shown(path, run=-2) == "a1\na2\na3\n"
    assert shown(path, run=9) == shown(path, run=8) == ""


def test_damaged_marks_are_left_out(path: Path) -> None:
    """Half a line, rubbish, and numbers out of all bounds."""
    marks = Path(marks_path(str(path)))
    junk = b"\xff\xfe\n110 - 0 0 cut\n1 2 3\n120.0 x 1:2 3 7.x\n99 - 1:2:3 0 7.x\n"
    marks.write_bytes(junk.replace(b" cut", b" 7.x cut") + marks.read_bytes() + b"200 - 0 0 7.")

    assert shown(path, run=0) == "c1\nc2\n"
    assert shown(path, run=-2) == "a1\na2\na3\n"


def test_without_marks_nothing_is_left_out(path: Path) -> None:
    """A log of an earlier version: of times nothing is known, and of runs less."""
    Path(marks_path(str(path))).unlink()

    assert shown(path, since_s=1.0).split() == ["a1", "a2", "a3", "c1", "c2"]
    with pytest.raises(NoSuchPartError) as error:
        shown(path, run=0)
    assert error.value.hint == "no run is known"
    path.unlink()
    for rotated in path.parent.glob("web.log.?"):
        rotated.unlink()
    assert shown(path, since_s=1.0) == ""


def test_what_comes_next_follows_what_was_wanted(path: Path) -> None:
    """`--since -f`: no line twice, none left out."""
    log = LogFile(str(path))
    assert b"".join(log.tail_of(Wanted(since_s=122), None)) == b"c2\n"
    assert b"".join(log.poll()) == b""
    path.rename(path.with_name("web.log.6"))
    log_file(path.parent, "web.log", ["c3"])
    assert b"".join(log.poll()) == b"c3\n"
    log.close()


NOW = datetime.fromisoformat("2026-11-21T14:00:00+00:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", "2026-11-21T13:50:00+00:00"),
        ("1h30m", "2026-11-21T12:30:00+00:00"),
        ("13:59:30Z", "2026-11-21T13:59:30+00:00"),
        ("14:01Z", "2026-11-20T14:01:00+00:00"),
        ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00+00:00"),
        ("2026-11-20 10:00+01:00", "2026-11-20T09:00:00+00:00"),
    ],
)
def test_a_moment_may_be_written_as_people_write_it(text: str, moment: str) -> None:
    """Back from now, the last time that the clock showed it, or in full."""
    assert moment_s(text, now=NOW) == datetime.fromisoformat(moment).timestamp()


def test_a_moment_without_an_offset_is_local() -> None:
    """As every clock on the wall."""
    assert moment_s("2026-11-20", now=NOW) == datetime(2026, 11, 20).timestamp()  # noqa: DTZ001
    local = NOW.astimezone()
    assert moment_s(local.strftime("%H:%M"), now=NOW) == NOW.timestamp()


@pytest.mark.parametrize("text", ["", "10", "soon", "25:00", "2026-13-01", "-5m", "99999-01-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """With examples."""
    with pytest.raises(argparse.ArgumentTypeError, match="is no time: 10m"):
        moment_s(text, now=NOW)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--run", "x"], '"x" is no run'),
        (["--since", "soon"], '"soon" is no time'),
        (["--run", "-1", "-f"], "has nothing to follow"),
    ],
)
def test_a_wrong_part_is_a_usage_error(
    words: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody is asked."""
    assert main(["logs", "web", *words]) == 2
    assert answer in capsys.readouterr().err
