"""[defaults] and [worker.NAME] become `Spec`s.

Each file's tables are judged by themselves first (unknown keys, names); then they are merged, each
worker over what it extends over [defaults]; then values are read.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.health import read_health
from supervisord_lite.config.keys import INNER_TABLES, check_worker
from supervisord_lite.config.launch import LaunchReader, read_grants
from supervisord_lite.config.listens import read_events
from supervisord_lite.config.mistaken_health import check_health
from supervisord_lite.config.order import Edge, OrderReader, note_circles, place_of
from supervisord_lite.config.policy import read_policy
from supervisord_lite.config.recycle import read_recycle
from supervisord_lite.config.rollout import read_rollout
from supervisord_lite.config.schedule import note_clashes, note_required_jobs
from supervisord_lite.config.spec import MAX_PROCESSES, MAX_SOCKET_PATH_BYTES, Origin, Spec
from supervisord_lite.config.tree import Node, merge, widen
from supervisord_lite.config.values import plain, shown
from supervisord_lite.config.words import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisord_lite.config.spec import Settings
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader
    from supervisord_lite.core.policy import Critical

MAX_POOL_SIZE = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_INSTANCE = re.compile(r"(.+)-([0-9]+)")
_RESERVED = ("all",)
#: Said of a worker itself, so not handed on to those that extend it.
_NOT_INHERITED = ("enabled", "extends")


class Workers:
    """The workers of all files.

    Attributes:
        headers: Where each stands first, with its own keys.
        tables: Its keys, merged over what it extends and [defaults].
    """

    def __init__(self, reader: Reader, tops: Sequence[Table]) -> None:
        """Judge and merge the tables of *tops*, the files in the order of force."""
        self._reader = reader
        self._defaults = _merged_defaults(reader, tops)
        self.headers: Table = {}
        for top in tops:
            for name, node in _own_workers(reader, top).items():
                self._add(name, node)
        self._own = {name: node.table() or {} for name, node in self.headers.items()}
        self._bases, self._baseless = _bases(reader, self._own)
        self.tables: dict[str, Table] = {}
        self._inherited: dict[str, Table] = {}
        for name in self.headers:
            self.tables[name] = self._resolved(name)
        self.disabled = {
            name: table["enabled"]
            for name, table in self.tables.items()
            if not reader.flag(table, "enabled", True)
        }

    def specs(
        self, settings: Settings, *, as_root: bool, credentials: str | None = None
    ) -> list[Spec]:
        """Return a spec for each enabled worker, in the order of the files."""
        reader = self._reader
        launches = LaunchReader(
            reader, log_dir=settings.log_dir, as_root=as_root, credentials=credentials
        )
        self._check_defaults(launches)
        order = OrderReader(reader, self.headers, self.disabled)
        edges: dict[str, list[Edge]] = {}
        specs = []
        processes = 0
        for name, table in self.tables.items():
            if name in self.disabled or name in self._baseless:
                look_up = name not in self.disabled
                self._judge_alone(launches, name, table, self.headers[name], look_up=look_up)
            else:
                edges[name] = order.edges(name, table)
                specs.append(self._spec(launches, name, table, edges[name]))
                processes += specs[-1].pool_size
                if processes > MAX_PROCESSES >= processes - specs[-1].pool_size:
                    self._note_crowd(table.get("pool_size") or self.headers[name], name)
        note_circles(reader, edges)
        note_required_jobs(reader, specs, edges)
        if not reader.alone:
            _check_instances(reader, self.headers, {spec.pool for spec in specs})
            _check_log_files(reader, specs, self._own, self.headers)
            check_health(reader, specs, self.tables)
            self._check_voices(specs, settings.runtime_dir)
        return specs

    def _check_voices(self, specs: list[Spec], runtime_dir: str) -> None:
        """Note who could not find its notification socket: a path of that has an end."""
        run = "0" * 10  # digits of the number of a run: nobody starts that often
        longest = len(os.fsencode(f"{runtime_dir}/w/{'0' * 16}.{MAX_POOL_SIZE}.{run}/notify"))
        if longest <= MAX_SOCKET_PATH_BYTES:
            return
        for spec in specs:
            if spec.launch.notify and spec.launch.python is None:  # that has another way to it
                table = self.tables[spec.pool]
                keys = ("ready", "heartbeat_timeout", "recycle")
                node = next(table[key] for key in keys if key in table)
                message = f"runtime_dir is too long for a notification socket in it: {runtime_dir}"
                self._reader.clash(node, message, "choose a shorter runtime_dir")

    def _note_crowd(self, node: Node, name: str) -> None:
        """Note the pool with which there are too many processes."""
        message = f"with {name} there are more than {MAX_PROCESSES:,} processes in all"
        self._reader.clash(node, message, "one daemon is made for that many at most")

    def _add(self, name: str, node: Node) -> None:
        """Take a worker of the next file; where it stands first is where it stands."""
        first = self.headers.get(name)
        if first is not None:
            node = first._replace(value=merge(first.table() or {}, node.table() or {}))
        self.headers[name] = node

    def _resolved(self, name: str) -> Table:
        """Return the keys of a worker, those that it inherits among them."""
        base = self._bases.get(name)
        under = self._defaults if base is None else self._handed_on(base)
        return merge(under, self._own[name])

    def _handed_on(self, name: str) -> Table:
        """Return what those that extend *name* get from it. No recursion: chains may be long."""
        chain = [name]
        while chain[-1] not in self._inherited and (base := self._bases.get(chain[-1])) is not None:
            chain.append(base)
        for link in reversed(chain):
            if link not in self._inherited:
                base = self._bases.get(link)
                under = self._defaults if base is None else self._inherited[base]
                own = self._own[link]
                own = {key: node for key, node in own.items() if key not in _NOT_INHERITED}
                self._inherited[link] = merge(under, own)
        return self._inherited[name]

    def _spec(
        self, launches: LaunchReader, name: str, table: Table, edges: Iterable[Edge] = ()
    ) -> Spec:
        reader, header = self._reader, self.headers[name]
        pool_size = reader.whole(table, "pool_size", 1, least=1, most=MAX_POOL_SIZE)
        singleton = reader.flag(table, "singleton", False)
        if singleton and pool_size > 1:
            hint = f"pool_size is {pool_size} ({place_of(table['pool_size'])})"
            message = f"singleton: {name} has {pool_size} instances, and may have one"
            reader.clash(table["singleton"], message, hint)
        launch = launches.read(table, pool=name, pool_size=pool_size, header=header)
        policy = read_policy(reader, table)
        note_clashes(reader, table, policy.schedule)
        most_away, surge = read_rollout(reader, table, header, singleton=singleton)
        return Spec(
            pool=name,
            pool_size=pool_size,
            policy=policy,
            launch=launch,
            origin=Origin(header.document.source.file, header.line()),
            requires=_names(edges, "requires"),
            after=_names(edges, "after"),
            critical=_critical(reader, table),
            singleton=singleton,
            max_unavailable=most_away,
            max_surge=surge,
            operators=read_grants(reader, table, "operators"),
            events=read_events(reader, table),
            health=read_health(reader, table, launch.sockets, pool_size=pool_size),
            recycle=read_recycle(reader, table),
        )

    def _check_defaults(self, launches: LaunchReader) -> None:
        """Note wrong values also where no worker uses them.

        What several keys mean together is known only with a worker's own keys.
        """
        if not self._defaults:
            return
        some = next(iter(self._defaults.values()))
        self._judge_alone(launches, "NAME", self._defaults, some, look_up=True)

    def _judge_alone(
        self,
        launches: LaunchReader,
        name: str,
        table: Table,
        header: Node,
        *,
        look_up: bool = False,
    ) -> None:
        """Note the values of *table* that are wrong by themselves."""
        reader, alone = self._reader, self._reader.alone
        reader.alone = True
        reader.whole(table, "pool_size", 1, least=1, most=MAX_POOL_SIZE)
        reader.flag(table, "singleton", False)
        read_rollout(reader, table, header, singleton=False)
        read_policy(reader, table)
        read_recycle(reader, table)
        launch = launches.read(table, pool=name, pool_size=1, header=header, look_up=look_up)
        read_health(reader, table, launch.sockets, pool_size=1)
        _critical(reader, table)
        read_events(reader, table)
        for key in ("requires", "after"):
            reader.texts(table, key)
        if look_up:
            read_grants(reader, table, "operators")
        else:
            reader.texts(table, "operators")
        reader.alone = alone


def _merged_defaults(reader: Reader, tops: Sequence[Table]) -> Table:
    found: Table = {}
    for top in tops:
        table = reader.table(top, "defaults")
        widen(table)
        check_worker(reader, table, ("defaults",))
        base = table.pop("extends", None)
        if base is not None:
            hint = "extend it in each worker: a base inherits from [defaults], not the reverse"
            reader.at_key(base, '"extends" has no meaning in [defaults]', hint)
        found = merge(found, table)
    return found


def _own_workers(reader: Reader, top: Table) -> Table:
    """Return the well-formed workers of one file; what else [worker] holds is noted."""
    if not _has_names(reader, top):
        return {}
    workers = reader.table(top, "worker")
    found: Table = {}
    for name, node in workers.items():
        own = node.table()
        if own is None:
            tables = isinstance(node.value, list) and isinstance([*node.value, 0][0], dict)
            hint = f"write [worker.{name}]" if tables else "a worker begins with [worker.NAME]"
            reader.at_key(node, f'"{name}" of [worker] must be a table', hint)
            continue
        _check_name(reader, name, node)
        widen(own)
        check_worker(reader, own, node.path)
        if not _is_only_a_dotted_name(own, node):
            found[name] = node
    return found


def _bases(reader: Reader, workers: dict[str, Table]) -> tuple[dict[str, str], set[str]]:
    """Return whom each worker extends, circles left out, and those with no base to be found."""
    bases: dict[str, str] = {}
    baseless: set[str] = set()
    for name, own in workers.items():
        base = reader.text(own, "extends", None)
        if base is None:
            continue
        if base in workers:
            bases[name] = base
            continue
        baseless.add(name)
        near = did_you_mean(base, workers)
        hint = f'did you mean "{near}"?' if near else ""
        reader.clash(own["extends"], f"{name} extends {shown(base)}, which is not defined", hint)
    done: set[str] = set()
    for start in list(bases):
        chain: list[str] = []
        link: str | None = start
        while link is not None and link not in done and link not in chain:
            chain.append(link)
            link = bases.get(link)
        if link is not None and link in chain:
            circle = [*chain[chain.index(link) :], link]
            message = f"the workers extend each other: {' -> '.join(circle)}"
            reader.clash(workers[circle[-2]]["extends"], message)
            del bases[circle[-2]]
            baseless.add(circle[-2])
        if baseless.intersection(chain) or link in baseless:
            baseless.update(chain)
        done.update(chain)
    return bases, baseless


def _names(edges: Iterable[Edge], key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(edge.other for edge in edges if edge.key == key))


def _critical(reader: Reader, table: Table) -> Critical:
    node = table.get("critical")
    if node is None:
        return "no"
    value = plain(node.value)
    if value == "all":
        return "all"
    if isinstance(value, bool):
        return "any" if value else "no"
    reader.wrong(node, 'true, false or "all"', '"all": only when every instance has tripped')
    return "no"


def _has_names(reader: Reader, top: Table) -> bool:
    """Whether [worker] is a table of workers, not a worker without a name or a list of them."""
    node = top.get("worker")
    if node is None:
        return False
    if isinstance(node.value, list):
        hint = "write [worker.NAME] for each"
        reader.at_key(node, "workers have names, not numbers", hint)
        return False
    return True


def _check_name(reader: Reader, name: str, node: Node) -> None:
    if name in _RESERVED:
        reader.at_key(node, f'"{name}" cannot be the name of a worker: verbs take it for all')
    elif not _NAME.fullmatch(name):
        message = f"{shown(name)} cannot be the name of a worker"
        hint = "letters, digits, _ and -, the first a letter or digit; at most 100"
        reader.at_key(node, message, hint)


def _is_only_a_dotted_name(own: Table, node: Node) -> bool:
    """Whether the table exists only because of [worker.shop.web], which has been told."""
    headers = node.places.headers
    return (
        node.path not in headers
        and bool(own)
        and all(item.path in headers and key not in INNER_TABLES for key, item in own.items())
    )


def _check_instances(reader: Reader, headers: Table, enabled: set[str]) -> None:
    """Note names that instances of another pool have, or get when it grows."""
    for name in enabled:
        instance = _INSTANCE.fullmatch(name)
        if instance and instance[1] in enabled:
            place = place_of(headers[instance[1]])
            message = f'"{name}" is also instance {instance[2]} of "{instance[1]}" ({place})'
            reader.at_key(headers[name], message, "rename one of them: pools can grow")


def _check_log_files(
    reader: Reader, specs: list[Spec], own: dict[str, Table], headers: Table
) -> None:
    """Note files that several workers would write to: rotation and order need one writer."""
    writers: dict[str, dict[str, str]] = {}
    for spec in specs:
        names = [spec.pool] if spec.pool_size == 1 else _instances(spec)
        for target in (spec.launch.stdout, spec.launch.stderr):
            if target.kind != "file":
                continue
            for index, name in enumerate(names, start=1):
                writers.setdefault(instance_text(target.path, index), {})[name] = spec.pool
    for file, found in writers.items():
        if len(found) > 1:
            first, second, *more = found
            and_more = f" and {len(more)} more" if more else ""
            message = f"{first} and {second}{and_more} would write to one file, {file}"
            node = own[found[second]].get("log") or headers[found[second]]
            reader.at_key(node, message, "give each its own log.stdout; %i is the instance")


def _instances(spec: Spec) -> list[str]:
    return [f"{spec.pool}-{index}" for index in range(1, spec.pool_size + 1)]
