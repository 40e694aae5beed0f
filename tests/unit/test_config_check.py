"""`check` says ok with the totals, or everything that is wrong, and exits 78."""

import argparse
import json
import resource
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from supervisord_lite.cli import check
from supervisord_lite.cli.errors import UsageError
from tests.support.daemon import clean_environment

GOOD = '[worker.a]\ncommand = ["x"]\n[worker.b]\ncommand = ["x"]\npool_size = 3\n'
BAD = '[worker.a]\ncommand = ["x"]\nstop_timout = "1s"\n[worker.b]\ncommand = ["x"]\nrestrt = "x"\n'
WRONG = "wrong{} = 1\n"


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


def test_warnings_stop_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A warning is told on stderr, counted on stdout, and the exit code is 0."""
    (here / "x.toml").write_text('[worker.a]\ncommand = ["sh", "-c", "a | b"]\n')
    assert run("-c", "x.toml") == 0
    out, err = capsys.readouterr()
    assert out == "x.toml: 1 worker, 1 process: ok, 1 warning\n"
    assert err.startswith("x.toml:2:11: warning: only the shell")
    assert run("-c", "x.toml", "--json") == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert (warning["line"], warning["column"]) == (2, 11)


def test_every_file_is_counted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who includes files sees that they were read."""
    (here / "x.toml").write_text(f'[supervisor]\ninclude = "c/*.toml"\n{GOOD}')
    (here / "c").mkdir()
    (here / "c/y.toml").write_text("")
    assert run("-c", "x.toml") == 0
    assert capsys.readouterr().out == "x.toml: 2 workers, 4 processes, 2 files: ok\n"
    (here / "c/z.toml").write_text("[worker.b]\nnise = 1\n")
    assert run("-c", "x.toml") == 78
    assert capsys.readouterr().err.endswith("\n1 error in 3 files. Nothing was changed.\n")
    assert run("-c", "x.toml", "--json") == 78
    assert json.loads(capsys.readouterr().out)["files"] == ["x.toml", "c/y.toml", "c/z.toml"]


SHOWN = """\
pool_size = 2                     env/s.toml:2           (8 in conf.d/shop.toml)
extends = "app"                   conf.d/shop.toml:2
command = ["/srv/venv/bin/celery", "-A", "shop", "$${x}"]
                                  conf.d/shop.toml:3
stop_timeout = ["10m", "30s"]     conf.d/shop.toml:5
stop_signal = ["SIGTERM", "SIGINT"]
                                  conf.d/shop.toml:6
environment."a b" = "2"           conf.d/shop.toml:7     ("1" in main.toml)
user = "root"                     main.toml:8            via extends app
umask = "077"                     main.toml:4            via [defaults]
critical = false                  default
singleton = false                 default
max_unavailable = 1               default
max_surge = 0                     default
autostart = true                  default
restart = "on-failure"            default
"""


def test_each_value_has_its_origin(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--show prints own keys, inherited ones and defaults, and what was replaced."""
    (here / "conf.d").mkdir()
    (here / "env").mkdir()
    (here / "main.toml").write_text(
        '[supervisor]\ninclude = ["conf.d/shop.toml", "env/s.toml"]\n'
        '[defaults]\numask = "077"\n[worker.app]\nenabled = false\nenvironment."a b" = "1"\n'
        'user = "root"\n'
    )
    (here / "conf.d/shop.toml").write_text(
        '[worker.celery]\nextends = "app"\ncommand = ["${V:-/srv/venv}/bin/celery", "-A", "shop", '
        '"$${x}"]\npool_size = 8\nstop_timeout = ["10m", "30s"]\n'
        'stop_signal = ["SIGTERM", "SIGINT"]\nenvironment."a b" = "2"\n'
    )
    (here / "env/s.toml").write_text("[worker.celery]\npool_size = 2\n")
    assert run("-c", "main.toml", "--show", "celery") == 0
    out = capsys.readouterr().out
    expected = SHOWN.splitlines()
    assert sorted(out.splitlines()[: len(expected)]) == sorted(expected)
    assert 'environment.USER = "root"         by user' in out
    assert 'backoff.min = "1s"                default' in out
    assert run("-c", "main.toml", "--show", "app") == 0
    assert (
        capsys.readouterr().out.splitlines()[0] == "enabled = false                   main.toml:6"
    )
    assert run("-c", "main.toml", "--show", "celery", "--json") == 0
    keys = {key["key"]: key for key in json.loads(capsys.readouterr().out)["keys"]}
    assert keys["umask"]["via"] == "[defaults]"
    assert keys["stop_timeout"]["value"] == ["10m", "30s"]


def test_values_out_of_files_of_variables_are_not_shown(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such files hold passwords; that they are read is shown."""
    (here / "x.toml").write_text('[worker.a]\ncommand = "x"\nenvironment_file = "x.env"\n')
    (here / "x.env").write_text("PASSWORD=hunter2\n")
    assert run("-c", "x.toml", "--show", "a") == 0
    out = capsys.readouterr().out
    assert 'environment_file = "x.env"        x.toml:3' in out
    assert "PASSWORD" not in out
    assert "hunter2" not in out


def test_what_may_be_a_secret_is_not_shown(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of its variable, and wherever the value of one of the daemon's has been put."""
    monkeypatch.setenv("API_TOKEN", "t0psecret")
    (here / "x.env").write_text("DB_PASSWORD=hunter2\n")
    (here / "x.toml").write_text(
        '[supervisor]\nenvironment_file = "x.env"\n'
        '[defaults]\nenvironment.DB_PASSWORD = "old1"\nenvironment.PLACE = "h/${API_TOKEN}"\n'
        '[worker.a]\ncommand = ["x", "-p${DB_PASSWORD}"]\nlog = "/log/${API_TOKEN}"\n'
        'environment.DB_PASSWORD = "n3w"\nenvironment.PLACE = "db:${DB_PASSWORD}@h"\n'
    )
    assert run("-c", "x.toml", "--show", "a") == 0
    out = capsys.readouterr().out
    assert run("-c", "x.toml", "--show", "a", "--json") == 0
    out += capsys.readouterr().out
    for secret in ("hunter2", "t0psecret", "old1", "n3w"):
        assert secret not in out
    assert 'environment.DB_PASSWORD = "***"   x.toml:9               ("***" in x.toml)' in out
    assert 'environment.PLACE = "db:***@h"    x.toml:10              ("h/***" in x.toml)' in out
    assert 'command = ["x", "-p***"]' in out


def test_a_worker_that_is_not_there_cannot_be_shown(here: Path) -> None:
    """A wrong name is exit 4, with the name that was probably meant."""
    (here / "x.toml").write_text('[worker.celery]\ncommand = "x"\n')
    with pytest.raises(check.NoSuchWorkerError, match="did you mean celery") as caught:
        run("-c", "x.toml", "--show", "selery")
    assert caught.value.exit_code == 4


@pytest.mark.slow
def test_thousands_of_workers_are_judged_quickly(here: Path) -> None:
    """The whole command costs a few times what tomllib alone does, on any machine."""
    text = "".join(
        f'[worker.w{i}]\ncommand = ["/usr/bin/prog", "--shard", "{i}", "--port", "%{{8000..}}"]\n'
        f'pool_size = 2\nstop_timeout = "30s"\nenvironment.SHARD = "{i}"\nlimits.nofile = 4096\n'
        for i in range(2000)
    )
    (here / "x.toml").write_text(text)
    begin_s = time.process_time()
    tomllib.loads(text)
    tomllib_s = time.process_time() - begin_s
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "supervisord_lite", "check", "-c", "x.toml"]
    subprocess.run(command, check=True, capture_output=True, env=clean_environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime - before.ru_utime
    assert used_s < 6 * tomllib_s + 0.3, f"{used_s:.2f} s, tomllib {tomllib_s:.2f} s"


def test_a_candidate_is_judged_in_its_place(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--with takes the content of another file, with the name, folder and force of the real one."""
    (here / "conf.d").mkdir()
    (here / "x.toml").write_text(
        '[supervisor]\ninclude = "conf.d/*.toml"\n[worker.app]\nenabled = false\nnice = 1\n'
    )
    (here / "conf.d/shop.toml").write_text("[worker.old]\n")
    candidate = here / "tmp123"
    candidate.write_text('[worker.web]\nextends = "app"\ncommand = "w"\nlog = "./w.log"\n')
    assert run("-c", "x.toml") == 78
    capsys.readouterr()
    words = ("-c", "x.toml", "--with", f"conf.d/shop.toml={candidate}")
    assert run(*words) == 0
    assert capsys.readouterr().out == "x.toml: 1 worker, 1 process, 2 files: ok\n"
    assert run(*words, "--show", "web") == 0
    assert 'log.stdout = "./w.log"            conf.d/shop.toml:4' in capsys.readouterr().out
    candidate.write_text("[worker.web]\nnise = 1\n")
    assert run(*words) == 78
    assert "conf.d/shop.toml:2:1: error" in capsys.readouterr().err


def test_a_candidate_for_a_new_file_is_judged(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file counts that a pattern would find once it is there; one that nobody names does not."""
    (here / "x.toml").write_text('[supervisor]\ninclude = "conf.d/*.toml"\n')
    candidate = here / "tmp123"
    candidate.write_text(GOOD)
    assert run("-c", "x.toml", "--with", f"conf.d/new.toml={candidate}") == 0
    assert capsys.readouterr().out == "x.toml: 2 workers, 4 processes, 2 files: ok\n"
    assert run("-c", str(here / "x.toml"), "--with", f"{here}/conf.d/new.toml={candidate}") == 0
    assert run("-c", "x.toml", "--with", f"x.toml={candidate}") == 0
    assert run("-c", "x.toml", "--with", f"other/new.toml={candidate}") == 78
    assert "no include names it" in capsys.readouterr().err
    with pytest.raises(UsageError):
        run("-c", "x.toml", "--with", "new.toml")


@pytest.mark.parametrize("file", ["x.toml", "conf.d/a.toml"])
def test_a_candidate_that_is_missing_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    """It lacks, and not the file in whose place it was to be."""
    (here / "conf.d").mkdir()
    (here / "conf.d/a.toml").write_text(GOOD)
    (here / "x.toml").write_text('[supervisor]\ninclude = "conf.d/*.toml"\n')
    for candidate, why in (("/nonexist", "no such file"), ("/dev/null", "is a device")):
        assert run("-c", "x.toml", "--with", f"{file}={candidate}") == 78
        told = capsys.readouterr().err
        assert f"{candidate}: " in told
        assert why in told
        assert "-c FILE" not in told
        assert "may match nothing" not in told


@pytest.mark.slow
def test_thousands_of_errors_are_counted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred are printed whole, then how many more there are; --json has them all."""
    (here / "x.toml").write_text(
        f"[worker.a]\ncommand = ['x']\n{WRONG * 5000}".format(*range(5000))
    )
    assert run("-c", "x.toml") == 78
    err = capsys.readouterr().err
    assert err.count(": error: ") == 100
    assert err.endswith(
        "\nand 4,900 more errors; check --json prints them all\n"
        "5,000 errors in 1 file. Nothing was changed.\n"
    )
    assert run("-c", "x.toml", "--json") == 78
    assert len(json.loads(capsys.readouterr().out)["errors"]) == 5000
