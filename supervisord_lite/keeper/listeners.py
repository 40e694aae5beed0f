"""Listening sockets of workers: opened once, held while their workers come and go.

A connection that comes while no process of the pool is there waits in the backlog: nobody is
refused. A socket is opened when the first process that wants it is started, and closed when the
supervisor says that no worker in force has it any more (`keep`), or has another one at the same
place. Those that systemd has handed to the daemon are never closed.

A unix socket whose name was deleted or is somebody else's stays that of the processes that have it;
the next one that is started has another, which has the name. What is not ours is not removed.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from supervisord_lite.base import way
from supervisord_lite.keeper.spawn import StageError, cause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from supervisord_lite.keeper.calls import Calls


class Listeners:
    """Every socket that is held, by the key that the supervisor gives it."""

    def __init__(self, calls: Calls, inherited: Mapping[str, int]) -> None:
        """Begin with those that systemd has handed on, by name."""
        self._calls = calls
        self._inherited = inherited
        self._held: dict[str, tuple[dict[str, Any], socket.socket]] = {}
        # Of the names of unix sockets: device and inode, which are theirs while they are open.
        self._inodes: dict[str, tuple[int, int]] = {}

    def open(self, wanted: Iterable[dict[str, Any]]) -> dict[int, int]:
        """Return where a process finds its sockets: descriptor there -> ours.

        Raises:
            StageError: One of them cannot be had.
        """
        return {each["fd"]: self._descriptor(each) for each in wanted if each["kind"] != "private"}

    def _descriptor(self, each: dict[str, Any]) -> int:
        if each["kind"] == "systemd":
            if each["place"] not in self._inherited:
                names = ", ".join(self._inherited) or "none"
                reason = f'systemd has handed on no socket "{each["place"]}" ({names})'
                raise StageError("socket", reason, hopeless=True)
            return self._inherited[each["place"]]
        about = {key: each[key] for key in ("kind", "host", "place", "mode", "uid", "gid")}
        held = self._held.get(each["key"])
        if held is not None and held[0] == about and self._has_name(each["key"]):
            self._calls.listen(held[1], each["backlog"])
            return held[1].fileno()
        self._close(each["key"])
        try:
            own = self._listen(each)
        except OSError as error:
            raise StageError("socket", f"{cause(error)}: {_shown(each)}") from None
        self._held[each["key"]] = (about, own)
        if each["kind"] == "unix" and (inode := _inode(each["place"])) is not None:
            self._inodes[each["key"]] = inode
        return own.fileno()

    def _has_name(self, key: str) -> bool:
        """Return whether what stands under the name of a socket is that socket, if it has a name.

        Of a keeper before this one we do not know what stood there.
        """
        inode = self._inodes.get(key)
        return inode is None or inode == _inode(self._held[key][0]["place"])

    def _listen(self, each: dict[str, Any]) -> socket.socket:
        own = (
            self._unix(each)
            if each["kind"] == "unix"
            else listen_tcp(each["host"], int(each["place"]), self._calls)
        )
        try:
            self._calls.listen(own, each["backlog"])
        except BaseException:
            own.close()
            raise
        return own

    def _unix(self, each: dict[str, Any]) -> socket.socket:
        path = each["place"]
        _clear(path)
        own = self._calls.new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._calls.fchmod(own.fileno(), each["mode"])  # before it has a name
            umask = self._calls.umask(0)
            try:
                self._calls.bind(own, path)
            finally:
                self._calls.umask(umask)
            if each["uid"] is not None or each["gid"] is not None:
                uid, gid = (
                    -1 if number is None else number for number in (each["uid"], each["gid"])
                )
                self._give(path, uid, gid)
        except BaseException:
            own.close()
            raise
        return own

    def _give(self, path: str, uid: int, gid: int) -> None:
        # By its inode: whoever may write in that folder may have put something else in its place.
        inode = way.open_file(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISSOCK(os.fstat(inode).st_mode):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            self._calls.chown(f"/proc/self/fd/{inode}", uid, gid)
        finally:
            self._calls.close(inode)

    def keep(self, keys: Iterable[str]) -> None:
        """Close all that no worker in force has any more."""
        for key in self._held.keys() - set(keys):
            self._close(key)

    def pack(self, keep: Callable[[int], int]) -> list[dict[str, Any]]:
        """Return what is held as JSON; *keep* is called with each descriptor."""
        return [
            {
                "key": key, "about": about, "descriptor": keep(own.fileno()),
                **({"inode": self._inodes[key]} if key in self._inodes else {}),
            }
            for key, (about, own) in self._held.items()
        ]  # fmt: skip

    def unpack(self, said: list[dict[str, Any]]) -> None:
        """Go on with what was packed."""
        for each in said:
            own = socket.socket(fileno=each["descriptor"])
            self._held[each["key"]] = (each["about"], own)
            if "inode" in each:
                self._inodes[each["key"]] = each["inode"][0], each["inode"][1]

    def close(self) -> None:
        """The daemon ends: leave no path behind."""
        for key in list(self._held):
            self._close(key)

    def _close(self, key: str) -> None:
        if key not in self._held:
            return
        is_ours = self._has_name(key)
        self._inodes.pop(key, None)
        about, own = self._held.pop(key)
        if about["kind"] == "unix" and is_ours:
            self._remove(about["place"])
        own.close()

    def _remove(self, path: str) -> None:
        try:
            self._calls.unlink(path)
        except OSError:
            return  # somebody has taken it away, or put it elsewhere


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def listen_tcp(host: str, port: int, calls: Calls) -> socket.socket:
    """Return a socket that is bound to an address in digits; empty: all of this machine.

    Raises:
        OSError: It cannot be had.
    """
    family = socket.AF_INET if "." in host else socket.AF_INET6
    try:
        own = calls.new_socket(family, socket.SOCK_STREAM)
    except OSError:
        if host:
            raise
        # All addresses, on a machine without IPv6.
        family, host = socket.AF_INET, "0.0.0.0"  # noqa: S104  # asked for
        own = calls.new_socket(family, socket.SOCK_STREAM)
    try:
        calls.setsockopt(own, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            calls.setsockopt(own, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        calls.bind(own, (host or "::", port))
    except BaseException:
        own.close()
        raise
    return own


def _clear(path: str) -> None:
    """Take away a socket that nobody listens on; a dead daemon left it.

    Raises:
        OSError: Somebody answers there.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return  # bind will say what is wrong
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def _shown(each: dict[str, Any]) -> str:
    if each["kind"] == "unix":
        return str(each["place"])
    host = f"[{each['host']}]" if ":" in each["host"] else each["host"] or "[::]"
    return f"{host}:{each['place']}"
