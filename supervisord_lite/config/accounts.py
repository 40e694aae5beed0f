"""Whom a worker runs as: names to numbers, looked up when the file is read.

Not when a worker starts: a look-up may ask a network, and the daemon makes no blocking call.
"""

from __future__ import annotations

import grp
import os
import pwd

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.config.spec import Grant, Identity

#: The last two user numbers mean "no user" to the kernel.
MAX_ID = 2**32 - 3

Name = str | int


class AccountError(SupervisordLiteError):
    """There is no such user or group, or only root may become it.

    Attributes:
        key: Which one: "user" or "group".
    """

    exit_code = exit_codes.CONFIGURATION

    def __init__(self, key: str, message: str, *, hint: str = "") -> None:
        """Take the *key* whose value is meant and what is wrong with it."""
        super().__init__(message, hint=hint)
        self.key = key


def identify(
    user: Name | None, group: Name | None, *, as_root: bool
) -> Identity | list[AccountError]:
    """Return the identity that `user` and `group` of a worker mean, or all that is wrong with them.

    Unknown ones are wrong, and without root others than the daemon's own.

    Args:
        user: A name or number; None: the daemon's own.
        group: A name or number; None: the primary group of the user.
        as_root: Whether the daemon will be root and can become anybody.
    """
    errors: list[AccountError] = []
    entry = gid = None
    try:
        entry = _own_entry() if user is None else _user_entry(user)
        gid = entry.pw_gid
        if not as_root and entry.pw_uid != os.geteuid():
            message = f'only root can run a worker as "{entry.pw_name}"'
            hint = "run the daemon as root, or leave user out"
            errors.append(AccountError("user", message, hint=hint))
    except AccountError as error:
        errors.append(error)
    try:
        gid = gid if group is None else _gid(group)
        if not as_root and gid not in (None, os.getegid()) and (group is not None or not errors):
            message = f"only root can run a worker with group {gid}"
            errors.append(AccountError("group" if group is not None else "user", message))
    except AccountError as error:
        errors.append(error)
    if errors or entry is None or gid is None:
        return errors
    return _identity(entry, gid)


def _identity(entry: pwd.struct_passwd, gid: int) -> Identity:
    groups = sorted({*os.getgrouplist(entry.pw_name, gid), gid})
    return Identity(
        uid=entry.pw_uid,
        gid=gid,
        groups=tuple(groups),
        user=entry.pw_name,
        home=entry.pw_dir or "/",
        shell=entry.pw_shell or "/bin/sh",
    )


def grant(name: str) -> Grant:
    """Return whom *name* means in a list of rights: "anna", "@deploy" (a group), "*" (anybody).

    Raises:
        AccountError: There is no such user or group.
    """
    if name == "*":
        return Grant(name)
    if name.startswith("@"):
        return Grant(name, gid=_gid(name[1:]))
    return Grant(name, uid=_user_entry(name).pw_uid)


def _user_entry(user: Name) -> pwd.struct_passwd:
    try:
        if isinstance(user, str) and not _is_number(user):
            return pwd.getpwnam(user)
        return pwd.getpwuid(int(user))
    except KeyError:
        message = f"there is no user {user}"
        raise AccountError("user", message) from None


def _own_entry() -> pwd.struct_passwd:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # a container that runs as a number
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", "/", "/bin/sh"))


def _gid(group: Name) -> int:
    try:
        if isinstance(group, str) and not _is_number(group):
            return grp.getgrnam(group).gr_gid
        return grp.getgrgid(int(group)).gr_gid
    except KeyError:
        message = f"there is no group {group}"
        raise AccountError("group", message) from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))


def user_name(uid: int) -> str:
    """Return the name of a user, for people; the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, for people; the number where there is none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
