"""What systemd says of a unit; a script plays its command."""

from pathlib import Path

import pytest

from supervisord_lite.cli import systemctl
from supervisord_lite.cli.systemctl import properties

NAMES = ("ExecStart", "MainPID")


@pytest.fixture
def played(tmp_path: Path) -> Path:
    return tmp_path / "systemctl"


def play(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("is_user", "words"), [(True, "--user show x"), (False, "show x")])
def test_it_is_asked_for_what_is_wanted(played: Path, is_user: bool, words: str) -> None:
    """Values may have any signs in them; of which manager it is asked is said."""
    command = play(played, 'echo "MainPID=7"; echo "ExecStart={ path=/a ; b=c }"; echo "Words=$*"')
    told = properties("x", NAMES, is_user=is_user, command=command)
    assert told == {
        "MainPID": "7", "ExecStart": "{ path=/a ; b=c }",
        "Words": f"{words} --property=ExecStart,MainPID",
    }  # fmt: skip


@pytest.mark.parametrize("script", ["echo MainPID=7; exit 1", "exec sleep 1000"])
def test_one_that_does_not_answer_tells_nothing(
    played: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks has done something else, and must be able to say so."""
    monkeypatch.setattr(systemctl, "_LIMIT_S", 0.1)
    assert properties("x", NAMES, is_user=False, command=play(played, script)) == {}


def test_a_command_that_cannot_be_run_tells_nothing(played: Path) -> None:
    """As where it is taken away between a look and the call."""
    assert properties("x", NAMES, is_user=False, command=str(played)) == {}
