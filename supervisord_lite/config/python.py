"""The keys of a worker that is a Python target: python, config, interpreter, preload."""

from __future__ import annotations

import datetime
import json
import math
import re
import sys
from typing import TYPE_CHECKING

from supervisord_lite.config.spec import Python
from supervisord_lite.config.values import absolute, name_of, own, shown

if TYPE_CHECKING:
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

_TARGET = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
#: More than any number that means something; the parsers of JSON have a limit too.
_MOST_BITS = 1024


def read_python(reader: Reader, table: Table) -> Python | None:
    """Return what is to be run, and with what; None: the worker is no Python target.

    Args:
        reader: Takes the problems.
        table: The worker's keys, those of [defaults] merged in.
    """
    config = reader.table(table, "config")
    arguments = _arguments(reader, config)
    interpreter = _interpreter(reader, table)
    preload = _preload(reader, table)
    node = table.get("python")
    if node is None:
        # They arrive as keyword arguments; a command has none.
        mine = next(filter(None, (own(config, name) for name in config)), None)
        if mine is not None:
            hint = "a command has arguments, and environment.NAME"
            reader.clash(table["config"], "config is for Python targets: python = …", hint)
        if preload and "command" in table and (node := own(table, "preload")):
            reader.clash(node, "preload is for Python targets: python = …")
        return None
    target = reader.checked_text(node)
    if target is not None and not _TARGET.fullmatch(target):
        message = f'python: expected "package.module:Target", got {shown(target)}'
        reader.at_value(node, message, "the name behind : is a class or function")
    says_ready = "ready" in table and table["ready"].value == "notify"
    return Python(target or "", interpreter, json.dumps(arguments), says_ready, preload)


def _preload(reader: Reader, table: Table) -> tuple[str, ...]:
    found = []
    for name, node in reader.texts(table, "preload"):
        if _MODULE.fullmatch(name):
            found.append(name)
        else:
            message = f"{name_of(node.path)}: expected a module, got {shown(name)}"
            reader.at_value(node, message, 'such as "shop.model"')
    return tuple(dict.fromkeys(found))


def _interpreter(reader: Reader, table: Table) -> str:
    """Return the path of the interpreter, or a name to be looked up in the worker's PATH."""
    node = table.get("interpreter")
    text = reader.text(table, "interpreter", None)
    if node is None or text is None:
        return sys.executable
    return absolute(node, text) if "/" in text else text


def _arguments(reader: Reader, config: Table) -> dict[str, object]:
    arguments = {}
    for name, node in config.items():
        if not name.isidentifier():
            reader.at_key(node, f"config: {shown(name)} cannot be the name of an argument")
        arguments[name] = _value(reader, node)
    return arguments


def _value(reader: Reader, node: Node) -> object:
    """Return a value as JSON has it; what JSON has no word for is noted."""
    inner = node.table()
    if inner is not None:
        return {name: _value(reader, item) for name, item in inner.items()}
    if isinstance(node.value, str):
        return reader.checked_text(node, may_be_empty=True) or ""
    return _plain(reader, node, node.value)


def _plain(reader: Reader, node: Node, value: object) -> object:
    name = name_of(node.path)
    if isinstance(value, list):
        return [_plain(reader, node, item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(reader, node, item) for key, item in value.items()}
    if isinstance(value, datetime.date | datetime.time):
        hint = f'as text: "{value}"'
        reader.at_value(node, f"{name}: dates and times are not passed on", hint)
        return None
    if isinstance(value, float) and math.isnan(value):
        reader.at_value(node, f"{name}: nan is no value that anything can be compared with")
        return None
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        reader.at_value(node, f"{name}: the number is too large")
        return None
    return value
