"""Reading rotated logs: the last lines across files, and every line that comes, once."""

import os
import random  # noqa: TID251  # the seed is printed
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli.logfiles import LogFile
from supervisord_lite.cli.printers import JsonLines, Lines, Raw, Terminal
from tests.support.control import log_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the current file stands."""
    return tmp_path / "web.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    """Return a reader of it."""
    reader = LogFile(str(path))
    yield reader
    reader.close()


def tail(path: Path, line_count: int) -> str:
    """Return the last lines."""
    reader = LogFile(str(path))
    try:
        return b"".join(reader.tail(line_count)).decode()
    finally:
        reader.close()


def append(path: Path, text: str) -> None:
    """Write more."""
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("line_count", [0, 1, 2, 3, 5, 6, 7, 100])
def test_the_last_lines_reach_back_through_rotated_files(path: Path, line_count: int) -> None:
    """-n 5 is five lines, wherever the file was cut; a higher number is newer."""
    log_file(path.parent, "web.log.9", ["1", "2"])
    log_file(path.parent, "web.log.10", ["3", "4"])
    log_file(path.parent, "web.log", ["5", "6"])
    for other in ("web.log.old", "web.log.1.gz", "web.logx.3", "xweb.log.3", "web.log."):
        log_file(path.parent, other, ["no"])

    expected = [str(number) for number in range(1, 7)][max(0, 6 - line_count) :]

    assert tail(path, line_count).split() == (expected if line_count else [])


def test_a_last_line_without_an_end_counts(path: Path) -> None:
    """A prompt or a crash in mid-line is shown."""
    path.write_text("a\nb\nhalf")

    assert tail(path, 1) == "half"
    assert tail(path, 2) == "b\nhalf"


def test_empty_lines_are_lines(path: Path) -> None:
    """Nothing is squeezed."""
    path.write_text("a\n\n\n")

    assert tail(path, 2) == "\n\n"
    assert tail(path, 3) == "a\n\n\n"


@pytest.mark.parametrize("length", [1, 65535, 65536, 65537, 200000])
def test_lines_of_any_length_are_found(path: Path, length: int) -> None:
    """Blocks of reading do not show."""
    path.write_text("first\n" + "x" * length + "\nlast\n")

    assert tail(path, 2) == "x" * length + "\nlast\n"
    assert len(tail(path, 3)) == length + 12


def test_a_log_that_does_not_exist_yet_is_empty(path: Path) -> None:
    """A worker that has written nothing is no error."""
    assert tail(path, 10) == ""
    log_file(path.parent, "web.log.1", ["old"])
    assert tail(path, 10) == "old\n"


def test_following_goes_on_where_the_last_lines_ended(path: Path, log: LogFile) -> None:
    """No line is missed or told twice between -n and -f."""
    path.write_text("a\nb\n")

    assert b"".join(log.tail(1)) == b"b\n"
    append(path, "c\n")
    assert b"".join(log.poll()) == b"c\n"
    assert b"".join(log.poll()) == b""


def test_following_goes_through_many_rotations_between_two_looks(path: Path, log: LogFile) -> None:
    """Files that came and went while nobody looked are read whole, in order."""
    log_file(path.parent, "web.log.3", ["old"])
    path.write_text("a\n")
    assert b"".join(log.tail(0)) == b""
    for number, text in ((4, "b\n"), (5, "c\nd\n"), (6, "e\n")):
        append(path, text)
        path.rename(path.with_name(f"web.log.{number}"))
    append(path, "f\n")

    assert b"".join(log.poll()) == b"b\nc\nd\ne\nf\n"
    append(path, "g\n")
    assert b"".join(log.poll()) == b"g\n"


def test_following_survives_the_pruning_of_old_files(path: Path, log: LogFile) -> None:
    """What is still there is told, even when the file that was open has been removed."""
    path.write_text("a\n")
    list(log.tail(10))
    append(path, "b\n")
    path.rename(path.with_name("web.log.1"))
    log_file(path.parent, "web.log.2", ["c"])
    path.with_name("web.log.1").unlink()
    path.write_text("d\n")

    assert b"".join(log.poll()) == b"b\nc\nd\n"


def test_following_survives_a_file_that_is_away_for_a_while(path: Path, log: LogFile) -> None:
    """Between rename and the next line there is no file; what is written last is not lost."""
    assert list(log.tail(10)) == []
    assert list(log.poll()) == []
    path.write_text("a\n")
    assert b"".join(log.poll()) == b"a\n"
    moved = path.with_name("moved-by-logrotate")
    path.rename(moved)
    append(moved, "b\n")
    assert b"".join(log.poll()) == b"b\n"
    append(moved, "c\n")
    path.write_text("d\n")
    assert b"".join(log.poll()) == b"c\nd\n"


def test_a_file_rotated_before_it_was_ever_seen_is_read(path: Path, log: LogFile) -> None:
    """A burst right after the start of a worker is told from its first line."""
    assert list(log.tail(10)) == []
    log_file(path.parent, "web.log.1", ["a"])
    path.write_text("b\n")

    assert b"".join(log.poll()) == b"a\nb\n"


def test_an_emptied_file_is_read_from_its_start_and_a_half_line_taken_back_is_not_doubled(
    path: Path, log: LogFile
) -> None:
    """copytruncate begins anew; a full disk only takes back half a line."""
    path.write_text("a\n")
    list(log.tail(10))
    append(path, "b\nhal")
    assert b"".join(log.poll()) == b"b\nhal"
    os.truncate(path, 4)
    assert b"".join(log.poll()) == b""
    append(path, "c\n")
    assert b"".join(log.poll()) == b"c\n"
    path.write_text("d\n")
    assert b"".join(log.poll()) == b"d\n"


def test_random_rotation_and_looking_loses_nothing(path: Path, log: LogFile) -> None:
    """Whatever the order of writing, rotating and looking, the lines come once and in order."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    rng = random.Random(seed)
    written, number, heard = 0, 0, b"".join(log.tail(10))
    for _ in range(3000):
        what = rng.random()
        if what < 0.5:
            append(path, f"{written}\n")
            written += 1
        elif what < 0.75 and path.exists():
            number += 1
            path.rename(path.with_name(f"web.log.{number}"))
        else:
            heard += b"".join(log.poll())
    append(path, f"{written}\n")
    heard += b"".join(log.poll())

    assert heard.decode().split() == [str(n) for n in range(written + 1)]


class Racing(LogFile):
    """A reader beside a writer that acts at the worst moment, once."""

    def __init__(self, path: Path, *, before: str) -> None:
        super().__init__(str(path))
        self._own_path = path
        self._before = before

    def rotate(self, moment: str) -> None:
        """Write a last line, rotate, and begin anew."""
        if moment == self._before:
            self._before = ""
            append(self._own_path, "last\n")
            self._own_path.rename(self._own_path.with_name("web.log.7"))
            append(self._own_path, "new\n")

    def _is_replaced(self) -> bool:
        self.rotate("stat")
        return super()._is_replaced()

    def _older_segments(self, current: tuple[int, int] | None) -> list[Any]:
        self.rotate("list")
        return super()._older_segments(current)


def test_a_line_written_between_the_last_look_and_the_rotation_is_not_lost(path: Path) -> None:
    """The writer may add to the old file after it was read to its end."""
    path.write_text("a\n")
    log = Racing(path, before="stat")
    assert b"".join(log.tail(10)) == b"a\n"
    assert b"".join(log.poll()) == b"last\nnew\n"
    log.close()


def test_a_rotation_while_the_files_are_listed_doubles_nothing(path: Path) -> None:
    """The file that is open may appear in the list under its new name."""
    log_file(path.parent, "web.log.6", ["old"])
    path.write_text("a\n")
    log = Racing(path, before="list")
    assert b"".join(log.tail(10)) == b"old\na\nlast\n"
    assert b"".join(log.poll()) == b"new\n"
    log.close()


def test_only_regular_files_are_opened(path: Path) -> None:
    """A fifo does not hang the command, a link does not show somebody else's file."""
    os.mkfifo(path)
    with pytest.raises(SupervisordLiteError, match="not a regular file"):
        tail(path, 1)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(SupervisordLiteError, match="a symbolic link"):
        tail(path, 1)


def test_bytes_leave_as_they_are_unless_a_terminal_reads() -> None:
    """In a pipe nothing is changed; a terminal obeys nothing."""
    data = b"\x1b[31mred\x07\tx\r\n\xff\xc3\xa9\n"
    raw, shown = BytesIO(), BytesIO()
    Raw(raw).write(data)
    terminal = Terminal(shown)
    for index in range(len(data)):
        terminal.write(data[index : index + 1])
    terminal.end()

    assert raw.getvalue() == data
    assert shown.getvalue() == b"\\x1b[31mred\\x07\tx\\x0d\n\\xff\xc3\xa9\n"


def test_lines_of_several_logs_are_prefixed_whole() -> None:
    """A half line waits for its end, so that two logs never share a line."""
    out = BytesIO()
    printer = Lines(out, "web | ", escape=True)
    printer.write(b"a\nha")
    printer.write(b"lf\x1b\n")
    printer.write(b"rest")
    assert out.getvalue() == b"web | a\nweb | half\\x1b\n"
    printer.end()
    assert out.getvalue().endswith(b"web | rest\n")


def test_json_lines_name_their_origin() -> None:
    """One object a line."""
    out = BytesIO()
    printer = JsonLines(out, "web", "stdout")
    printer.write(b"a\n\xff")
    printer.end()
    assert out.getvalue().splitlines() == [
        b'{"name": "web", "stream": "stdout", "line": "a"}',
        b'{"name": "web", "stream": "stdout", "line": "\\\\xff"}',
    ]
