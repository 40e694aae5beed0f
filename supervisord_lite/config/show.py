"""One worker as it is in force, each value with the place that decided it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from supervisord_lite.config.effective import ACCOUNT, inline_text, worker_table, written_text
from supervisord_lite.config.effective import DOT as EFFECTIVE_DOT
from supervisord_lite.config.secrecy import HIDDEN, is_secret, masked
from supervisord_lite.config.secret_keys import note_of
from supervisord_lite.config.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisord_lite.config.load import Judged
    from supervisord_lite.config.spec import Spec
    from supervisord_lite.config.tree import Node, Table

_BARE = re.compile(r"[A-Za-z0-9_-]+")
#: Keys whose default is another one with sockets (rollout.py).
_ROLLOUT = ("max_unavailable", "max_surge")
_BY_SOCKETS = "default, with sockets"
_OWN, _EXTENDED, _DEFAULTS, _BUILT_IN = range(4)


class Line(NamedTuple):
    """One key of a worker.

    Attributes:
        key: Dotted, as people write it.
        value: As the file means it.
        origin: "conf.d/shop.toml:54", "default", or the key that brings it along.
        via: How it came to this worker: "", "extends NAME" or "[defaults]".
        beaten: What it has replaced: "8 in conf.d/shop.toml"; empty: nothing.
        note: Of a secret, how it is kept: "file, 0640 root:shop".
    """

    key: str
    value: object
    origin: str
    via: str = ""
    beaten: str = ""
    note: str = ""

    def text(self) -> str:
        """Return "key = value" as TOML; a secret is no value."""
        if self.note:
            return f"{self.key} = {HIDDEN}"
        return f"{self.key} = {_toml(self.value)}"


def show(name: str, judged: Judged, *, credentials: str | None = None) -> list[Line]:
    """Return the keys of the worker *name*: its own, the inherited ones, the defaults.

    Variables out of files are left out, for such files hold secrets; and where a value may be one,
    or has one of the daemon's in it, it is hidden.

    Args:
        name: Of the worker.
        judged: All of it.
        credentials: Folder of the daemon's credentials; None: it has none here.
    """
    secrets = judged.configuration.settings.secrets
    ranked = sorted(_written(name, judged.tables[name], (), secrets), key=lambda pair: pair[0])
    written = [line for _, line in ranked]
    spec = next((spec for spec in judged.configuration.specs if spec.pool == name), None)
    if spec is None:
        return [_noted(line, "not looked at: enabled = false") for line in written]
    notes = {_dotted(("secrets", each.name)): note_of(each, credentials)
             for each in spec.launch.secrets}  # fmt: skip
    written = [_noted(line, notes.get(line.key, "")) for line in written]
    # A socket that is one text is its address.
    known = {line.key for line in written} | {f"{line.key}.listen" for line in written}
    others = (line for line in _others(spec, judged.tables[name]) if line.key not in known)
    return written + [line._replace(value=masked(line.value, secrets)) for line in others]


def _noted(line: Line, note: str) -> Line:
    return line._replace(note=note) if line.value == HIDDEN and _is_kept(line) else line


def _is_kept(line: Line) -> bool:
    return line.key.startswith("secrets.")


def _others(spec: Spec, table: Table) -> Iterator[Line]:
    for key, value in worker_table(spec).items():
        parts = key.split(EFFECTIVE_DOT)
        if value is None or value == [] or (parts[0] == "group" and "user" in table):
            continue
        if parts[0] == "secrets":
            continue  # written, or there is none
        if parts[0] != "environment":
            has_sockets = any(each.kind != "private" for each in spec.launch.sockets)
            is_by_sockets = parts[0] in _ROLLOUT and has_sockets and not spec.singleton
            yield Line(_dotted(parts), value, _BY_SOCKETS if is_by_sockets else "default")
        elif "user" in table and parts[1] in ACCOUNT:
            yield Line(_dotted(parts), value, "by user")


def _written(
    name: str, table: Table, prefix: tuple[str, ...], secrets: Iterable[str]
) -> Iterator[tuple[int, Line]]:
    for key, node in table.items():
        parts = (*prefix, key)
        inner = node.table()
        if inner is not None:
            yield from _written(name, inner, parts, secrets)
            continue
        rank, via = _OWN, ""
        if node.path[0] == "defaults":
            rank, via = _DEFAULTS, "[defaults]"
        elif node.path[1] != name:
            rank, via = _EXTENDED, f"extends {node.path[1]}"
        beaten = "" if node.under is None else _beaten(node.under, parts, secrets)
        origin = f"{node.document.source.short}:{_line(node)}"
        value = _as_written(_readable(parts, node.value, secrets))
        yield rank, Line(_dotted(parts), value, origin, via, beaten)


def _readable(parts: tuple[str, ...], value: object, secrets: Iterable[str]) -> object:
    """Return the value of a key as people may read it."""
    if parts[0] == "secrets" and value is not False:
        return HIDDEN
    if parts[0] in ("environment", "config") and any(map(is_secret, parts[1:])):
        return HIDDEN
    return masked(value, secrets)


def _beaten(node: Node, parts: tuple[str, ...], secrets: Iterable[str]) -> str:
    value = "a table"
    if node.table() is None:
        value = _toml(_as_written(_readable(parts, node.value, secrets)))
    return f"{value if len(value) <= 30 else '…'} in {node.document.source.short}"


def _line(node: Node) -> int:
    return node.document.source.place(node.places.value(node.path)[0])[0]


def _dotted(parts: tuple[str, ...] | list[str]) -> str:
    return ".".join(part if _BARE.fullmatch(part) else _toml(part) for part in parts)


def _as_written(value: object) -> object:
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_written(item) for name, item in value.items()}
    return written_text(value) if isinstance(value, str) else value


def _toml(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return inline_text(value)
    return shown(value)
