"""The table of faults names tests that exist, and each test of a row stands in its row."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "faults"
ROWS = [*range(1, 54), 79, 80]


def rows() -> dict[int, tuple[str, str]]:
    """Return of each row the cells that name tests and tell the result."""
    found = {}
    for line in (FOLDER / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0].isdigit():
            assert int(cells[0]) not in found, line
            found[int(cells[0])] = cells[2], cells[3]
    return found


def test_each_row_has_a_result_and_a_test_or_a_reason() -> None:
    """What is not tested says when it will be."""
    table = rows()

    assert list(table) == ROWS
    for number, (tests, result) in table.items():
        assert "::test_" in tests or result == "with the work layer", number
        assert result.startswith(("holds", "**in part**", "no such thing", "with the")), number


def test_every_test_that_is_named_exists() -> None:
    """A test that is renamed takes its row along."""
    for number, (tests, _) in rows().items():
        for name in re.findall(r"`([^`]+)`", tests):
            path, _, test = name.partition("::")
            file = FOLDER.parents[1] / path if path.startswith("tests/") else FOLDER / path
            assert f"def {test}(" in file.read_text(), (number, name)


def test_every_test_of_a_row_stands_in_its_row() -> None:
    """And nowhere else is one that is of no row."""
    table = rows()
    for file in FOLDER.glob("test_*.py"):
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE):
            number = re.match(r"test_row_(\d\d)_", name)
            assert number, name
            assert f"`{file.name}::{name}`" in table[int(number[1])][0], name
