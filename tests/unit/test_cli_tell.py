"""Errors of verbs, as they come to stderr."""

import pytest

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli import tell


def test_the_lines_of_a_traceback_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """As they are, but for what a terminal would obey; the first one is folded."""
    code = '    File "/srv/shop/model.py", line 4, in <module>'
    error = SupervisordLiteError(
        f"web: the new code cannot be loaded: {'long ' * 20}words\n{code}\n  \x1b[31mKeyError"
    )
    tell(error, verb="restart", subject="web")
    first, *folded, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("supervisord-lite: restart web: web: the new code cannot be loaded:")
    assert folded[-1].endswith("words")
    assert second == code
    assert third == r"  \x1b[31mKeyError"
