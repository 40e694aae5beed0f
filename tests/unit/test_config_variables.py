import time

import pytest

from supervisord_lite.config.source import Source
from supervisord_lite.config.variables import Failure, parse_environment, substitute

VARIABLES = {"A": "1", "EMPTY": "", "NESTED": "${A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain $A $(A) $", "plain $A $(A) $"),
        ("x${A}y${A}", "x1y1"),
        ("${NO:-2}", "2"),
        ("${NO:-}", ""),
        ("${EMPTY:-2}", "2"),
        ("[${EMPTY}]", "[]"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("${NESTED}", "${A}"),
        ("${NO:-a:b/c d}", "a:b/c d"),
    ],
)
def test_variables_are_replaced(text: str, result: str) -> None:
    """${NAME} is the variable, ${NAME:-x} falls back to x, $${ is a literal."""
    assert substitute(text, VARIABLES) == (result, [])


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("${NO}", Failure("${NO}", "NO")),
        ("${", Failure("${", "")),
        ("${1}", Failure("${", "")),
        ("${A", Failure("${", "")),
        ("${A%.x}", Failure("${", "")),
        ("x${NO:-${A}}", Failure("${NO:-${A}", "")),
        ("${A:-${NO:-y}}", Failure("${A:-${NO:-y}", "")),
    ],
)
def test_what_has_no_value_is_told(text: str, failure: Failure) -> None:
    """An unset variable is never empty, and half a reference is never taken as text."""
    assert substitute(text, VARIABLES)[1] == [failure]


def test_references_that_never_end_cost_no_more_than_their_length() -> None:
    """A long text of them is told as one failure, in the time of reading it once."""
    begin_s = time.process_time()
    text, failures = substitute("${A}" + "${NO:-" * 200_000, VARIABLES)
    assert (text[:7], failures) == ("1${NO:-", [Failure("${", "")])
    assert time.process_time() - begin_s < 5


def test_an_environment_file_is_read() -> None:
    """Comments, quotes, export and spaces mean what they mean to systemd and to a shell."""
    text = (
        "# comment\n; comment\n\nA=1\n B = no\nexport C=two words  \n"
        'D="q \\"x\\" \\n#"\nE=\'$HOME \\n\' \nF=\nG=a"b\nH=""\r\n'
    ).replace(" B = no\n", "")
    variables, problems = parse_environment(Source("x.env", text))
    assert problems == []
    assert variables == {
        "A": "1", "C": "two words", "D": 'q "x" \n#', "E": "$HOME \\n", "F": "",
        "G": 'a"b', "H": "",
    }  # fmt: skip


def test_an_error_in_an_environment_file_never_shows_its_line() -> None:
    """Such a file holds secrets: place and name are told, the value is not."""
    text = 'OK=1\nSECRET="s3cret\nB = s3cret\n1A=s3cret\n'
    _, problems = parse_environment(Source("x.env", text))
    assert [(p.line, p.column) for p in problems] == [(2, 8), (3, 1), (4, 1)]
    assert "s3cret" not in repr(problems)
