"""Whether the unit of a daemon would start the installation that runs now."""

import os
import sys
from pathlib import Path

from supervisord_lite.cli.systemctl import properties


def other_command(keeper_pid: int | None, interpreter: str | None = None) -> dict[str, str] | None:
    """Return what the unit of a daemon starts, where that is another installation than runs.

    Args:
        keeper_pid: Of the daemon's main process.
        interpreter: That its supervisor runs with; None: that of this command.

    Returns:
        Its `unit` and `command`; None: it is of the same one, or is started by no unit, or nobody
        can tell.
    """
    unit, is_user = unit_of(keeper_pid)
    if not unit or keeper_pid is None:
        return None
    command = _exec_start(unit, keeper_pid, is_user=is_user)
    if not command or not is_of_another(command, interpreter or sys.executable):
        return None
    return {"unit": unit, "command": command}


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


def interpreter_of(pid: int | None) -> str | None:
    """Return what a Python process was started with; None where nobody can tell."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    return os.fsdecode(words[0]) or None


def is_of_another(command: str, interpreter: str) -> bool:
    """Return whether a command is run by another Python than *interpreter*.

    They are told apart by their path: those of two environments may be links to one program. Of
    what is neither a Python nor a script of one (a wrapper in shell) nobody can tell.
    """
    here = Path(interpreter).parent
    if os.path.realpath(command) in {
        os.path.realpath(here / n) for n in ("supervisord-lite", "sdl")
    }:
        return False
    runs = _interpreter(command) or command
    return Path(runs).name.startswith("python") and runs != interpreter


def _interpreter(script: str) -> str:
    """Return what a script says it is to be run by; empty where it does not."""
    try:
        with Path(script).open("rb") as file:
            first = file.readline(4096)
    except OSError:
        return ""
    words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
    return words[0] if words else ""


def _exec_start(unit: str, main_pid: int, *, is_user: bool) -> str:
    """Return the program that a unit starts whose main process this is; empty: nobody tells."""
    shown = properties(unit, ("ExecStart", "MainPID"), is_user=is_user)
    if shown.get("MainPID") != str(main_pid):
        return ""
    # ExecStart={ path=/usr/bin/x ; argv[]=/usr/bin/x run ; ignore_errors=no ; … }
    _, _, rest = shown.get("ExecStart", "").partition("path=")
    return rest.partition(" ;")[0].strip()
