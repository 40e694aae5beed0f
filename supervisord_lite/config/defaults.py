"""Where things are when nobody says: the configuration file and the folders.

Also used by the command line to find the control socket, so it imports next to nothing.
"""

from __future__ import annotations

import os
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "supervisord-lite"
ROOT_CONFIG_PATH = "/etc/supervisord-lite/supervisord-lite.toml"
LOCAL_CONFIG_PATH = "workers.toml"


class Folders(NamedTuple):
    """Absolute paths; `log_dir` is None when nobody named one."""

    state_dir: str
    runtime_dir: str
    log_dir: str | None


def default_config_path(environ: Mapping[str, str], as_root: bool) -> str:
    """Return the configuration file to use without `-c`.

    Root: always the one in /etc, never the current folder, in which anybody may have put a file.
    Others: ./workers.toml if there is one, else the one in the XDG configuration folder.
    """
    if as_root:
        return ROOT_CONFIG_PATH
    if os.path.exists(LOCAL_CONFIG_PATH):  # noqa: PTH110
        return LOCAL_CONFIG_PATH
    home = _xdg(environ, "XDG_CONFIG_HOME", ".config")
    return f"{home}/{_NAME}/{_NAME}.toml"


def default_folders(environ: Mapping[str, str], *, uid: int) -> Folders:
    """Return the folders to use where the file names none.

    systemd's variables come first (a unit with several directories gives a list: its first one),
    then the usual places of root, then those of XDG.
    """
    if uid == 0:
        state_dir, runtime_dir = f"/var/lib/{_NAME}", f"/run/{_NAME}"
    else:
        state_dir = f"{_xdg(environ, 'XDG_STATE_HOME', '.local/state')}/{_NAME}"
        runtime = environ.get("XDG_RUNTIME_DIR", "")
        # Its own name per user; whoever makes it checks that nobody else did.
        private = f"/tmp/{_NAME}-{uid}"  # noqa: S108
        runtime_dir = f"{runtime}/{_NAME}" if runtime.startswith("/") else private
    return Folders(
        _systemd(environ, "STATE_DIRECTORY") or state_dir,
        _systemd(environ, "RUNTIME_DIRECTORY") or runtime_dir,
        _systemd(environ, "LOGS_DIRECTORY"),
    )


def control_path_in(runtime_dir: str) -> str:
    """Return the control socket of the daemon whose runtime folder this is."""
    return f"{runtime_dir}/control/control.sock"


def _systemd(environ: Mapping[str, str], name: str) -> str | None:
    first = environ.get(name, "").split(":")[0]
    return first if first.startswith("/") else None


def _xdg(environ: Mapping[str, str], name: str, below_home: str) -> str:
    folder = environ.get(name, "")
    if folder.startswith("/"):  # XDG: a relative one means nothing
        return folder.rstrip("/")
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        home = os.path.expanduser("~")  # noqa: PTH111  # asks the user database
    return f"{home.rstrip('/')}/{below_home}"
