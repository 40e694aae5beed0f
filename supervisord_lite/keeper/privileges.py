"""Giving up privileges: the stages "capabilities", "groups", "group", "user", "no_new_privs".

Theory of operation
===================

Carried out in the child that becomes the worker, or the forkserver, whose forks have what it has.
The order was measured, and is the only one that works:

1. the bounding set, while there is a right to change it: what a program with file capabilities, a
   setuid program or root itself can get at all;
2. groups, then gid, then uid: setuid first makes setgid fail, and without setgroups root's groups
   stay. Capabilities that are kept outlive the change of the uid (PR_SET_KEEPCAPS);
3. permitted, effective and inheritable: nothing but what is kept. For a user what is kept becomes
   ambient, or exec would lose it; for root exec brings back the bounding set, which is the same;
4. no_new_privs, behind all that needs a privilege;
5. all of it is read back: whatever the kernel said, a worker that has more than it should does not
   start.

===========================  =========================  =========================================
the worker is                nothing is said            `capabilities` is said
===========================  =========================  =========================================
root, or the daemon's user   has what the daemon has    has these, and no program gets others
another user                 has none; setuid programs  has these; others no program can get
                             work
===========================  =========================  =========================================

Without CAP_SETPCAP nobody can shrink the bounding set. A user's worker starts all the same, for it
has no more than it should; a setuid program is then what `no_new_privs` is for. Root's does not.
A capability that the daemon has not itself is an error that no retry heals.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from supervisord_lite.base.capabilities import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

# linux/prctl.h, linux/capability.h
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_PR_CAP_AMBIENT = 47
_AMBIENT_RAISE = 2
_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")
#: Twice effective, permitted, inheritable: the lower 32 bits, then the others.
_SETS = struct.Struct("=6I")
_SETUID = 1 << NAMES.index("CAP_SETUID")

_libc = ctypes.CDLL(None, use_errno=True)


class GivingUpError(Exception):
    """The kernel did not do, or does not have, what was asked; no retry heals it."""


class Sets:
    """The capabilities of this process: bit N of each stands for number N."""

    def __init__(self) -> None:
        """Read them.

        Raises:
            OSError: The kernel refused.
        """
        data = ctypes.create_string_buffer(_SETS.size)
        header = ctypes.create_string_buffer(_HEADER.pack(_VERSION_3, 0), _HEADER.size)
        _check(_libc.capget(header, data))
        low_e, low_p, low_i, high_e, high_p, high_i = _SETS.unpack(data.raw)
        self.effective = low_e | high_e << 32
        self.permitted = low_p | high_p << 32
        self.inheritable = low_i | high_i << 32
        self.bounding = sum(1 << number for number in _numbers() if _is_bounding(number))


def give_up(request: dict[str, Any]) -> Iterator[str]:
    """Give up, in this process, what a request wants it to, and look whether it has.

    Yields the name of each stage before that is carried out: whoever calls goes through all.

    Args:
        request: identity (uid, gid, groups) or None, privileges (capabilities, no_new_privs) or
            None.

    Raises:
        OSError: The kernel refused.
        GivingUpError: See there.
    """
    identity, privileges = request["identity"], request.get("privileges") or {}
    names, kept = privileges.get("capabilities"), None
    uid = identity["uid"] if identity else os.geteuid()
    if names is not None:
        yield "capabilities"
        kept = _bits(names)
        _bound(kept, is_root=uid == 0)
        _prctl(_PR_SET_KEEPCAPS, int(uid != 0))
    if identity:
        yield "groups"
        os.setgroups(identity["groups"])
        yield "group"
        os.setresgid(identity["gid"], identity["gid"], identity["gid"])
        yield "user"
        os.setresuid(uid, uid, uid)
    if kept is not None:
        yield "capabilities"
        _keep(kept, is_root=uid == 0)
    if privileges.get("no_new_privs"):
        yield "no_new_privs"
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        if _prctl(_PR_GET_NO_NEW_PRIVS) != 1:
            message = "the kernel did not keep it"
            raise GivingUpError(message)
    if identity:
        yield "user"
        _verify_dropped(uid, identity["gid"], kept or 0)


def _bits(names: Iterable[str]) -> int:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        message = f"{unknown[0]}: not known here"
        raise GivingUpError(message)
    return sum(1 << NAMES.index(name) for name in names)


def _bound(kept: int, *, is_root: bool) -> None:
    """Take from the bounding set what is not kept."""
    have = Sets()
    lacking = [name for number, name in enumerate(NAMES) if kept & ~have.permitted & 1 << number]
    if lacking:
        message = (
            f"the daemon does not have {lacking[0]} itself: see CapabilityBoundingSet= and "
            "AmbientCapabilities= of its unit"
        )
        raise GivingUpError(message)
    for number in _numbers():
        if have.bounding & ~kept & 1 << number:
            try:
                _prctl(_PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno != errno.EPERM:
                    raise
                if not is_root:
                    return
                message = "the daemon lacks CAP_SETPCAP, and may not take any from root"
                raise GivingUpError(message) from None


def _keep(kept: int, *, is_root: bool) -> None:
    """Have the capabilities of *kept* and no other, also behind the next exec."""
    inheritable = 0 if is_root else kept
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = _SETS.pack(low, low, inheritable & 0xFFFFFFFF, high, high, inheritable >> 32)
    header = ctypes.create_string_buffer(_HEADER.pack(_VERSION_3, 0), _HEADER.size)
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    _check(_libc.capset(header, ctypes.create_string_buffer(data, _SETS.size)))
    for number in _numbers():
        if inheritable & 1 << number:
            _prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number)
    have = Sets()
    is_bound = not have.bounding & ~kept
    if (have.permitted, have.inheritable) != (kept, inheritable) or (is_root and not is_bound):
        message = f"others are left than those that are kept: {have.permitted:#x}, not {kept:#x}"
        raise GivingUpError(message)


def _verify_dropped(uid: int, gid: int, kept: int) -> None:
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3:
        message = "it would run as another user or group"
        raise GivingUpError(message)
    if uid == 0 or kept & _SETUID:
        return
    try:
        os.setuid(0)
    except OSError:
        return
    message = "root could be had back after giving it up"
    raise GivingUpError(message)


def _numbers() -> range:
    """Return the numbers of all capabilities that this kernel can have."""
    return range(64)


def _is_bounding(number: int) -> bool:
    try:
        return _prctl(_PR_CAPBSET_READ, number) == 1
    except OSError:  # of a later kernel than this one
        return False


def _prctl(option: int, first: int = 0, second: int = 0) -> int:
    return _check(_libc.prctl(option, *map(ctypes.c_ulong, (first, second, 0, 0))))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
