"""`check` says ok with the totals, or everything that is wrong, and exits 78."""

import argparse
import json
from pathlib import Path

import pytest

from supervisord_lite.cli import check

GOOD = '[worker.a]\ncommand = ["x"]\n[worker.b]\ncommand = ["x"]\npool_size = 3\n'
BAD = '[worker.a]\ncommand = ["x"]\nstop_timout = "1s"\n[worker.b]\ncommand = ["x"]\nrestrt = "x"\n'


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args(words))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_good_file_is_ok(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file is one line on stdout, exit 0."""
    (here / "x.toml").write_text(GOOD)
    assert run("-c", "x.toml") == 0
    assert capsys.readouterr() == ("x.toml: 2 workers, 4 processes: ok\n", "")


def test_a_bad_file_is_told_on_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad file is all of its errors and their number on stderr, exit 78."""
    (here / "x.toml").write_text(BAD)
    assert run("-c", "x.toml") == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert "x.toml:3:1: error" in err
    assert "x.toml:6:1: error" in err
    assert err.endswith("\n2 errors in 1 file. Nothing was changed.\n")


def test_a_missing_file_is_told_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file is exit 78 as well: the daemon would not start."""
    assert run("-c", "no.toml") == 78
    assert capsys.readouterr().err.endswith("1 error in 1 file. Nothing was changed.\n")
    assert not list(here.iterdir())


def test_json_for_editors(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json is one object with every error's place, or with the totals."""
    (here / "x.toml").write_text(BAD)
    assert run("-c", "x.toml", "--json") == 78
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["ok"], found["workers"]) == ("x.toml", False, None)
    first = found["errors"][0]
    assert (first["file"], first["line"], first["column"], first["length"]) == ("x.toml", 3, 1, 11)
    (here / "x.toml").write_text(GOOD)
    assert run("-c", "x.toml", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["workers"], found["processes"], found["errors"]) == (True, 2, 4, [])
