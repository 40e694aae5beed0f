"""What the system could not take, or what would take too long, is refused when the file is read."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import load

Problems = Callable[..., tuple[Problem, ...]]

WORKER = '[worker.a]\ncommand = ["x"]\n'


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Problems:
    """Return a function that gives the problems of a text, loaded as workers.toml; perhaps none."""
    monkeypatch.chdir(tmp_path)

    def problems_of(text: str, *, as_root: bool = True, **environ: str) -> tuple[Problem, ...]:
        Path("workers.toml").write_text(text)
        try:
            load("workers.toml", environ=environ, as_root=as_root)
        except ConfigurationError as error:
            return error.problems
        return ()

    return problems_of


@pytest.fixture
def alarm() -> Iterator[None]:
    """Fail a test that would wait for ever."""

    def fail(*_: object) -> None:
        pytest.fail("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_irregular(path: Path, kind: str) -> None:
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a directory":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("kind", ["a FIFO", "a directory", "a device", "a socket"])
def test_what_is_no_file_is_refused_at_once(problems: Problems, tmp_path: Path, kind: str) -> None:
    """A FIFO with nobody behind it, a device that never ends: named by kind, wherever named."""
    path = tmp_path / "x"
    make_irregular(path, kind)
    with pytest.raises(ConfigurationError) as caught:
        load(str(path), environ={}, as_root=True)
    (problem,) = caught.value.problems
    assert (problem.file, problem.message) == (str(path), f"is {kind}, not a file")
    for before, key in (
        ("[supervisor]\n", "include"),
        ("[supervisor]\n", "environment_file"),
        (WORKER, "environment_file"),
    ):
        (problem,) = problems(f'{before}{key} = "x"\n')
        assert problem.line == before.count("\n") + 1
        assert problem.message.endswith(f"x: is {kind}, not a file")


def test_standard_input_is_no_configuration() -> None:
    """`-c -` says why: a reload would find nothing there."""
    with pytest.raises(ConfigurationError, match="read again at each reload"):
        load("-", environ={}, as_root=True)
