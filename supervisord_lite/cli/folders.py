"""The folders of a daemon: made where they are missing, and judged: nobody else may change them.

What stands in them is trusted, removed and replaced: locks, the state, the sockets and secrets of
workers. Whoever may write there, or may put another folder in their place, has that in his hands.
So each must be ours or root's, and so must be each link on the way, and no folder on the way may be
one in which everybody may write (a sticky one, as /tmp is, is no such way, but for its owner). What
belongs to one other user may be meant (a folder below /home, for a daemon of root): a warning.

An empty folder of ours that is open is closed: a file system in memory begins so, and nobody has
anything in it yet.
"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from supervisord_lite.base import way
from supervisord_lite.base.errors import PermissionRefusedError
from supervisord_lite.config.spec import Settings


class _OpenError(Exception):
    """Others may write into a folder.

    Attributes:
        way_out: What to type.
    """

    def __init__(self, why: str, way_out: str) -> None:
        super().__init__(why)
        self.way_out = way_out


def make_folders(settings: Settings) -> list[str]:
    """Make those that are missing; return warnings for people, a line each.

    Raises:
        PermissionRefusedError: One is not ours, cannot be made, or others may write into it.
    """
    # The control folder is closed by config/modes.py where only we are to use it.
    wanted = [
        ("state_dir", settings.state_dir, 0o700, True),
        ("runtime_dir", settings.runtime_dir, 0o711, True),
        ("control.path", os.path.dirname(settings.control_path), 0o700, False),  # noqa: PTH120
    ]
    if settings.log_dir is not None:
        wanted.append(("log_dir", settings.log_dir, 0o750, False))
    warnings: dict[str, None] = {}
    for key, folder, mode, is_private in wanted:
        try:
            warnings.update(dict.fromkeys(_judge_way(folder)))
            _make(Path(folder), mode, is_private=is_private)
            warnings.update(dict.fromkeys(_judge_way(folder)))
        except _OpenError as error:
            hint = f"{error.way_out}, or set {key} to another folder"
            message = f"{key}: {folder}: {error}"
            raise PermissionRefusedError(message, hint=hint) from None
        except OSError as error:
            message = f"{key}: {folder}: {error.strerror}"
            hint = f"create it for uid {os.geteuid()}, or set {key} in the configuration file"
            raise PermissionRefusedError(message, hint=hint) from None
    return list(warnings)


def _make(path: Path, mode: int, *, is_private: bool) -> None:
    """Make a folder unless it is there; it must be ours (or root's) and writable.

    Args:
        path: Which.
        mode: Of a new one.
        is_private: One that is there must not be open to others.

    Raises:
        OSError: It is not.
        _OpenError: It is open.
    """
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=mode)
        _set_mode(path, mode)
    found = path.stat()
    if is_private and found.st_uid == os.geteuid() and way.is_open(found) and not os.listdir(path):  # noqa: PTH208
        _set_mode(path, mode)
        found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, "belongs to somebody else")
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "not writable")
    if is_private and way.is_open(found):
        is_all = found.st_mode & stat.S_IWOTH
        message = f"{'everybody' if is_all else f'group {found.st_gid}'} may write there"
        raise _OpenError(message, f"chmod go-w {path}")


def _set_mode(path: Path, mode: int) -> None:
    """Give a folder of ours its mode: the one that is opened, and by no link of others.

    Raises:
        LedAstrayError: Somebody else has put a link there.
        OSError: It is another folder by now.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        way.trust(folder, str(path))
        if os.fstat(folder).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "was put there by somebody else just now")
        os.fchmod(folder, mode)
    finally:
        os.close(folder)


def _judge_way(folder: str) -> Iterator[str]:
    """Yield what is doubtful on the way to a folder, links and folders above it.

    Raises:
        _OpenError: Everybody may put another one in its place.
        LedAstrayError: Somebody else has put a link there.
    """
    if os.path.exists(folder):  # noqa: PTH110
        os.close(way.open_folder(folder))
    for start in dict.fromkeys((folder, os.path.realpath(folder))):
        above = os.path.dirname(start)  # noqa: PTH120
        while True:
            try:
                found = os.stat(above)  # noqa: PTH116
            except FileNotFoundError:
                pass  # it will be made by us
            else:
                yield from _doubts(above, found, folder)
            if above == "/":
                break
            above = os.path.dirname(above)  # noqa: PTH120


def _doubts(above: str, found: os.stat_result, folder: str) -> Iterator[str]:
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        message = f"everybody may put another one in its place: {above} is open to all"
        raise _OpenError(message, f"chmod o-w {above}")
    if found.st_uid not in (0, os.geteuid()):
        yield f"uid {found.st_uid}, who owns {above}, can put another folder in place of {folder}"
