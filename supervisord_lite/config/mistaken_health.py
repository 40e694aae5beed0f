"""Probes that ask the wrong process: known only when all workers are.

A socket that the daemon holds takes connections while no worker lives, so a `tcp` probe of it
proves nothing: an error. An `http` probe of a socket that several processes share is answered by
any of them, so a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.health import remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisord_lite.config.spec import Health, Spec
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

_ALL = ("", "0.0.0.0", "::")  # noqa: S104  # compared with
_HTTP_PORT = "80"

#: Port -> (host, pool, instances that share it) of each socket that the daemon holds.
Held = dict[str, list[tuple[str, str, int]]]


def check_health(reader: Reader, specs: Iterable[Spec], tables: Mapping[str, Table]) -> None:
    """Note probes that do not ask the process that they are about.

    Args:
        reader: Takes problems and warnings.
        specs: All workers.
        tables: Their keys.
    """
    specs = list(specs)
    asked = [spec for spec in specs if spec.health is not None and spec.health.kind != "exec"]
    if not asked:
        return
    held = _held(specs)
    for spec in asked:
        health = spec.health
        assert health is not None
        if health.socket:
            continue
        node = (tables[spec.pool]["health"].table() or {})[health.kind]
        found = _found(held, spec, health)
        if found is None:
            _one_for_all(reader, node, spec, health)
        elif health.kind == "tcp":
            message = (
                f"health.tcp: the daemon holds this socket for {found[0]}: it takes connections "
                "also while no process lives"
            )
            reader.clash(node, message, remedy(health))
        else:
            _shared(reader, node, spec, health, found)


def _held(specs: Iterable[Spec]) -> Held:
    held: Held = {}
    for spec in specs:
        for each in spec.launch.sockets:
            if each.kind == "tcp":
                ports = [instance_text(each.place, i) for i in range(1, spec.pool_size + 1)]
                for port in dict.fromkeys(ports):
                    entry = (each.host, spec.pool, ports.count(port) if len(ports) > 1 else 1)
                    held.setdefault(port, []).append(entry)
    return held


def _found(held: Held, spec: Spec, health: Health) -> tuple[str, int] | None:
    """Return whose socket a probe asks, and how many share it; None: none of ours."""
    for index in range(1, spec.pool_size + 1):
        port = instance_text(health.port or _HTTP_PORT, index)
        for host, pool, sharing in held.get(port, ()):
            if host in _ALL or host in health.addresses:
                return pool, sharing
    return None


def _shared(reader: Reader, node: Node, spec: Spec, health: Health, found: tuple[str, int]) -> None:
    pool, sharing = found
    if pool != spec.pool:
        message = f"health.http asks the socket of {pool}, not of {spec.pool}"
    elif sharing > 1:
        message = (
            f"health.http asks a socket that {sharing} instances share: another one may answer"
        )
    elif spec.max_surge:
        message = (
            "health.http asks a socket that the old process and the new one share while one takes "
            "over from the other: either may answer"
        )
    else:
        return
    reader.warn(node, message, remedy(health))


def _one_for_all(reader: Reader, node: Node, spec: Spec, health: Health) -> None:
    port = health.port or _HTTP_PORT
    if spec.pool_size > 1 and instance_text(port, 1) == instance_text(port, 2):
        path_differs = instance_text(health.path, 1) != instance_text(health.path, 2)
        if path_differs:
            return
        message = f"health.{health.kind}: all {spec.pool_size} instances ask the same port"
        start = port if port.isdigit() else "8000"
        hint = f"%{{{start}..}} gives each its own"
        reader.warn(node, message, f"{hint}; or {remedy(health)}")
