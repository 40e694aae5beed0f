"""A file that holds one secret: whether it is kept well, and what is in it.

Used where the configuration is judged, and by the process that is about to become a worker: the
two agree. Never by the keeper or the supervisor themselves, for a disk may not answer. No error
says anything of the content.
"""

from __future__ import annotations

import errno
import os
import stat

from supervisord_lite.base import way

#: Of a value that becomes a variable: with its name it must fit into one of execve(2).
MAX_VALUE_BYTES = 64 * 1024
#: Of a value that stays a file.
MAX_FILE_BYTES = 1024 * 1024

_PLACE = os.O_PATH | os.O_CLOEXEC


class SecretError(Exception):
    """A secret cannot be had, or is not kept well.

    Attributes:
        hint: The way out; empty: the message says it all.
        missing: There is no such file.
        may_not: It is there, and this process may not look at it.
        hopeless: No retry can heal it.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        missing: bool = False,
        may_not: bool = False,
        hopeless: bool = False,
    ) -> None:
        """Take all that will be told; the path stands in *message*."""
        super().__init__(message)
        self.hint = hint
        self.missing = missing
        self.may_not = may_not
        self.hopeless = hopeless


def judge(path: str) -> os.stat_result:
    """Return the status of a file that is kept well; it is not opened.

    Args:
        path: Absolute.

    Raises:
        SecretError: It is missing, no regular file, or others may read or replace it.
    """
    place = _find(path)
    try:
        return _judged(place, path)
    finally:
        os.close(place)


def read(path: str, most_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return what is in a file that is kept well, byte by byte.

    Raises:
        SecretError: As `judge`; or it cannot be read, is empty or larger than *most_bytes*.
    """
    place = _find(path)
    try:
        _judged(place, path)
        # By way of the place: it is the file that was judged, whatever stands there by now.
        file = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = b""
            while len(data) <= most_bytes and (piece := os.read(file, most_bytes + 1 - len(data))):
                data += piece
        finally:
            os.close(file)
    except OSError as error:
        raise _cannot(error, path) from None
    finally:
        os.close(place)
    if len(data) > most_bytes:
        message = f"{path} is larger than {most_bytes >> 10}K"
        raise SecretError(message)
    if not data:
        message = f"{path} is empty"
        raise SecretError(message)
    return data


def value_of(data: bytes, path: str) -> bytes:
    """Return the value for a variable: the content without one newline at its end.

    Raises:
        SecretError: No variable can hold it.
    """
    value = data[:-1] if data.endswith(b"\n") else data
    if len(value) > MAX_VALUE_BYTES:
        message = f"{path} is larger than {MAX_VALUE_BYTES >> 10}K: no variable holds it"
        raise SecretError(message, 'secrets_as = "files"')
    if b"\0" in value:
        message = f"{path} has a NUL in it: no variable holds it"
        raise SecretError(message, 'secrets_as = "files"')
    return value


def _find(path: str) -> int:
    try:
        return os.open(path, _PLACE)
    except OSError as error:
        raise _cannot(error, path) from None


def _cannot(error: OSError, path: str) -> SecretError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return SecretError(f"no such file: {path}", missing=True)
    may_not = error.errno in (errno.EACCES, errno.EPERM)
    return SecretError(f"{os.strerror(error.errno or 0)}: {path}", may_not=may_not)


def _judged(place: int, path: str) -> os.stat_result:
    status = os.fstat(place)
    if not stat.S_ISREG(status.st_mode):
        message = f"{path} is not a file"
        raise SecretError(message)
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o007:
        message = f"everybody may {_verbs(mode)} {path} (mode {mode:04o})"
        raise SecretError(message, f"chmod o= {path}")
    # Where it stands, and on the way that leads there: a link may be replaced too.
    real = os.readlink(f"/proc/self/fd/{place}")  # noqa: PTH115  # no pathlib in the keeper
    for start in dict.fromkeys((path, real)):
        _judge_folders(start)
    try:
        # Whoever gets the value may not be somebody who may read what he has led us to.
        way.judge_file(place, path)
    except OSError as error:
        message = f"{path} may be another file than is meant: {error.strerror}"
        raise SecretError(message) from None
    return status


def _verbs(mode: int) -> str:
    named = ((0o004, "read"), (0o002, "write"), (0o001, "run"))
    return " and ".join(verb for bit, verb in named if mode & bit)


def _judge_folders(path: str) -> None:
    """Refuse a path of which anybody could replace a part."""
    folder = os.path.dirname(path)  # noqa: PTH120
    while True:
        try:
            mode = os.stat(folder).st_mode  # noqa: PTH116
        except OSError as error:
            raise _cannot(error, folder) from None
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            message = f"everybody may put another file in place of {path}: {folder} is open to all"
            raise SecretError(message, f"chmod o-w {folder}")
        above = os.path.dirname(folder)  # noqa: PTH120
        if above == folder:
            return
        folder = above
