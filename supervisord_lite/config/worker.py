"""[defaults] and [worker.NAME] become `Spec`s."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.keys import check_worker
from supervisord_lite.config.launch import LaunchReader
from supervisord_lite.config.policy import read_policy
from supervisord_lite.config.spec import Origin, Spec
from supervisord_lite.config.tree import Node, merge, widen_log
from supervisord_lite.config.values import shown

if TYPE_CHECKING:
    from supervisord_lite.config.locate import Path
    from supervisord_lite.config.spec import Settings
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader

MAX_POOL_SIZE = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_INSTANCE = re.compile(r"(.+)-([0-9]+)")
_RESERVED = ("all",)
_ONE = Node(1, ())


def read_specs(reader: Reader, top: Table, settings: Settings, *, as_root: bool) -> list[Spec]:
    """Return a spec for each worker of the whole file *top*, in file order."""
    launches = LaunchReader(reader, log_dir=settings.log_dir, as_root=as_root)
    defaults = reader.table(top, "defaults")
    widen_log(defaults)
    check_worker(reader, defaults, ("defaults",))
    _check_defaults(reader, defaults, launches)
    workers = reader.table(top, "worker") if _has_names(reader, top) else {}
    specs = []
    for name, node in workers.items():
        own = node.table()
        if own is None:
            tables = isinstance(node.value, list) and isinstance([*node.value, 0][0], dict)
            hint = f"write [worker.{name}]" if tables else "a worker begins with [worker.NAME]"
            reader.at_key(node.path, f'"{name}" of [worker] must be a table', hint)
            continue
        _check_name(reader, name, node.path)
        widen_log(own)
        check_worker(reader, own, node.path)
        if _is_only_a_dotted_name(reader, own, node.path):
            continue
        specs.append(_read_spec(reader, launches, name, merge(defaults, own), node.path))
    _check_instances(reader, workers)
    _check_log_files(reader, specs, workers)
    return specs


def _read_spec(reader: Reader, launches: LaunchReader, name: str, table: Table, path: Path) -> Spec:
    pool_size = reader.whole(table, "pool_size", 1, least=1, most=MAX_POOL_SIZE)
    return Spec(
        pool=name,
        pool_size=pool_size,
        policy=read_policy(reader, table),
        launch=launches.read(table, pool=name, pool_size=pool_size, header=path),
        origin=Origin(reader.source.file, reader.line(path)),
    )


def _check_defaults(reader: Reader, defaults: Table, launches: LaunchReader) -> None:
    """Note wrong values also where no worker uses them.

    What several keys mean together is known only with a worker's own keys.
    """
    reader.alone = True
    _read_spec(reader, launches, "NAME", {**defaults, "pool_size": _ONE}, ("defaults",))
    reader.whole(defaults, "pool_size", 1, least=1, most=MAX_POOL_SIZE)
    reader.alone = False


def _has_names(reader: Reader, top: Table) -> bool:
    """Whether [worker] is a table of workers, not a worker without a name or a list of them."""
    node = top.get("worker")
    if node is None:
        return False
    if isinstance(node.value, list):
        hint = "write [worker.NAME] for each"
        reader.at_key(node.path, "workers have names, not numbers", hint)
        return False
    return True


def _check_name(reader: Reader, name: str, path: Path) -> None:
    if name in _RESERVED:
        reader.at_key(path, f'"{name}" cannot be the name of a worker: verbs take it for all')
    elif not _NAME.fullmatch(name):
        message = f"{shown(name)} cannot be the name of a worker"
        hint = "letters, digits, _ and -, the first a letter or digit; at most 100"
        reader.at_key(path, message, hint)


def _is_only_a_dotted_name(reader: Reader, own: Table, path: Path) -> bool:
    """Whether the table exists only because of [worker.shop.web], which has been told."""
    headers = reader.places.headers
    return (
        path not in headers
        and bool(own)
        and all(
            node.path in headers and key not in ("backoff", "environment", "limits", "log")
            for key, node in own.items()
        )
    )


def _check_instances(reader: Reader, workers: Table) -> None:
    """Note names that instances of another pool have, or get when it grows."""
    for name, node in workers.items():
        instance = _INSTANCE.fullmatch(name)
        pool = workers.get(instance[1]) if instance else None
        if instance and pool:
            line = reader.line(pool.path)
            message = f'"{name}" is also instance {instance[2]} of "{instance[1]}" (line {line})'
            reader.at_key(node.path, message, "rename one of them: pools can grow")


def _check_log_files(reader: Reader, specs: list[Spec], workers: Table) -> None:
    """Note files that several workers would write to: rotation and order need one writer."""
    writers: dict[str, dict[str, None]] = {}
    for spec in specs:
        names = [spec.pool] if spec.pool_size == 1 else _instances(spec)
        for target in (spec.launch.stdout, spec.launch.stderr):
            if target.kind != "file":
                continue
            for index, name in enumerate(names, start=1):
                writers.setdefault(instance_text(target.path, index), {})[name] = None
    pool_of = {name: spec.pool for spec in specs for name in (spec.pool, *_instances(spec))}
    for file, found in writers.items():
        if len(found) > 1:
            first, second, *more = found
            and_more = f" and {len(more)} more" if more else ""
            message = f"{first} and {second}{and_more} would write to one file, {file}"
            log = (workers[pool_of[second]].table() or {}).get("log")
            path = log.path if log else workers[pool_of[second]].path
            reader.at_key(path, message, "give each its own log.stdout; %i is the instance")


def _instances(spec: Spec) -> list[str]:
    return [f"{spec.pool}-{index}" for index in range(1, spec.pool_size + 1)]
