"""The keys `health.*` of a worker: how it is asked whether it works.

Names of hosts are looked up when the file is read: the daemon makes no blocking call.
"""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.launch import read_command
from supervisord_lite.config.spec import Health
from supervisord_lite.config.values import name_of, own, shown
from supervisord_lite.config.words import did_you_mean
from supervisord_lite.core.probing import Pace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisord_lite.config.spec import Socket
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

KINDS = ("http", "tcp", "exec")
_URL = re.compile(
    r"http://(?P<host>[^\s:/?#@\[\]%]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[^\s:/?#@]+))?"
    r"(?P<path>[/?]\S*)?"
)
_OF_SOCKET = re.compile(r"(?P<socket>[A-Za-z0-9_.-]{1,100}):(?P<path>/(?!/)\S*)")
_ADDRESS = re.compile(r"(?P<host>[^\s:/\[\]%]*|\[[0-9A-Fa-f:.]+\]):(?P<port>[^\s:/\[\]]+)")
_HTTP_FORMS = '"http://HOST:PORT/PATH" or "SOCKET:/PATH"'
_TCP_FORMS = 'an address such as "127.0.0.1:8000" or "[::1]:8000"'
_MAX_FAILURES = 1000
#: Of one name: so many are tried, one after the other.
_MAX_ADDRESSES = 4
#: A probe travels in one message with the worker's environment.
_MAX_ARGV_BYTES = 8 * 1024
_DEFAULT = Pace()


def read_health(
    reader: Reader, table: Table, sockets: Iterable[Socket], *, pool_size: int
) -> Health | None:
    """Return how a worker is asked; None: it is not.

    Args:
        reader: Takes the problems.
        table: The worker's keys, those of [defaults] merged in.
        sockets: Of the worker.
        pool_size: Ports of instances are judged for the last one too.
    """
    keys = reader.table(table, "health")
    pace = Pace(
        interval_s=reader.duration(keys, "interval", _DEFAULT.interval_s),
        timeout_s=reader.duration(keys, "timeout", _DEFAULT.timeout_s),
        failures=reader.whole(keys, "failures", _DEFAULT.failures, least=1, most=_MAX_FAILURES),
    )
    kinds = [kind for kind in KINDS if kind in keys]
    if len(kinds) > 1:
        names = " and ".join(f"health.{kind}" for kind in kinds)
        reader.clash(keys[kinds[1]], f"{names}: a worker is asked in one way", "keep one of them")
    elif not kinds:
        node = next(filter(None, (own(keys, key) for key in keys)), None)
        if node is not None and keys.keys() <= {"interval", "timeout", "failures"}:
            hint = 'health.http = "http://HOST:PORT/PATH", health.tcp or health.exec'
            reader.clash(node, f"{name_of(node.path)}: it is not said what to ask", hint)
        return None
    if table.get("ready") is not None and table["ready"].value == "exit":
        message = 'ready = "exit" is a job that ends: nobody asks it whether it works'
        reader.clash(keys[kinds[0]], message, "run_timeout ends one that hangs")
    node = keys[kinds[0]]
    if kinds[0] == "http":
        return _http(reader, node, pace, sockets, pool_size)
    if kinds[0] == "tcp":
        return _tcp(reader, node, pace, pool_size)
    return _exec(reader, node, pace)


def _exec(reader: Reader, node: Node, pace: Pace) -> Health | None:
    argv = read_command(reader, node)
    if len(json.dumps(argv)) > _MAX_ARGV_BYTES:
        message = f"health.exec: the command line is longer than {_MAX_ARGV_BYTES} bytes"
        reader.at_value(node, message, "put it into a script")
        return None
    return Health("exec", pace, argv=argv) if argv else None


def _tcp(reader: Reader, node: Node, pace: Pace, pool_size: int) -> Health | None:
    text = reader.checked_text(node)
    if text is None:
        return None
    found = _ADDRESS.fullmatch(text)
    if found is None:
        reader.wrong(node, _TCP_FORMS)
        return None
    host = found["host"].strip("[]")
    addresses = _addresses(reader, node, host)
    if addresses is None or not _is_port(reader, node, found["port"], pool_size):
        return None
    return Health("tcp", pace, host=host, port=found["port"], addresses=addresses)


def _http(
    reader: Reader, node: Node, pace: Pace, sockets: Iterable[Socket], pool_size: int
) -> Health | None:
    text = reader.checked_text(node)
    if text is None:
        return None
    if text.lower().startswith("https://"):
        message = "health.http: the daemon itself speaks no TLS"
        hint = f'health.exec = ["curl", "-fsS", "-o", "/dev/null", {shown(text)}]'
        reader.at_value(node, message, hint)
        return None
    own, url = _OF_SOCKET.fullmatch(text), _URL.fullmatch(text)
    if own is not None and url is None:
        if not _is_private(reader, node, own["socket"], sockets):
            return None
        path = _path(reader, node, own["path"], pool_size)
        return None if path is None else Health("http", pace, socket=own["socket"], path=path)
    if url is None:
        hint = ""
        if "@" in text.partition("://")[2].partition("/")[0]:
            hint = 'a password is said by a program: health.exec = ["curl", "-fsS", …]'
        reader.wrong(node, _HTTP_FORMS, hint)
        return None
    host, port = url["host"].strip("[]"), url["port"] or ""
    path = url["path"] or "/"
    checked = _path(reader, node, path if path.startswith("/") else f"/{path}", pool_size)
    addresses = _addresses(reader, node, host)
    if checked is None or addresses is None:
        return None
    if port and not _is_port(reader, node, port, pool_size):
        return None
    return Health("http", pace, host=host, port=port, path=checked, addresses=addresses)


def _is_private(reader: Reader, node: Node, name: str, sockets: Iterable[Socket]) -> bool:
    """Whether *name* is a private socket of the worker; else that is noted."""
    known = {each.name: each for each in sockets}
    if name in known and known[name].kind == "private":
        return True
    private = [each.name for each in known.values() if each.kind == "private"]
    if name in known:
        message = f'health.http: the socket "{name}" is not private: another process may answer'
        reader.clash(node, message, _private_remedy("probe", "/"))
        return False
    near = did_you_mean(name, private) or (private[0] if len(private) == 1 else "")
    hint = f'did you mean "{near}:/…"?' if near else f'sockets.{name} = "private"'
    reader.clash(node, f'health.http: the worker has no private socket "{name}"', hint)
    return False


def _private_remedy(name: str, path: str) -> str:
    return f'sockets.{name} = "private" and health.http = "{name}:{path}"'


def remedy(health: Health) -> str:
    """Return how to ask the very process that is meant, for a hint."""
    return _private_remedy("probe", health.path or "/")


def _path(reader: Reader, node: Node, path: str, pool_size: int) -> str | None:
    for index in (1, pool_size):
        text = instance_text(path, index)
        if not (text.isascii() and text.isprintable()):
            message = f"health.http: {shown(text)}: a path is of ASCII characters"
            reader.at_value(node, message, "write others as %XX")
            return None
        if "#" in text:
            reader.at_value(node, "health.http: what is behind # is not sent to a server")
            return None
    return path


def _is_port(reader: Reader, node: Node, text: str, pool_size: int) -> bool:
    for index in (1, pool_size):
        port = instance_text(text, index)
        if not (port.isascii() and port.isdigit() and 1 <= int(port[:9]) <= 65535):
            reader.at_value(node, f"{name_of(node.path)}: {port} is not a port", "from 1 to 65535")
            return False
    return True


def _addresses(reader: Reader, node: Node, host: str) -> tuple[str, ...] | None:
    """Return the addresses of a host in digits, in the order in which they are tried."""
    if host in ("", "localhost"):
        return ("127.0.0.1", "::1")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        reader.at_value(node, f"{name_of(node.path)}: {host}: {why}")
        return None
    digits = dict.fromkeys(str(each[4][0]) for each in found)
    return tuple(digits)[:_MAX_ADDRESSES]
