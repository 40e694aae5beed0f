"""The sockets of a worker: which addresses the daemon listens on for it.

Names of hosts are looked up when the file is read, like those of users: a look-up may ask a
network, and the daemon makes no blocking call.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisord_lite.config.accounts import AccountError, identify
from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.place import read_place
from supervisord_lite.config.spec import MAX_SOCKET_PATH_BYTES, Socket
from supervisord_lite.config.values import instance_path, name_of, shown
from supervisord_lite.config.words import did_you_mean

if TYPE_CHECKING:
    from supervisord_lite.config.spec import Identity
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

_KEYS = ("listen", "mode", "owner", "group", "backlog", "fd")
_KINDS = 'an address: "HOST:PORT", "unix:PATH", "systemd:NAME" or "private"'
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_MODE = re.compile(r"(?:0o)?[0-7]{3,4}")
_BACKLOG = 4096
#: The first descriptor that is handed on, and how many there may be.
FIRST_FD = 3
_MOST = 64
_MAX_FD = 255


def read_sockets(
    reader: Reader, table: Table, identity: Identity | None, *, pool_size: int, as_root: bool
) -> tuple[Socket, ...]:
    """Return the sockets of a worker in the order of the file, descriptors given to each.

    Args:
        reader: Takes the problems.
        table: The worker's keys.
        identity: Whom it runs as: the owner of its unix sockets where no other is named.
        pool_size: Addresses of instances are judged for the last one too.
        as_root: Whether the daemon will be root.
    """
    found: list[Socket] = []
    for name, node in reader.table(table, "sockets").items():
        if not _NAME.fullmatch(name):
            reader.at_key(
                node, f"{shown(name)} cannot be the name of a socket", "letters, digits, _ . -"
            )
            continue
        inner = node.table() or {}
        for key, item in inner.items():
            if key not in _KEYS:
                near = did_you_mean(key, _KEYS)
                hint = f'did you mean "{near}"?' if near else ""
                reader.at_key(item, f'unknown key "{key}" in {name_of(node.path)}', hint)
        listen = inner.get("listen") if node.table() is not None else node
        if listen is None:
            reader.at_value(node, f"{name_of(node.path)}: where?", f"listen = {_KINDS[12:]}")
            continue
        made = _read(reader, name, listen, inner, identity, pool_size, as_root=as_root)
        if made is not None:
            found.append(made)
    if len(found) > _MOST:
        reader.at_key(table["sockets"], f"more than {_MOST} sockets")
    return _numbered(reader, table, found)


def _read(
    reader: Reader,
    name: str,
    listen: Node,
    inner: Table,
    identity: Identity | None,
    pool_size: int,
    *,
    as_root: bool,
) -> Socket | None:
    text = reader.checked_text(listen)
    if text is None:
        return None
    kind, host, place = "", "", ""
    if text == "private":
        kind = "private"
    elif text.startswith("unix:"):
        kind, place = "unix", instance_path(listen, text.removeprefix("unix:"))
        for index in (1, pool_size):
            if len(instance_text(place, index).encode()) > MAX_SOCKET_PATH_BYTES:
                message = f"the path of a socket may have {MAX_SOCKET_PATH_BYTES} bytes"
                reader.at_value(listen, message)
                return None
    elif text.startswith("systemd:") and _NAME.fullmatch(text.removeprefix("systemd:")):
        kind, place = "systemd", text.removeprefix("systemd:")
    else:
        found = read_place(reader, listen, text, pool_size=pool_size, expected=_KINDS)
        if found is None:
            return None
        kind, (host, place) = "tcp", found
    uid, gid = _owner(reader, inner, identity, as_root=as_root) if kind == "unix" else (None, None)
    for key in ("mode", "owner", "group"):
        if kind != "unix" and key in inner:
            reader.at_key(inner[key], f"{key}: only a unix socket has one")
    return Socket(
        name=name,
        kind=kind,  # type: ignore[arg-type]  # one of four
        host=host,
        place=place,
        mode=_mode(reader, inner),
        uid=uid,
        gid=gid,
        backlog=reader.whole(inner, "backlog", _BACKLOG, least=1, most=65535),
        fd=reader.whole(inner, "fd", -1, least=0, most=_MAX_FD),
    )


def _mode(reader: Reader, inner: Table) -> int:
    node = inner.get("mode")
    if node is None:
        return 0o660
    if isinstance(node.value, str) and _MODE.fullmatch(node.value):
        return int(node.value.removeprefix("0o"), 8)
    reader.wrong(node, 'octal digits such as "0660"')
    return 0o660


def _owner(
    reader: Reader, inner: Table, identity: Identity | None, *, as_root: bool
) -> tuple[int | None, int | None]:
    own = (None, None) if identity is None else (identity.uid, identity.gid)
    user, group = (_number(reader.text(inner, key, None)) for key in ("owner", "group"))
    if user is None and group is None:
        return own
    found = identify(user, group, as_root=as_root)
    if isinstance(found, list):
        for error in found:
            key = "owner" if error.key == "user" and "owner" in inner else error.key
            _note(reader, inner.get(key) or next(iter(inner.values())), error)
        return own
    return (own[0] if user is None else found.uid), (own[1] if group is None else found.gid)


def _number(name: str | None) -> str | int | None:
    """Return a name, or the number that it is."""
    return int(name) if name and name.isascii() and name.isdigit() else name


def _note(reader: Reader, node: Node, error: AccountError) -> None:
    reader.at_value(node, f"{name_of(node.path)}: {error}", error.hint)


def _numbered(reader: Reader, table: Table, found: list[Socket]) -> tuple[Socket, ...]:
    """Give each a descriptor: those that name none count up from 3, as sd_listen_fds(3) has it."""
    asked = [each.fd for each in found if each.fd >= 0]
    if len(set(asked)) < len(asked):
        reader.at_key(table["sockets"], "two sockets have the same fd")
    free = (number for number in range(FIRST_FD, FIRST_FD + _MAX_FD) if number not in asked)
    return tuple(each if each.fd >= 0 else each.at(next(free)) for each in found)
