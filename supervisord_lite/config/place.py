"""Addresses to listen on: "HOST:PORT". A host is looked up when the file is read."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.values import name_of

if TYPE_CHECKING:
    from supervisord_lite.config.tree import Node
    from supervisord_lite.config.values import Reader

_PLACE = re.compile(r"(?P<host>[^\s:/\[\]]*|\[[0-9A-Fa-f:.]+\]):(?P<port>[^\s:/\[\]]+)")
_EXPECTED = 'an address such as "127.0.0.1:8000" or "[::]:8000"'


def read_place(
    reader: Reader, node: Node, text: str, *, pool_size: int = 1, expected: str = _EXPECTED
) -> tuple[str, str] | None:
    """Return the host in digits (empty: all of this machine) and the port; None: noted as wrong.

    Args:
        reader: Takes the problems.
        node: Where *text* stands.
        text: "HOST:PORT"; the port may count instances (%i).
        pool_size: The port is judged for the last instance too.
        expected: What to say where it is no address at all.
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        reader.wrong(node, expected)
        return None
    host = _host(reader, node, found["host"])
    if host is None or not _is_port(reader, node, found["port"], pool_size):
        return None
    return host, found["port"]


def _host(reader: Reader, node: Node, host: str) -> str | None:
    host = host.strip("[]")
    if not host:
        return ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host at all, as "a..b"
        why = getattr(error, "strerror", None) or error
        reader.at_value(node, f"{name_of(node.path)}: {host}: {why}")
        return None
    return str(found[0][4][0])


def _is_port(reader: Reader, node: Node, text: str, pool_size: int) -> bool:
    for index in (1, pool_size):
        port = instance_text(text, index)
        if not (port.isascii() and port.isdigit() and 1 <= int(port[:9]) <= 65535):
            reader.at_value(node, f"{name_of(node.path)}: {port} is not a port", "from 1 to 65535")
            return False
    return True
