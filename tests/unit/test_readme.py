"""What README says of the code is true."""

from pathlib import Path

from supervisord_lite.core.states import NEXT

README = Path(__file__).parents[2] / "README.md"


def the_table_of_states() -> str:
    """Return the block that README shows, printed from the table of legal moves."""
    width = max(len(state.__name__) for state in NEXT)
    lines = [
        f"{state.__name__.lower():{width}} → {', '.join(sorted(s.__name__.lower() for s in after))}"
        for state, after in NEXT.items()
    ]
    return "```text\n" + "\n".join(lines) + "\n```"


def test_the_states_in_the_readme_are_those_of_the_table() -> None:
    """The moves that README shows are the legal ones, all of them."""
    assert the_table_of_states() in README.read_text(), the_table_of_states()
