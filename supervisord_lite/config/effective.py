"""The configuration in force as one file: every value resolved, nothing inherited.

It is for people, and for those who ask on another machine what this one runs. The daemon never
reads it; that it would load to the same specs is how a test knows that nothing is missing.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import tomli_w

from supervisord_lite.base.temporary import temporary_beside
from supervisord_lite.config import flat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisord_lite.config.flat import Key
    from supervisord_lite.config.spec import Configuration, Spec

FILE_NAME = "effective.toml"
ACCOUNT = flat.ACCOUNT
#: Between the parts of a dotted key; no name of a variable holds it.
DOT = "="
_DOTTED = re.compile(r'^"((?:[^"\\]|\\.)*)"(?= = )', re.MULTILINE)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def render_effective(configuration: Configuration) -> str:
    """Return the text of the file: dotted keys, one per line, workers in their order."""
    settings = configuration.settings
    inline: dict[str, str] = {}
    tables: dict[str, object] = {
        "supervisor": _present(_written(flat.supervisor_keys(settings))),
        "control": _present(_written(flat.control_keys(settings))),
        "worker": {
            spec.pool: _without_tables(_present(worker_table(spec)), inline)
            for spec in configuration.specs
        },
    }
    if not configuration.specs:
        del tables["worker"]
    head = (
        "# The configuration in force, with every default. Written by supervisord-lite and never\n"
        f"# read by it: change {_comment(settings.config_path)} and reload.\n\n"
    )
    text = tomli_w.dumps(tables)
    for mark, value in inline.items():
        text = text.replace(f'"{mark}"', value)
    return head + _DOTTED.sub(_dotted, text)


def write_effective(configuration: Configuration) -> str:
    """Write the file into `state_dir`, at once as a whole, for its owner alone; return its path.

    Values of `environment_file` stand in it.

    Raises:
        OSError: It cannot be written; an older one stays.
    """
    folder = configuration.settings.state_dir
    path = f"{folder}/{FILE_NAME}"
    temporary = temporary_beside(path)
    data = memoryview(render_effective(configuration).encode())
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600)
    try:
        while data:
            data = data[os.write(file, data) :]
        os.fsync(file)  # or a power cut may leave the new name with nothing in it
        os.rename(temporary, path)  # noqa: PTH104
    except OSError:
        os.unlink(temporary)  # noqa: PTH108
        raise
    finally:
        os.close(file)
    return path


def _dotted(match: re.Match[str]) -> str:
    # Between quotes stands what is escaped already.
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in match[1].split(DOT))


def _part(name: str) -> str:
    return name if _BARE.fullmatch(name) else inline_text(name)


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def worker_table(spec: Spec) -> dict[str, object]:
    """Return the keys of a worker with their values as they are written, None for no value."""
    return _written(flat.worker_keys(spec))


def written_text(text: str) -> str:
    """Return *text* so that it is read as it is, with no variable in it."""
    return text.replace("${", "$${")


def inline_text(value: object) -> str:
    """Return a value as TOML, in one line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(inline_text, value))}]"
    if isinstance(value, dict):
        pairs = [f"{_part(name)} = {inline_text(item)}" for name, item in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    return str(value)


def _without_tables(table: dict[str, object], inline: dict[str, str]) -> dict[str, object]:
    """Return *table* with a mark for each value that has tables in it.

    For such a value the library begins a header, and our keys are dotted.
    """
    return {key: _marked(value, inline) for key, value in table.items()}


def _marked(value: object, inline: dict[str, str]) -> object:
    if not _has_table(value):
        return value
    mark = f"inline {os.urandom(8).hex()}"
    inline[mark] = inline_text(value)
    return mark


def _has_table(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(_has_table(item) for item in value)
    )


def _present(table: dict[str, object]) -> dict[str, object]:
    """Return *table* without the keys that say nothing: TOML has no word for none."""
    return {key: value for key, value in table.items() if value is not None}


def _written(table: Mapping[Key, object]) -> dict[str, object]:
    return {DOT.join(key): _literal(value) for key, value in table.items()}


def _literal(value: object) -> object:
    if isinstance(value, str):
        return written_text(value)
    if isinstance(value, dict):
        return {name: _literal(item) for name, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value
