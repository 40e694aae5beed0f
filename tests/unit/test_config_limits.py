"""What the system could not take, or what would take too long, is refused when the file is read."""

import grp
import os
import pwd
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


LIMIT = 131_071
TOO_LARGE = {
    "argument": ("command = ['echo', 'x', '{big}']", LIMIT, (2, 25), "command, item 3: 131,072"),
    "bytes, not characters": ("command = ['echo', '{big}é']", LIMIT - 2, (2, 20), "131,072 bytes"),
    "instance": ("command = ['echo', '{big}%i']", LIMIT - 4, (2, 20), "131,072 bytes"),
    "word": ("command = 'echo {big}'", LIMIT, (2, 11), "command: 131,072 bytes"),
    "program": ("command = ['{big}']", 4095, (2, 12), "program is longer than 4095 bytes"),
    "directory": ("command = 'x'\ndirectory = '/{big}'", 4094, (3, 13), "longer than 4095 bytes"),
    "variable": (
        "command = 'x'\nenvironment.B = '{big}'", LIMIT - 2, (3, 17), "environment.B: 131,072"),
    "many": (
        "command = ['x', '{big}', '{big}']", 81_900, (2, 11), "take 161 KiB"),
    "as JSON": (f"command = ['x', '{{big}}', '{'é' * 9000}']", 109_800, (2, 11), "160 KiB"),
    "twice, of a fork": (
        "python = 'a:b'\nenvironment.B = '{big}'", 81_880, (1, 9), "take 161 KiB"),
    "all together": (
        "command = ['x', '{big}']\nenvironment.B = '{big}'", 81_900, (2, 11), "take 161 KiB"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "size", "place", "message"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_cannot_be_passed_on_is_refused(
    problems: Problems, text: str, size: int, place: tuple[int, int], message: str
) -> None:
    """A start that no retry could heal is an error of the file; a little less is fine."""
    whole = "[worker.a]\n" + text
    (problem,) = problems(whole.replace("{big}", "x" * (size + 1)))
    assert (problem.line, problem.column) == place
    assert message in problem.message
    assert problems(whole.replace("{big}", "x" * (size - 100))) == ()


def test_a_variable_out_of_a_file_is_refused_too(problems: Problems, tmp_path: Path) -> None:
    """The place is where the file is named; what stands in it is not shown."""
    (tmp_path / "x.env").write_text(f"TOKEN={'s' * 150_000}\n")
    (problem,) = problems(WORKER + 'environment_file = "x.env"')
    assert (problem.line, "environment.TOKEN: 150,006" in problem.message) == (3, True)
    assert "sss" not in str(problem)


def test_shared_values_are_refused_once(problems: Problems) -> None:
    """What [defaults] hands to many workers is one error, at its place."""
    workers = "".join(f'[worker.w{index}]\ncommand = "x"\n' for index in range(9))
    (problem,) = problems(f"[defaults]\nenvironment.BIG = '{'x' * 150_000}'\n{workers}")
    assert problem.line == 2


SOCKETS = {
    "named": ("[control]\npath = '/{long}'", 106, (2, 8), "/xxx"),
    "named, bytes": ("[control]\npath = '/{long}é'", 104, (2, 8), "has 108 bytes"),
    "by runtime_dir": (
        "[supervisor]\nruntime_dir = '/{long}'", 85, (2, 15), "/control/control.sock, has 108"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "size", "place", "message"), SOCKETS.values(), ids=SOCKETS)
def test_a_socket_with_too_long_a_path_is_refused(
    problems: Problems, text: str, size: int, place: tuple[int, int], message: str
) -> None:
    """The kernel takes 107 bytes: more is an error where the path comes from."""
    (problem,) = problems(text.replace("{long}", "x" * (size + 1)))
    assert (problem.line, problem.column) == place
    assert message in problem.message
    assert "may have 107 bytes" in problem.message
    assert problems(text.replace("{long}", "x" * size)) == ()


def test_a_runtime_folder_of_systemd_may_be_too_long_too(problems: Problems) -> None:
    """Where the file says nothing the error is the file's, with the key that helps."""
    (problem,) = problems(WORKER, RUNTIME_DIRECTORY="/" + "x" * 100)
    assert (problem.file, problem.line) == ("workers.toml", 0)
    assert "path of [control]" in problem.hint


def test_the_sum_of_all_pools_has_a_limit(problems: Problems) -> None:
    """20,000 processes are fine; the pool that brings one more is told, and no other."""
    pools = "".join(f'[worker.w{i}]\ncommand = "x"\npool_size = 1000\n' for i in range(20))
    off = '[worker.off]\ncommand = "x"\npool_size = 1000\nenabled = false\n'
    assert problems(off + pools) == ()
    (problem,) = problems(off + pools + pools.replace(".w", ".v"))
    assert (problem.line, problem.column) == (67, 13)
    assert problem.message == "with v0 there are more than 20,000 processes in all"
    (problem,) = problems(pools + WORKER)
    assert (problem.line, problem.column) == (61, 9)


def test_user_and_group_are_told_together(problems: Problems) -> None:
    """All errors at once: who mends the user does not meet the group then."""
    text = WORKER + 'user = "nosuchuser"\ngroup = "nosuchgroup"\n'
    first, second = problems(text)
    assert (first.line, first.message) == (3, "user: there is no user nosuchuser")
    assert (second.line, second.message) == (4, "group: there is no group nosuchgroup")


def test_without_root_user_and_group_are_told_together(problems: Problems) -> None:
    """Another user's worker in another group takes root twice."""
    uid = next(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != os.geteuid())
    gid = next(entry.gr_gid for entry in grp.getgrall() if entry.gr_gid != os.getegid())
    first, second = problems(f"{WORKER}user = {uid}\ngroup = {gid}\n", as_root=False)
    assert "only root can run a worker as" in first.message
    assert f"only root can run a worker with group {gid}" in second.message
