"""Whether the unit of a daemon would start the installation that runs now."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def other_command(keeper_pid: int | None) -> dict[str, str] | None:
    """Return what the unit of a daemon starts, where that is no command of this installation.

    Args:
        keeper_pid: Of the daemon's main process.

    Returns:
        Its `unit` and `command`; None: it starts this installation, or is started by no unit, or
        nobody can tell.
    """
    unit, is_user = unit_of(keeper_pid)
    if not unit:
        return None
    command = _exec_start(unit, is_user=is_user)
    return (
        None
        if not command or is_of_this_installation(command)
        else {"unit": unit, "command": command}
    )


def unit_of(pid: int | None) -> tuple[str, bool]:
    """Return the service in whose cgroup a process is, and whether a user's manager has it."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return "", False
    path = next((line[3:] for line in lines if line.startswith("0::")), "")
    units = [part for part in path.split("/") if part.endswith(".service")]
    is_user = any(unit.startswith("user@") for unit in units)
    units = [unit for unit in units if not unit.startswith("user@")]
    return (units[0], is_user) if units else ("", is_user)


def is_of_this_installation(command: str) -> bool:
    """Return whether a command is one of this installation, or starts with its interpreter.

    Interpreters are told apart by their path: those of two environments may be links to one.
    """
    here = Path(sys.executable).parent
    ours = {os.path.realpath(here / name) for name in ("supervisord-lite", "sdl")}
    ours.add(os.path.realpath(Path(sys.argv[0]).absolute()))
    return os.path.realpath(command) in ours or sys.executable in (command, _interpreter(command))


def _interpreter(script: str) -> str:
    """Return what a script says it is to be run by; empty where it does not."""
    try:
        with Path(script).open("rb") as file:
            first = file.readline(4096)
    except OSError:
        return ""
    words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
    return words[0] if words else ""


def _exec_start(unit: str, *, is_user: bool) -> str:
    """Return the program that a unit starts; empty: nobody tells."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not Path("/run/systemd/system").is_dir():
        return ""
    manager = ["--user"] if is_user else []
    done = subprocess.run(
        [systemctl, *manager, "show", unit, "--property=ExecStart"],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    # ExecStart={ path=/usr/bin/x ; argv[]=/usr/bin/x run ; ignore_errors=no ; … }
    _, _, rest = done.stdout.partition("path=")
    return rest.partition(" ;")[0].strip()
