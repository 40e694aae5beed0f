"""[supervisor] and [control] become `Settings`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, cast

from supervisord_lite.config.defaults import control_path_in, default_folders
from supervisord_lite.config.errors import Problem
from supervisord_lite.config.launch import read_grants
from supervisord_lite.config.place import read_place
from supervisord_lite.config.spec import MAX_SOCKET_PATH_BYTES, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader

_LOG_LEVELS = ("debug", "info", "warning", "error")
_LOG_FORMATS = ("text", "json")


LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


def read_settings(
    reader: Reader, top: Table, *, file: str, environ: Mapping[str, str], as_root: bool
) -> Settings:
    """Return the settings of the whole file *top*; what it does not say comes from *environ*."""
    table = reader.table(top, "supervisor")
    control = reader.table(top, "control")
    folders = default_folders(environ, uid=0 if as_root else os.getuid())
    runtime_dir = reader.path(table, "runtime_dir", folders.runtime_dir)
    level = reader.choice(table, "log_level", "info", choices=_LOG_LEVELS, what="a log level")
    log_format = reader.choice(
        table, "log_format", None, choices=_LOG_FORMATS, what="a format of log lines"
    )
    return Settings(
        config_path=os.path.abspath(file),  # noqa: PTH100  # keeps symlinks
        state_dir=reader.path(table, "state_dir", folders.state_dir),
        runtime_dir=runtime_dir,
        log_dir=reader.path(table, "log_dir", folders.log_dir),
        control_path=_control_path(reader, control, table, runtime_dir, file),
        log_level=cast("LogLevel", level),
        log_format=cast("LogFormat | None", log_format),
        admin=read_grants(reader, control, "admin"),
        operate=read_grants(reader, control, "operate"),
        read=read_grants(reader, control, "read"),
        http=_http(reader, table),
        drain_s=_drain_s(reader, table),
    )


def _http(reader: Reader, table: Table) -> str:
    """Return where health and metrics are served, the host in digits; empty: nowhere."""
    text = reader.text(table, "http", "")
    if not text:
        return ""
    place = read_place(reader, table["http"], text)
    if place is None:
        return ""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _drain_s(reader: Reader, table: Table) -> float:
    seconds = reader.duration(table, "drain", 0.0)
    if seconds and "http" not in table:
        hint = 'http = "127.0.0.1:9178" serves /readyz; without it nobody can hear of the drain'
        reader.clash(table["drain"], "drain: without http it only makes a stop longer", hint)
    return seconds


def _control_path(
    reader: Reader, control: Table, supervisor: Table, runtime_dir: str, file: str
) -> str:
    """Return where the control socket stands; a path that no client can name is noted."""
    path = reader.path(control, "path", control_path_in(runtime_dir))
    size = len(os.fsencode(path))
    if size <= MAX_SOCKET_PATH_BYTES:
        return path
    most = f"the path of a socket may have {MAX_SOCKET_PATH_BYTES} bytes"
    hint = 'set path of [control] to a shorter one, such as "/run/supervisord-lite.sock"'
    if "path" in control:
        reader.at_value(control["path"], f"path: {path} has {size} bytes; {most}")
    elif "runtime_dir" in supervisor:
        message = f"runtime_dir: the control socket in it, {path}, has {size} bytes; {most}"
        reader.at_value(supervisor["runtime_dir"], message, hint)
    else:
        message = f"the control socket, {path}, has {size} bytes; {most}"
        reader.problems[Problem(file, 0, 0, message, hint)] = None
    return path
