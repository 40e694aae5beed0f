"""What systemd says of a unit, asked by its own command."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: A manager that re-executes itself just now answers after that; one that hangs never does.
_LIMIT_S = 10.0


def properties(
    unit: str, names: Sequence[str], *, is_user: bool, command: str | None = None
) -> dict[str, str]:
    """Return properties of a unit, by name; empty where systemd does not run, or does not answer.

    Args:
        unit: Its name.
        names: Of the properties.
        is_user: It is one of the manager of this user.
        command: Instead of the systemctl of this system.
    """
    if command is None:
        command = shutil.which("systemctl")
        if command is None or not Path("/run/systemd/system").is_dir():
            return {}
    words = [command, *(["--user"] if is_user else []), "show", unit]
    try:
        done = subprocess.run(
            [*words, f"--property={','.join(names)}"],
            capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return dict(line.partition("=")[::2] for line in lines if "=" in line)
