"""Warnings: they stop nothing, stand at their place, and are silent about what is fine."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import judge

Doubts = Callable[..., tuple[Problem, ...]]
CHECKOUT = Path(__file__).parents[2]
SIZED = '[worker.b]\ncommand = ["x"]\nlog.stdout = "b.log"\nlog.backups = 3\n'
WORKER = '[worker.a]\ncommand = ["x"]\n'


@pytest.fixture
def doubts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doubts:
    """Return a function that gives the warnings of a text, loaded as workers.toml."""
    monkeypatch.chdir(tmp_path)

    def doubts_of(text: str, *, as_root: bool = False) -> tuple[Problem, ...]:
        Path("workers.toml").write_text(text)
        return judge("workers.toml", environ={}, as_root=as_root).warnings

    return doubts_of


def shell(script: str, scope: str = "leader") -> str:
    return f'[worker.a]\ncommand = ["/bin/sh", "-c", \'{script}\']\nstop_scope = "{scope}"\n'


@pytest.mark.parametrize("script", ["a | b", "a |& b", "a|b", "a & b", "a & wait", "a&"])
def test_a_shell_with_several_programs_is_doubtful(doubts: Doubts, script: str) -> None:
    """The stop signal reaches the shell, and the programs are killed with it."""
    (doubt,) = doubts(shell(script))
    assert (doubt.line, doubt.column) == (2, 11)
    assert 'stop_scope = "tree"' in doubt.hint
    assert doubts(shell(script, "tree")) == ()


@pytest.mark.parametrize("script", ["exec a", "a || b", "a && b", "a 2>&1", "a >| b", "a &> b"])
def test_a_shell_with_one_program_at_a_time_is_fine(doubts: Doubts, script: str) -> None:
    """Most uses of a shell are no reason for a warning."""
    assert doubts(shell(script)) == ()


def test_a_job_that_is_always_run_again_is_doubtful(doubts: Doubts) -> None:
    """`ready = "exit"` is for what ends."""
    text = f'{WORKER}ready = "exit"\nrestart = '
    (doubt,) = doubts(f'{text}"always"\n')
    assert (doubt.line, doubt.column) == (3, 9)
    assert doubts(f'{text}"on-failure"\n') == ()


def test_a_breaker_that_cannot_trip_is_doubtful(doubts: Doubts) -> None:
    """The waits between the failures may be longer than the window they must fall into."""
    (doubt,) = doubts(f'{WORKER}backoff.min = "5m"\nbackoff.jitter = false\n')
    assert doubt.line == 3
    assert "5 failures do not fit into 10m" in doubt.message
    (doubt,) = doubts(f'{WORKER}circuit_window = "1s"\n')
    assert (doubt.line, doubt.column) == (3, 18)
    # With jitter the waits may be half as long; without restarts there is no loop.
    assert doubts(f'{WORKER}backoff.min = "4m"\nbackoff.max = "4m"\n') == ()
    assert doubts(f'{WORKER}circuit_window = "1s"\nrestart = "never"\n') == ()
    assert doubts(f'{WORKER}circuit_window = "1s"\nmax_restarts = 1\n') == ()


def test_logs_where_everybody_may_write_are_doubtful(doubts: Doubts, tmp_path: Path) -> None:
    """Told once for a folder, however many workers log there."""
    public = tmp_path / "public"
    public.mkdir()
    public.chmod(0o1777)
    text = '[worker.a]\ncommand = "x"\nlog = "public/a.log"\n[worker.b]\ncommand = "x"\n'
    (doubt,) = doubts(text + 'log.stderr = "public/b.log"\n')
    assert (doubt.line, doubt.column) == (3, 7)
    assert f"everybody may write into {public}" in doubt.message
    public.chmod(0o755)
    assert doubts(text) == ()


ROOTS = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose the files are")


@ROOTS
@pytest.mark.parametrize("is_folder", [False, True])
def test_what_everybody_can_change_is_nothing_that_root_reads(
    doubts: Doubts, tmp_path: Path, is_folder: bool
) -> None:
    """The file or any folder above; a sticky one is root's; a user's daemon does as it likes."""
    text = f'[supervisor]\ninclude = "conf/y.toml"\n{WORKER}'
    folder = tmp_path / "conf"
    folder.mkdir()
    other = folder / "y.toml"
    other.touch()
    assert doubts(text, as_root=True) == ()
    opened = folder if is_folder else other
    opened.chmod(0o777)
    with pytest.raises(ConfigurationError) as caught:
        doubts(text, as_root=True)
    (problem,) = caught.value.problems
    way = f", by way of {folder}," if is_folder else ""
    assert problem.message == f"everybody{way} can change this file, and so what root runs"
    place = folder if is_folder else "conf/y.toml"
    assert (problem.line, problem.column, problem.hint) == (1, 1, f"chmod o-w {place}")
    assert doubts(text) == ()
    opened.chmod(0o1777)
    if is_folder:
        assert doubts(text, as_root=True) == ()


@ROOTS
def test_what_one_user_or_group_can_change_is_doubtful_for_root(
    doubts: Doubts, tmp_path: Path
) -> None:
    """Perhaps it is meant: told once, by the nearest way; behind a link too."""
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "y.toml").touch()
    (tmp_path / "y.toml").symlink_to(folder / "y.toml")
    text = f'[supervisor]\ninclude = "y.toml"\n{WORKER}'
    for path, owner, mode, who, hint in (
        (folder, (7, 0), 0o755, f"uid 7, by way of {folder},", f"chown root {folder}"),
        (folder, (0, 7), 0o775, f"group 7, by way of {folder},", f"chmod g-w {folder}"),
        (folder / "y.toml", (7, 7), 0o664, "uid 7", "chown root y.toml"),
    ):
        os.chown(path, *owner)
        path.chmod(mode)
        (doubt,) = doubts(text, as_root=True)
        assert doubt.message == f"{who} can change this file, and so what root runs"
        assert doubt.hint == hint


@pytest.mark.parametrize("text", [WORKER, shell("while :; do echo tick; sleep 1; done")])
def test_an_ordinary_file_has_no_warnings(doubts: Doubts, text: str) -> None:
    """Who writes what the documentation shows reads no warnings."""
    assert doubts(text) == ()


def test_the_example_has_no_warnings() -> None:
    """The file that is shipped is an example of a good one."""
    path = str(CHECKOUT / "config/demo.toml")
    assert judge(path, environ={}, as_root=False).warnings == ()


def test_warnings_stand_beside_errors(doubts: Doubts) -> None:
    """Who mends the errors mends what is doubtful in the same round."""
    with pytest.raises(ConfigurationError) as caught:
        doubts('[worker.a]\ncommand = ["sh", "-c", "a | b"]\nnise = 3\n')
    assert [problem.line for problem in caught.value.problems] == [3]
    assert [problem.line for problem in caught.value.warnings] == [2]
    assert str(caught.value).endswith("\n1 error, 1 warning in 1 file.")


def test_keys_of_log_files_that_there_are_none_of_are_doubtful(doubts: Doubts) -> None:
    """With the place of the first; what a worker inherits is meant for others."""
    (doubt,) = doubts(f'{WORKER}log.stdout = "null"\nlog.max_size = "5M"\nlog.format = "json"\n')
    assert (doubt.line, doubt.column) == (4, 16)
    assert doubt.message == (
        'log.max_size, log.format change nothing: log.stdout is "null", '
        "and no output is kept in a file"
    )
    (doubt,) = doubts(f'[defaults]\nlog.stdout = "inherit"\n{WORKER}log.max_age = "1d"\n')
    assert (doubt.line, "others look after it" in doubt.hint) == (5, True)


@pytest.mark.parametrize(
    "text",
    [
        f'[defaults]\nlog.max_size = "5M"\n{WORKER}log.stdout = "null"\n',
        f'{WORKER}log.stdout = "null"\nlog.stderr = "a.log"\nlog.max_size = "5M"\n',
        f'{WORKER}log.max_size = "5M"\n',
        f'{WORKER}extends = "b"\nlog.stdout = "null"\n{SIZED}',
    ],
)
def test_keys_of_log_files_that_somebody_may_have_are_fine(doubts: Doubts, text: str) -> None:
    """Another stream goes to a file, or another worker's does, or one on another machine."""
    assert doubts(text) == ()


@pytest.mark.parametrize("table", ["supervisor", "worker.a"])
def test_root_takes_no_variables_that_everybody_can_change(
    doubts: Doubts, tmp_path: Path, table: str
) -> None:
    """LD_PRELOAD is one, and so is what stands for a command; those of one user may be meant."""
    (tmp_path / "env").write_text("A=1\n")
    text = f'[{table}]\nenvironment_file = "env"\n'
    text += 'command = ["x"]\n' if table == "worker.a" else WORKER
    (tmp_path / "env").chmod(0o646)
    with pytest.raises(ConfigurationError) as caught:
        doubts(text, as_root=True)
    (problem,) = caught.value.problems
    assert problem.message == (
        f"everybody can change {tmp_path}/env, and so what root's programs are given"
    )
    assert (problem.line, problem.hint) == (2, f"chmod o-w {tmp_path}/env")
    (tmp_path / "env").chmod(0o664)
    assert doubts(text, as_root=True) == ()
