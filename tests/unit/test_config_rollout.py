"""How many may be away, and how many too many: defaults, and what does not go together."""

from pathlib import Path

import pytest

from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.load import load

SOCKET = 'sockets.http = "127.0.0.1:8000"\n'


def rollout(tmp_path: Path, lines: str, head: str = "") -> tuple[int, int]:
    path = tmp_path / "x.toml"
    path.write_text(f"{head}[worker.a]\ncommand = ['x']\n{lines}")
    (spec,) = load(str(path), environ={}, as_root=True).specs
    return spec.max_unavailable, spec.max_surge


@pytest.mark.parametrize(
    ("lines", "head", "expected"),
    [
        ("", "", (1, 0)),
        (SOCKET, "", (0, 1)),
        (SOCKET + "max_unavailable = 2\n", "", (2, 1)),
        (SOCKET + "singleton = true\n", "", (1, 0)),
        ('sockets.probe = "private"\n', "", (1, 0)),
        ('sockets.probe.listen = "private"\n', "", (1, 0)),
        (SOCKET + 'sockets.probe = "private"\n', "", (0, 1)),
        ("max_surge = 2\nmax_unavailable = 0\n", "", (0, 2)),
        ("singleton = true\n", "[defaults]\nmax_surge = 1\nmax_unavailable = 0\n", (1, 0)),
    ],
)
def test_what_is_not_said_depends_on_sockets(
    tmp_path: Path, lines: str, head: str, expected: tuple[int, int]
) -> None:
    """Behind a socket of the daemon there is one more first, and nobody is away."""
    assert rollout(tmp_path, lines, head) == expected


@pytest.mark.parametrize(
    ("lines", "line", "message", "hint"),
    [
        ("max_unavailable = 0\n", 3, "both 0: nothing could ever be restarted", "max_surge = 1"),
        (SOCKET + "max_surge = 0\n", 4, "both 0", "max_unavailable = 1"),
        ("singleton = true\nmax_surge = 1\n", 4, "it is a singleton", "take max_surge out"),
        ("max_surge = -1\n", 3, "from 0 to 1024", ""),
    ],
)
def test_what_cannot_be_is_told(
    tmp_path: Path, lines: str, line: int, message: str, hint: str
) -> None:
    """Where it stands, and the way out."""
    with pytest.raises(ConfigurationError) as caught:
        rollout(tmp_path, lines)
    (problem,) = caught.value.problems
    assert problem.line == line
    assert message in problem.message
    assert hint in problem.hint
