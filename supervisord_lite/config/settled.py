"""A configuration that nobody is writing any more.

A file may be written slowly in its place (an editor, ``cat > file``, ``rsync --inplace``), and half
of it may be a good configuration with fewer workers. So what has just been changed is looked at
again until it stays as it is. The folders that a pattern of `include` looks into count too: a file
that is out of the way for a moment (an editor renames the old one, ``git checkout`` removes it) is
in none of the files that were read. Who pauses in the middle for longer than that is not noticed:
only a finished file that is renamed is whole for certain. One that was finished less than 0.1 s ago
looks like the others, whoever renamed it, and costs that much.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisord_lite.config.load import Judged
    from supervisord_lite.config.source import Version

#: A file that was changed less than this before it was read may be half of one.
_QUIET_S = 0.1
#: Nobody writes a configuration for longer.
_MOST_WAIT_S = 3.0


def judge_settled(
    path: str,
    *,
    environ: Mapping[str, str],
    as_root: bool,
    wait: Callable[[float], None] = time.sleep,
    clock_now_s: Callable[[], float] = time.monotonic,
) -> Judged:
    """Return what the file *path* means as soon as none of its files is being written.

    Args:
        path: As typed.
        environ: For ``${NAME}``.
        as_root: Whether the daemon is root.
        wait: Lets seconds pass.
        clock_now_s: Monotonic.

    Raises:
        ConfigurationError: With every problem that was found; or the files do not come to rest.
    """
    give_up_at_s = clock_now_s() + _MOST_WAIT_S
    before: dict[str, Version] | None = None
    while True:
        began_ns = time.time_ns()
        seen: dict[str, Version] = {}
        found: Judged | ConfigurationError
        try:
            found = judge(path, environ=environ, as_root=as_root, seen=seen)
        except ConfigurationError as error:
            found = error
        quiet_since_ns = began_ns - int(_QUIET_S * 1e9)
        young = [file for file, version in seen.items() if version.changed_ns > quiet_since_ns]
        # Two equal looks, that far apart: so it is too where the clock of a disk is ahead of ours.
        if not young or seen == before:
            break
        if before is not None and clock_now_s() >= give_up_at_s:
            if _files(seen) == _files(before):
                break  # other files come and go in their folders all the time
            raise ConfigurationError(map(_unfinished, _changing(young, seen, before)))
        before = seen
        wait(_QUIET_S)
    if isinstance(found, ConfigurationError):
        raise found
    return found


def _files(seen: Mapping[str, Version]) -> dict[str, Version]:
    return {name: version for name, version in seen.items() if not name.endswith("/")}


def _changing(
    young: list[str], seen: Mapping[str, Version], before: Mapping[str, Version]
) -> list[str]:
    changing = [file for file in young if seen[file] != before.get(file)] or young
    return [file for file in changing if not file.endswith("/")] or changing


def _unfinished(file: str) -> Problem:
    if file.endswith("/"):
        return Problem(file, 0, 0, "files still come and go in it", "reload again when it rests")
    return Problem(file, 0, 0, "is still being written", "reload again when it is whole")
