"""The way to a file that stands where others may write: nobody leads us astray on it.

A daemon of root writes logs into, and reads secrets from, folders of the users that it runs workers
as. Whoever may write into a folder may put a link there, in place of a file or of a folder on the
way to it, at any moment; and what is then written, renamed, removed or handed on is root's doing.

So a folder is opened first, wherever its path leads, and then judged: which one was opened is
asked of the kernel, and each link that leads there must be one that only root or we could have put
where it stands. What is to be done is done below that descriptor: nobody can change the way then.
Who swaps a link for a folder while we look gets a refusal: what was opened is not what was found.

A link of root's in root's folder (/var/log, say) is as good as no link. What is missed by looking
at links alone is a file that has two names: in a folder where others may write, a file with a
second name, or of a third user, is refused.
"""

from __future__ import annotations

import errno
import os
import stat

_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
#: As the kernel has it: path_resolution(7).
_MOST_LINKS = 40


class LedAstrayError(OSError):
    """Others may have led us there: ELOOP, by a link; EPERM, by a file with two names or owners."""


def open_folder(path: str) -> int:
    """Return a descriptor (O_PATH) of a folder to which nobody has led us.

    Raises:
        OSError: There is none.
        LedAstrayError: The path is not absolute, or a link on the way is not to be trusted.
    """
    folder = os.open(path or ".", _PLACE)
    try:
        trust(folder, path)
    except OSError:
        os.close(folder)
        raise
    return folder


def trust(place: int, path: str) -> None:
    """Judge the way that has led to what is open.

    Args:
        place: A descriptor of any kind.
        path: By which it was opened; absolute.

    Raises:
        OSError: The way is not there any more.
        LedAstrayError: A link on it is not to be trusted, or it was changed just now; or the path
            is from where we are: of the way to there nothing can be said.
    """
    if not path.startswith("/"):
        raise LedAstrayError(errno.EINVAL, "Is not an absolute path", path)
    real = os.readlink(f"/proc/self/fd/{place}")
    if real != path and _followed(path) != real:  # else no link was followed
        raise _changed(path)


def _changed(path: str) -> LedAstrayError:
    return LedAstrayError(errno.ELOOP, "The way to it was changed just now", path)


def _followed(path: str) -> str:
    """Return where a path leads.

    Raises:
        OSError: It leads nowhere.
        LedAstrayError: It leads there by a link that is not to be trusted.
    """
    todo = path.split("/")[::-1]
    done = ""
    links = 0
    while todo:
        part = todo.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        step = f"{done}/{part}"
        status = os.lstat(step)
        if not stat.S_ISLNK(status.st_mode):
            done = step
            continue
        links += 1
        if links > _MOST_LINKS or not _is_ours(status) or others_may_write(os.stat(done or "/")):
            message = f"{step} is a link, and others may change it"
            raise LedAstrayError(errno.ELOOP, message, path)
        target = os.readlink(step)
        if target.startswith("/"):
            done = ""
        todo += target.split("/")[::-1]
    return done or "/"


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in {0, os.geteuid()}


def others_may_write(folder: os.stat_result) -> bool:
    """Return whether others than root and we may put another thing in place of one in a folder.

    In a sticky one they may do so only with what is their own.
    """
    return not _is_ours(folder) or (is_open(folder) and not folder.st_mode & stat.S_ISVTX)


def is_open(folder: os.stat_result) -> bool:
    """Return whether its mode lets others than root and we write into a folder."""
    of_others = folder.st_mode & stat.S_IWGRP and folder.st_gid not in {0, os.getegid()}
    return bool(of_others or folder.st_mode & stat.S_IWOTH)


def refuse_foreign(file: os.stat_result, folder: os.stat_result, path: str) -> None:
    """Refuse a regular file that somebody else may have led us to without any link.

    Args:
        file: It.
        folder: Where it stands.
        path: Of the file, for people.

    Raises:
        LedAstrayError: It has another name elsewhere, or is a third user's.
    """
    if not stat.S_ISREG(file.st_mode):
        return
    may_make = folder.st_mode & stat.S_IWOTH or not _is_ours(folder)
    if may_make and not (_is_ours(file) or file.st_uid == folder.st_uid):
        message = f"Belongs to uid {file.st_uid}, in a folder where others may write"
        raise LedAstrayError(errno.EPERM, message, path)
    if others_may_write(folder) and file.st_nlink > 1:
        message = "Has another name too, in a folder where others may write"
        raise LedAstrayError(errno.EPERM, message, path)


def judge_file(place: int, path: str) -> None:
    """Judge a file that is open, and the way that has led to it.

    Args:
        place: A descriptor of any kind.
        path: By which it was opened; absolute.

    Raises:
        OSError: The way is not there any more.
        LedAstrayError: Others may have led us there.
    """
    trust(place, path)
    folder, name = os.path.split(os.readlink(f"/proc/self/fd/{place}"))
    inside = os.open(folder, _PLACE | os.O_NOFOLLOW)
    try:
        # Another folder by now, which would be judged in place of the one that it stands in?
        found = os.stat(name, dir_fd=inside, follow_symlinks=False)
        is_there = os.readlink(f"/proc/self/fd/{inside}") == folder
        if not is_there or not os.path.samestat(found, os.fstat(place)):
            raise _changed(path)
        refuse_foreign(os.fstat(place), os.fstat(inside), path)
    finally:
        os.close(inside)


# -- what is done at the end of the way; each is called as its namesake in `os` --------------------


def open_file(path: str, flags: int, mode: int = 0o777) -> int:
    """Return a descriptor of a file, never by a link that others may have put there.

    Args:
        path: Absolute.
        flags: As of open(2); with O_NOFOLLOW, or the last part may be any link.
        mode: Of a new file.

    Raises:
        OSError: As of open(2), `trust` and `refuse_foreign`.
    """
    folder, name = os.path.split(path)
    inside = open_folder(folder)
    try:
        descriptor = os.open(name or ".", flags, mode, dir_fd=inside)
        try:
            refuse_foreign(os.fstat(descriptor), os.fstat(inside), path)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        os.close(inside)


def rename(path: str, other: str) -> None:
    """Give another name to what has one, in the same folder."""
    folder, name = os.path.split(path)
    above, new = os.path.split(other)
    assert folder == above, (path, other)
    inside = open_folder(folder)
    try:
        os.rename(name, new, src_dir_fd=inside, dst_dir_fd=inside)
    finally:
        os.close(inside)


def unlink(path: str) -> None:
    """Take a name away."""
    folder, name = os.path.split(path)
    inside = open_folder(folder)
    try:
        os.unlink(name, dir_fd=inside)
    finally:
        os.close(inside)


def mkdir(path: str, mode: int = 0o777) -> None:
    """Make a folder."""
    folder, name = os.path.split(path.rstrip("/"))
    inside = open_folder(folder)
    try:
        os.mkdir(name, mode, dir_fd=inside)
    finally:
        os.close(inside)


def listdir(path: str) -> list[str]:
    """Return the names in a folder."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        trust(folder, path)
        return os.listdir(folder)
    finally:
        os.close(folder)
