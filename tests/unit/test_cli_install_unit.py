"""`install-unit`: what it writes, and what it leaves alone."""

import json
import os
import re
from pathlib import Path

import pytest

from supervisord_lite.cli import main
from tests.support import leftovers

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: units of the system")


def install(folder: Path, *words: str) -> int:
    return main(["install-unit", "--folder", str(folder), *words])


@needs_root
def test_a_unit_starts_this_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both the command that runs and the one that reloads; the text is not touched."""
    assert install(tmp_path, "--hardened") == 0
    text = (tmp_path / "supervisord-lite.service").read_text()
    (start,) = re.findall(r"(?m)^ExecStart=(\S+) run -c /etc/\S+$", text)
    (reload,) = re.findall(r"(?m)^ExecReload=(\S+) reload$", text)
    assert start == reload
    assert os.access(start, os.X_OK)
    assert "Description=supervisord-lite: " in text
    assert (tmp_path / "supervisord-lite.service.d/10-hardened.conf").exists()
    assert "now:  systemctl enable --now supervisord-lite\n" in capsys.readouterr().out


@needs_root
def test_an_instance_has_a_drop_in_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its user, its file, and what its file's place needs."""
    odd = "/root/my shop/50%.toml"
    assert install(tmp_path, "--name", "shopq", "--user", "games", "-c", odd) == 0
    text = (tmp_path / "supervisord-lite@shopq.service.d/config.conf").read_text()
    assert "User=games\n" in text
    assert re.search(r"(?m)^ExecStart=\nExecStart=/\S+ run -c '/root/my shop/50%%.toml'$", text)
    assert "ProtectHome=read-only\n" in text
    said = capsys.readouterr().out
    assert f"wrote {tmp_path}/supervisord-lite@shopq.service.d/config.conf\n" in said
    assert said.endswith("now:  systemctl enable --now supervisord-lite@shopq\n")


@needs_root
def test_a_command_that_the_service_could_not_run_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment in a folder that is closed to the user, as below /root."""
    folder = leftovers.short_folder()
    folder.chmod(0o755)
    command = folder / "own/bin/supervisord-lite"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    command.parent.parent.chmod(0o700)
    monkeypatch.setattr("sys.argv", [str(command)])
    assert install(tmp_path / "units", "--name", "games") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"games may not enter {command.parent.parent}, and so not run {command}" in said


@needs_root
def test_what_stands_in_a_home_can_be_read_by_a_hardened_service(tmp_path: Path) -> None:
    """Else it could not even start: ProtectHome=yes hides it."""
    assert install(tmp_path, "--hardened", "-c", "/home/anna/workers.toml") == 0
    text = (tmp_path / "supervisord-lite.service.d/config.conf").read_text()
    assert "ProtectHome=read-only\n" in text


def test_programs_are_told_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was written, and what is to be typed."""
    assert install(tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["wrote"] == [f"{tmp_path}/supervisord-lite.service"]
    assert told["next"].endswith(" enable --now supervisord-lite")


@needs_root
def test_what_people_changed_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written at all, unless it is forced; the same again is no change."""
    assert install(tmp_path) == 0
    assert install(tmp_path) == 0
    unit = tmp_path / "supervisord-lite.service"
    unit.write_text("[Service]\n# by hand\n")
    assert install(tmp_path, "--hardened") == 1
    assert unit.read_text() == "[Service]\n# by hand\n"
    assert not (tmp_path / "supervisord-lite.service.d").exists()
    assert "is there already" in capsys.readouterr().err
    assert install(tmp_path, "--force") == 0
    assert "by hand" not in unit.read_text()


@needs_root
@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--user", "games"], 2, "--user belongs to --name"),
        (["--name", "../x"], 2, "is no name of an instance"),
        (["--name", "nobody-has-this"], 1, "there is no user nobody-has-this"),
        (["--name", "games", "--hardened"], 2, "is closed already"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, text: str
) -> None:
    """They are refused, and nothing is written."""
    assert install(tmp_path / "none", *words) == status
    assert text in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "none").exists()


def test_the_drop_in_says_what_each_of_its_lines_breaks() -> None:
    """Whoever misses something finds the line to take out."""
    text = (Path(__file__).parents[2] / "systemd/10-hardened.conf").read_text()
    comment = text[: text.index("\n[Service]\n")]
    keys = {line.partition("=")[0] for line in text.splitlines() if re.match(r"[A-Z]\w+=", line)}
    assert len(keys) >= 12
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", comment)] == []
