from pathlib import Path

import pytest

from supervisord_lite.config.defaults import (
    Folders,
    control_path_in,
    default_config_path,
    default_folders,
)


def test_roots_folders_are_the_system_s() -> None:
    """Root without systemd uses /var/lib and /run, and no log folder of its own."""
    assert default_folders({}, uid=0) == Folders(
        "/var/lib/supervisord-lite", "/run/supervisord-lite", None
    )


def test_systemd_s_folders_come_first() -> None:
    """What the unit declares is used, of several the first one."""
    environ = {
        "STATE_DIRECTORY": "/var/lib/x:/var/lib/y",
        "RUNTIME_DIRECTORY": "/run/x",
        "LOGS_DIRECTORY": "/var/log/x:/var/log/y",
        "XDG_STATE_HOME": "/home/a/state",
    }
    for uid in (0, 1000):
        assert default_folders(environ, uid=uid) == Folders("/var/lib/x", "/run/x", "/var/log/x")


def test_other_users_have_those_of_xdg() -> None:
    """A user's daemon keeps to the user's folders."""
    environ = {"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r", "HOME": "/home/a"}
    assert default_folders(environ, uid=1000) == Folders(
        "/s/supervisord-lite", "/r/supervisord-lite", None
    )


@pytest.mark.parametrize("set_to", ["", "relative/path"])
def test_without_xdg_there_is_a_place_all_the_same(set_to: str) -> None:
    """Unset or relative XDG variables mean ~/.local/state and a folder of one's own in /tmp."""
    environ = {"XDG_STATE_HOME": set_to, "XDG_RUNTIME_DIR": set_to, "HOME": "/home/a"}
    assert default_folders(environ, uid=1000) == Folders(
        "/home/a/.local/state/supervisord-lite", "/tmp/supervisord-lite-1000", None
    )


def test_root_never_reads_a_file_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write into a folder cannot make root run commands from there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workers.toml").touch()
    path = default_config_path({"HOME": "/home/a"}, as_root=True)
    assert path == "/etc/supervisord-lite/supervisord-lite.toml"


def test_others_read_workers_toml_here_then_the_one_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without -c a user's own daemon takes ./workers.toml, else the one in ~/.config."""
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": "/home/a"}
    at_home = "/home/a/.config/supervisord-lite/supervisord-lite.toml"
    assert default_config_path(environ, as_root=False) == at_home
    xdg = default_config_path({**environ, "XDG_CONFIG_HOME": "/c/"}, as_root=False)
    assert xdg == "/c/supervisord-lite/supervisord-lite.toml"
    (tmp_path / "workers.toml").touch()
    assert default_config_path(environ, as_root=False) == "workers.toml"


def test_the_control_socket_has_a_folder_of_its_own() -> None:
    """Rights on the socket's folder do not touch the rest of the runtime folder."""
    assert control_path_in("/run/x") == "/run/x/control/control.sock"
