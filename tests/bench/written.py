"""What has been written into log files: how much, and whether it is the right thing."""

from collections.abc import Sequence
from pathlib import Path

from tests.bench.contender import Contender
from tests.support.wait import wait_until

LINE_BYTES = 100
_LINES_A_LOOK = 50_000
_WRITTEN_S = 120.0


def wait_written(
    contender: Contender, names: Sequence[str], lines: int, *, every_s: float = 0.002
) -> None:
    """Wait until the files of each of *names* have the size of so many lines.

    Raises:
        AssertionError: They have not, in time.
    """
    whole = lines * LINE_BYTES
    left = list(names)

    def are_written() -> bool:
        while left and _written(contender, left[-1]) >= whole:
            left.pop()
        return not left

    wait_until(
        are_written, what=f"{lines} lines each of {len(names)}", timeout_s=_WRITTEN_S,
        every_s=every_s,
        on_timeout=lambda: f"{left[-1]}: {_written(contender, left[-1])} bytes of {whole}",
    )  # fmt: skip


def _written(contender: Contender, name: str) -> int:
    size = 0
    for path in contender.log_files(name):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # renamed since it was listed: ask again
            return 0
    return size


def check_lines(files: list[Path], lines: int) -> None:
    """Check that *files* hold exactly the flood, no line of it cut by a rotation.

    Raises:
        AssertionError: A byte is missing, doubled or wrong; the message says where.
    """
    expected = _Flood(lines)
    for path in sorted(filter(_size, files), key=_first_line):
        assert _size(path) % LINE_BYTES == 0, f"a line is cut at the end of {path.name}"
        with path.open("rb") as file:
            left = _size(path) // LINE_BYTES
            while left:
                count = min(left, expected.room)
                assert count, f"{path.name} holds more than was written"
                wanted = expected.take(count)
                assert file.read(len(wanted)) == wanted, f"{path.name} differs before {expected.at}"
                left -= count
    assert expected.at == lines, f"{lines - expected.at} lines are missing at the end"


class _Flood:
    """What the child writes, piece by piece."""

    def __init__(self, lines: int) -> None:
        self.at = 0
        self._lines = lines

    @property
    def room(self) -> int:
        return min(_LINES_A_LOOK, self._lines - self.at)

    def take(self, count: int) -> bytes:
        """Return the next *count* lines."""
        numbers = range(self.at, self.at + count)
        self.at += count
        tail = f" {'x' * 86}\n"
        return "".join([f"{number:012d}{tail}" for number in numbers]).encode()


def _size(path: Path) -> int:
    return path.stat().st_size


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LINE_BYTES)
