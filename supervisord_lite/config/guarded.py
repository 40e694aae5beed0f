"""Whether others can change what root reads, and with it what root runs.

Whoever may write into a file, or into any folder on the way to it, may put another file in its
place. In a sticky folder nobody may touch what is not his, so those (/tmp) are passed over, if they
are root's. What everybody can change is refused; what one user or one group can change may be
meant (a checkout below /home that is run with sudo), and is a warning. A daemon that is not root
runs nothing that its user could not: it is not asked.
"""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING

from supervisord_lite.config.tree import Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisord_lite.config.syntax import Document
    from supervisord_lite.config.values import Reader

#: Of whom else, besides root, may change a file that root reads.
OPEN_FILE = "can change this file, and so what root runs"
EVERYBODY = "everybody"


def note_open_files(reader: Reader, documents: Iterable[Document]) -> None:
    """Note files that others than root can change: each once, by the worst way there is.

    Files of variables too, if everybody can: those of one user may be for his workers.
    """
    for file, node in reader.environments.items():
        path = next((path for who, path in who_can_change(file) if who == EVERYBODY), None)
        if path is not None and os.path.isfile(file):  # noqa: PTH113  # else that is told
            message = f"{EVERYBODY} can change {file}, and so what root's programs are given"
            reader.at_value(node, message, f"chmod o-w {shlex.quote(path)}")
    for document in documents:
        # Stable: what everybody can do comes first, and then what is nearest to the file.
        ways = sorted(who_can_change(document.source.file), key=lambda way: way[0] != EVERYBODY)
        if not ways:
            continue
        who, path = ways[0]
        real = os.path.realpath(document.source.file)
        is_file = os.path.realpath(path) == real
        through = "" if is_file else f", by way of {path},"
        quoted = shlex.quote(document.source.file if is_file else path)
        root = Node("", (), document)
        message = f"{who}{through} {OPEN_FILE}"
        if who == EVERYBODY:
            reader.at_value(root, message, f"chmod o-w {quoted}")
        elif who.startswith("group"):
            reader.warn(root, message, f"chmod g-w {quoted}")
        else:
            reader.warn(root, message, f"chown root {quoted}")


def who_can_change(file: str) -> Iterator[tuple[str, str]]:
    """Yield who else than root can change a file, and by what path: itself or a folder above.

    Args:
        file: As typed. Links are followed, and the folders on both ways looked at.
    """
    for path in _ways(file):
        try:
            found = os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            continue
        is_sticky = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
        if found.st_mode & stat.S_IWOTH and not is_sticky:
            yield EVERYBODY, path
        elif found.st_uid:
            yield f"uid {found.st_uid}", path
        elif found.st_mode & stat.S_IWGRP and found.st_gid and not is_sticky:
            yield f"group {found.st_gid}", path


def _ways(file: str) -> Iterable[str]:
    """Return the file and all folders above it, the nearest first, each once."""
    paths: dict[str, None] = {}
    for path in (os.path.abspath(file), os.path.realpath(file)):  # noqa: PTH100
        while path not in paths:
            paths[path] = None
            path = os.path.dirname(path)  # noqa: PTH120
    return paths
