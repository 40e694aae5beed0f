"""The child that compresses one full file of a log: see compressing.py.

::

    PATH.N ──▶ .PATH.N.gz.new (written, on the disk) ──rename──▶ PATH.N.gz ──▶ PATH.N is removed

Killed anywhere, it leaves the plain file, or the whole compressed one, or both; a file under its
last name is always whole. Who finds both has the same lines twice and takes one; the next child
removes the plain one. A half-written one has a hidden name, and is removed by the next child.

When the plain file has gone meanwhile, it was the oldest and had to go: then so does the other one.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib

from supervisord_lite.scribe import bound_child, gzipped
from supervisord_lite.scribe.calls import Calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECE_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Raw deflate: the header is ours.
_WINDOW_BITS = -15


def main(arguments: list[str]) -> int:
    """Compress the file; return the exit code. Arguments as of `bound_child.do`."""
    return bound_child.do(arguments, _work, name="sdl-compress", done="done")


def _work(path: str, _told: dict[str, Any]) -> None:
    os.nice(19)
    compress(path, Calls())


def compress(path: str, calls: Calls) -> None:
    """Put a compressed file in the place of the full file at *path*.

    Raises:
        OSError: The plain file stays, unless there is a whole compressed one.
    """
    source = calls.open(path, _READ)
    try:
        about = calls.fstat(source)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        if not _is_there(path, about, calls):
            _write(source, about, path, calls)
    finally:
        calls.close(source)
    try:
        calls.unlink(path)
    except FileNotFoundError:
        _remove(path + gzipped.SUFFIX, calls)


def temporary_path(path: str) -> str:
    """Return where the compressed bytes of *path* stand until they are whole."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{gzipped.SUFFIX}.new")


def _is_there(path: str, about: os.stat_result, calls: Calls) -> bool:
    """Return whether an earlier child has finished but for the last step.

    Raises:
        FileExistsError: There is a file of that name that was not made of this one.
    """
    try:
        other = calls.open(path + gzipped.SUFFIX, _READ)
    except FileNotFoundError:
        return False
    try:
        head = calls.pread(other, gzipped.HEADER_BYTES, 0)
    finally:
        calls.close(other)
    if gzipped.origin_in(head) != ((about.st_dev, about.st_ino), about.st_size):
        raise FileExistsError(errno.EEXIST, "another file has the name of the compressed one")
    return True


def _write(source: int, about: os.stat_result, path: str, calls: Calls) -> None:
    temporary = temporary_path(path)
    _remove(temporary, calls)  # of one that was killed
    target = calls.open(temporary, _NEW, 0o600)
    try:
        try:
            _copy(source, target, about, calls)
            os.fchmod(target, stat.S_IMODE(about.st_mode))
            os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
            calls.fsync(target)
        finally:
            calls.close(target)
        calls.rename(temporary, path + gzipped.SUFFIX)
    except OSError:
        _remove(temporary, calls)
        raise
    folder = calls.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        calls.fsync(folder)
    finally:
        calls.close(folder)


def _copy(source: int, target: int, about: os.stat_result, calls: Calls) -> None:
    packer = zlib.compressobj(6, zlib.DEFLATED, _WINDOW_BITS)
    head = gzipped.header(about.st_dev, about.st_ino, about.st_size, int(about.st_mtime))
    place = _put(target, head, 0, calls)
    checksum = read_bytes = 0
    while piece := calls.pread(source, _PIECE_BYTES, read_bytes):
        read_bytes += len(piece)
        checksum = zlib.crc32(piece, checksum)
        place = _put(target, packer.compress(piece), place, calls)
    place = _put(target, packer.flush(), place, calls)
    _put(target, gzipped.tail(checksum, read_bytes), place, calls)


def _put(target: int, data: bytes, place: int, calls: Calls) -> int:
    """Write *data* at *place*; return where the next goes."""
    view = memoryview(data)
    while view:
        count = calls.pwrite(target, view, place)
        if count <= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        view = view[count:]
        place += count
    return place


def _remove(path: str, calls: Calls) -> None:
    try:
        calls.unlink(path)
    except FileNotFoundError:
        return
