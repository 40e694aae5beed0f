"""Where a file is written that will take the place of another one, and what the dead left there.

A file that must be whole is written under another name beside its place, and renamed. Each writer
has a name of its own, for two may be at it: one may hang in a disk call, or be about to die with
whoever started it. One that is killed leaves that name behind, for ever if nobody looks: so the
next one does.
"""

from __future__ import annotations

import os


def temporary_beside(path: str) -> str:
    """Return the name under which this process may write what is to become *path*.

    What writers left there that do not live any more is removed; of one whose pid somebody else has
    now, another time.

    Args:
        path: Absolute, or relative with a folder.
    """
    folder, name = os.path.split(path)
    remove_left(path)
    return f"{folder}/.{name}.{os.getpid()}"


def remove_left(path: str) -> None:
    """Remove what dead writers of *path* have left beside it, as far as that can be done."""
    folder, name = os.path.split(path)
    head = f".{name}."
    try:
        names = [each for each in os.listdir(folder) if each.startswith(head)]  # noqa: PTH208
    except OSError:
        return  # whoever writes there says why it cannot be
    for each in names:
        pid = each[len(head) :]
        if pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
            try:
                os.unlink(f"{folder}/{each}")  # noqa: PTH108
            except OSError:
                continue
