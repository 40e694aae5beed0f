"""Whether a command line, its environment and its paths are small enough to be passed on.

The kernel takes so many bytes for one argument or variable, the daemon so many for one start. No
retry could heal it, so it is told before anything runs. Measured for the last instance that there
can be, whose %i is the longest.

Source: execve(2) on MAX_ARG_STRLEN and PATH_MAX.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.spec import MAX_START_BYTES
from supervisord_lite.config.values import name_of
from supervisord_lite.core.scale import MAX_POOL_SIZE

if TYPE_CHECKING:
    from supervisord_lite.config.spec import Launch
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

#: Of one argument, or of one variable with its name and "="; 32 pages, less the NUL at the end.
MAX_WORD_BYTES = 131_071
#: PATH_MAX, less the NUL.
MAX_PATH_BYTES = 4095
#: The most that one character becomes: \uXXXX in a message, and twice its length by %i.
_MOST_PER_CHARACTER = 12
_HINT = "put it into a file, and pass the path"


def note_too_large(reader: Reader, launch: Launch, table: Table, header: Node) -> None:
    """Note what of *launch* is too large.

    Args:
        reader: Takes the problems.
        launch: All of it, in place of what is wrong its default.
        table: The worker's keys, those of [defaults] merged in.
        header: Where the worker stands.
    """
    words = [*launch.argv, launch.directory, launch.stdout.path, launch.stderr.path]
    words += [text for pair in launch.environment for text in pair if text]
    words += [] if launch.python is None else [launch.python.config, launch.python.interpreter]
    words += [text for each in launch.secrets for text in (each.name, each.place)]
    groups = launch.identity.groups if launch.identity else ()
    if _MOST_PER_CHARACTER * (sum(map(len, words)) + 3 * len(words) + len(groups)) < MAX_PATH_BYTES:
        return  # nearly all are small: nothing need be counted
    command = table.get("command") or table.get("config") or header
    is_small = _check_argv(reader, launch, command)
    is_small = _check_environment(reader, launch, table, header) and is_small
    directory = table.get("directory") or header
    if _size(launch.directory) > MAX_PATH_BYTES:
        reader.at_value(directory, f"directory: the path is longer than {MAX_PATH_BYTES} bytes")
        return
    if is_small:
        _check_all(reader, launch, command)


def _check_argv(reader: Reader, launch: Launch, command: Node) -> bool:
    items = command.items()
    is_small = True
    for index, word in enumerate(launch.argv):
        node = items[index] if len(items) == len(launch.argv) else command
        size = _size(word)
        if index == 0 and size > MAX_PATH_BYTES:
            message = f"the path of the program is longer than {MAX_PATH_BYTES} bytes"
        elif size > MAX_WORD_BYTES:
            message = f"{size:,} bytes, and one argument may have {MAX_WORD_BYTES:,}"
        else:
            continue
        reader.at_value(node, f"{name_of(node.path)}: {message}", _HINT if index else "")
        is_small = False
    return is_small


def _check_environment(reader: Reader, launch: Launch, table: Table, header: Node) -> bool:
    own = reader.table(table, "environment")
    files = table.get("environment_file") or header
    is_small = True
    for name, value in launch.environment:
        size = 0 if value is None else _size(f"{name}=") + _size(value)
        if size > MAX_WORD_BYTES:
            what = f"{size:,} bytes with its name, and one variable may have {MAX_WORD_BYTES:,}"
            reader.at_value(own.get(name) or files, f"environment.{name}: {what}", _HINT)
            is_small = False
    return is_small


def _check_all(reader: Reader, launch: Launch, command: Node) -> None:
    strings = [
        *launch.argv, launch.directory, launch.stdout.path, launch.stderr.path,
        *(text for _, text in launch.environment if text),
        *(text for each in launch.secrets for text in (each.name, each.place)),
    ]  # fmt: skip
    expanded = [instance_text(text, MAX_POOL_SIZE) for text in strings]
    names = [name for name, _ in launch.environment]
    size = len(json.dumps([expanded, names, launch.identity and launch.identity.groups]))
    if launch.python is not None:
        size += len(instance_text(launch.python.config, MAX_POOL_SIZE))
        # The warm interpreter that it may be forked from has the same environment beside it.
        size += len(json.dumps([text for pair in launch.environment for text in pair]))
    if size > MAX_START_BYTES:
        message = (
            f"command line, environment and paths take {-(-size // 1024)} KiB as the daemon passes "
            f"them on, and may take {MAX_START_BYTES // 1024} KiB in all"
        )
        hint = f"a character beyond ASCII takes 6 bytes, a quote 2; {_HINT}"
        reader.clash(command, message, hint)


def _size(text: str) -> int:
    return len(os.fsencode(instance_text(text, MAX_POOL_SIZE)))
