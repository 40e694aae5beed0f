"""A file that is written slowly in its place is read when it is whole, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.load import Judged
from supervisord_lite.config.settled import judge_settled

HALF = '[worker.a]\ncommand = ["a"]\n'
WHOLE = f'{HALF}[worker.b]\ncommand = ["b"]\n'
LONG_AGO = (1_000_000_000, 1_000_000_000)
#: A disk whose clock is ahead of ours: what is on it always looks young.
AHEAD = (4_000_000_000, 4_000_000_000)


class Waits:
    """What happens while it waits: one step each time, then nothing."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self.count = 0

    def __call__(self, seconds: float) -> None:
        assert 0.0 < seconds < 1.0
        self.count += 1
        if self.steps:
            self.steps.pop(0)()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(HALF)
    return path


def settled(
    file: Path, wait: Callable[[float], None], clock_now_s: Callable[[], float] = monotonic
) -> Judged:
    return judge_settled(str(file), environ={}, as_root=False, wait=wait, clock_now_s=clock_now_s)


def pools(
    file: Path, wait: Callable[[float], None], clock_now_s: Callable[[], float] = monotonic
) -> list[str]:
    return [spec.pool for spec in settled(file, wait, clock_now_s).configuration.specs]


def test_a_file_that_rests_is_read_once(file: Path) -> None:
    """Whoever finished it longer ago than a moment waits for nothing."""
    os.utime(file, LONG_AGO)
    wait = Waits()
    assert (pools(file, wait), wait.count) == (["a"], 0)


def test_a_file_that_was_finished_and_renamed_just_now_is_looked_at_twice(file: Path) -> None:
    """Nothing tells it from one that is being written, but that it stays as it is."""
    finished = file.with_suffix(".new")
    finished.write_text(WHOLE)
    os.utime(finished, AHEAD)
    finished.rename(file)
    wait = Waits()
    assert (pools(file, wait), wait.count) == (["a", "b"], 1)
    os.utime(file, LONG_AGO)
    file.rename(finished)
    finished.rename(file)
    assert (pools(file, wait), wait.count) == (["a", "b"], 1), "only its content counts"


def test_half_a_file_is_read_again_until_it_is_whole(file: Path) -> None:
    """Half a file may be good, and have fewer workers."""
    os.utime(file, AHEAD)

    def add(text: str) -> None:
        with file.open("a") as stream:
            stream.write(text)
        os.utime(file, AHEAD)

    rest = WHOLE.removeprefix(HALF)
    wait = Waits(lambda: add(rest[:5]), lambda: add(rest[5:]))
    assert (pools(file, wait), wait.count) == (["a", "b"], 3)


def test_half_a_value_is_no_error_while_it_is_written(file: Path) -> None:
    """An error of the first look is forgotten; one that stays is told as it is."""
    file.write_text(HALF + "[worker.b]\ncomm")
    os.utime(file, AHEAD)

    def finish() -> None:
        file.write_text(WHOLE)
        os.utime(file, LONG_AGO)

    assert pools(file, Waits(finish)) == ["a", "b"]
    file.write_text(HALF + "[worker.b]\ncomm")
    os.utime(file, AHEAD)
    with pytest.raises(ConfigurationError, match=r"x\.toml:4:5: error"):
        pools(file, Waits())


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("supervisor.include = ['more.toml']", "more.toml"),
        ("supervisor.environment_file = 'some.env'", "some.env"),
        ("worker.a.environment_file = 'some.env'", "some.env"),
    ],
)
def test_all_files_that_were_read_must_rest(file: Path, key: str, name: str) -> None:
    """Also those that are included, and the files of variables."""
    file.write_text(f"{key}\nworker.a.command = ['a']\n")
    os.utime(file, LONG_AGO)
    other = file.parent / name
    other.write_text("")
    os.utime(other, AHEAD)
    wait = Waits(lambda: other.write_text("# x\n"), lambda: os.utime(other, LONG_AGO))
    assert pools(file, wait) == ["a"]
    assert wait.count == 2


def test_a_file_that_never_rests_is_refused(file: Path) -> None:
    """After three seconds it is told which file it is; files that rest are not named."""
    other = file.parent / "more.toml"
    other.write_text("")
    file.write_text("supervisor.include = ['more.toml']\n" + HALF)
    now_s = [0.0]

    def go_on(seconds: float) -> None:
        now_s[0] += seconds
        with other.open("a") as stream:
            stream.write("#\n")
        os.utime(other, AHEAD)

    with pytest.raises(ConfigurationError) as caught:
        judge_settled(
            str(file), environ={}, as_root=False, wait=go_on, clock_now_s=lambda: now_s[0]
        )
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(other), 0)
    assert problem.message == "is still being written"
    assert 3.0 <= now_s[0] < 3.2


def test_a_file_that_is_missing_is_looked_for_once_more(file: Path) -> None:
    """Some editors move the old one away before they write the new one."""
    file.rename(file.with_suffix(".old"))

    def write() -> None:
        file.write_text(WHOLE)
        os.utime(file, LONG_AGO)

    assert pools(file, Waits(write)) == ["a", "b"]
    file.unlink()
    wait = Waits()
    with pytest.raises(ConfigurationError, match=r"no\s+such file"):
        pools(file, wait)
    assert wait.count == 1


# -- folders ---------------------------------------------------------------------------------------


@pytest.fixture
def shop(file: Path) -> Path:
    """Return a file that a pattern finds; all rests."""
    shop = file.parent / "conf.d" / "shop.toml"
    shop.parent.mkdir()
    shop.write_text('[worker.b]\ncommand = ["b"]\n')
    file.write_text("supervisor.include = ['conf.d/*.toml']\n" + HALF)
    let_rest(file, shop, shop.parent, file.parent)
    return shop


def let_rest(*paths: Path) -> None:
    for path in paths:
        os.utime(path, LONG_AGO)


def test_a_folder_that_rests_costs_nothing(file: Path, shop: Path) -> None:
    """Nor does one that a pattern names and that is not there."""
    wait = Waits()
    assert (pools(file, wait), wait.count) == (["a", "b"], 0)
    shop.unlink()
    shop.parent.rmdir()
    let_rest(file.parent)
    assert (pools(file, wait), wait.count) == (["a"], 0)


@pytest.mark.parametrize("pattern", ["conf.d/*.toml", "*/*.toml", "c*/shop.toml", "{0}/conf.d/*"])
def test_a_file_that_is_out_of_the_way_for_a_moment_is_still_there(
    file: Path, shop: Path, pattern: str
) -> None:
    """An editor renames the old one away and writes the new one: nobody is stopped for that."""
    pattern = pattern.format(file.parent)
    file.write_text(f"supervisor.include = ['{pattern}']\n" + HALF)
    away = file.parent / "away"
    shop.rename(away)
    let_rest(file, file.parent)

    def come_back() -> None:
        away.rename(shop)
        let_rest(shop, shop.parent, file.parent)

    assert pools(file, Waits(come_back)) == ["a", "b"]


def test_a_whole_folder_may_be_out_of_the_way(file: Path, shop: Path) -> None:
    """Then it is the folder around it that has changed."""
    away = file.parent / "away"
    shop.parent.rename(away)

    def come_back() -> None:
        away.rename(shop.parent)
        let_rest(file.parent)

    assert pools(file, Waits(come_back)) == ["a", "b"]


def test_a_file_of_variables_that_may_be_missing_is_waited_for(file: Path) -> None:
    """It may be out of the way just now, too."""
    file.write_text(HALF + "environment_file = '-some.env'\n")
    let_rest(file)
    variables = file.parent / "some.env"

    def come_back() -> None:
        variables.write_text("X=1\n")
        let_rest(variables, file.parent)

    judged = judge_settled(str(file), environ={}, as_root=False, wait=Waits(come_back))
    (spec,) = judged.configuration.specs
    assert ("X", "1") in spec.launch.environment


@pytest.mark.parametrize("is_meant", [False, True])
def test_a_folder_that_never_rests(
    file: Path, shop: Path, monkeypatch: pytest.MonkeyPatch, *, is_meant: bool
) -> None:
    """Files that no pattern means may come and go for ever; of those that it means one must know.

    So a log that is rotated all the time in that folder keeps no reload from its end.
    """
    now_s = [0.0]
    other = shop.with_name("other.toml" if is_meant else "other.log")

    def go_on(seconds: float) -> None:
        now_s[0] += seconds
        if other.exists():
            other.unlink()
        else:
            other.write_text("")
            let_rest(other)

    go_on(0.0)
    if not is_meant:
        judged = judge_settled(
            str(file), environ={}, as_root=False, wait=go_on, clock_now_s=lambda: now_s[0]
        )
        assert [spec.pool for spec in judged.configuration.specs] == ["a", "b"]
        return
    with pytest.raises(ConfigurationError) as caught:
        judge_settled(
            str(file), environ={}, as_root=False, wait=go_on, clock_now_s=lambda: now_s[0]
        )
    (problem,) = caught.value.problems
    assert (problem.file, problem.message) == (f"{shop.parent}/", "files still come and go in it")


def test_a_large_file_is_looked_at_twice(file: Path) -> None:
    """However long one look takes: one alone does not know whether anything changes."""
    os.utime(file, AHEAD)
    now_s = [0.0]

    def hurrying_now_s() -> float:
        now_s[0] += 5.0
        return now_s[0]

    assert pools(file, Waits(), hurrying_now_s) == ["a"]
