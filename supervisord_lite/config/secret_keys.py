"""`secrets.NAME` and `secrets_as`: where the secrets of a worker are kept, and whether well.

A secret does not stand in the file. Where somebody has put one there all the same, the error shows
neither it nor the line. Nothing is read here: what is in the files is no business of a judge.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal, cast

from supervisord_lite.base.secret_file import SecretError, judge
from supervisord_lite.config.accounts import group_name, user_name
from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.spec import Secret
from supervisord_lite.config.values import instance_path, name_of

if TYPE_CHECKING:
    from supervisord_lite.config.spec import Launch
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

    SecretsAs = Literal["environment", "files"]

SECRETS_AS = ("environment", "files")
#: Names of variables that programs can have, short enough for a file.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CREDENTIAL = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,200}")
#: Set by the daemon for each worker.
_TAKEN = re.compile(r"SUPERVISORD_LITE_.*|LISTEN_.*|NOTIFY_SOCKET|WATCHDOG_USEC|INVOCATION_ID")
_MOST = 100
_EXPECTED = '"file:PATH" or "credential:NAME"'
_HINT = "a secret does not stand in the file"


def secret_shape(reader: Reader, node: Node) -> None:
    """Note what is wrong with one value by itself; the value is not shown."""
    _parts(reader, node)


class SecretsReader:
    """Reads the secrets of workers; each file is looked at once."""

    def __init__(self, reader: Reader, *, credentials: str | None) -> None:
        """Read with *reader*.

        Args:
            reader: Takes the problems.
            credentials: Folder of the daemon's credentials; None: it has none here.
        """
        self._reader = reader
        self._credentials = credentials
        self._found: dict[str, SecretError | os.stat_result] = {}

    def read(
        self, table: Table, *, pool_size: int, look_up: bool
    ) -> tuple[tuple[Secret, ...], SecretsAs]:
        """Return the secrets of a worker, and how it gets them.

        Args:
            table: The worker's keys, merged.
            pool_size: How many instances must be told apart.
            look_up: Whether the files are wanted here.
        """
        reader = self._reader
        as_ = reader.choice(
            table, "secrets_as", "environment", choices=SECRETS_AS, what="a way to get secrets"
        )
        found: list[Secret] = []
        for name, node in self._nodes(table).items():
            if not _is_name(reader, name, node):
                continue
            if node.value is False:
                continue  # an inherited one that is not wanted
            parts = _parts(reader, node)
            if parts is None:
                continue
            kind, place = parts
            secret = Secret(name, kind, place)
            found.append(secret)
            if look_up:
                for index in range(1, pool_size + 1):
                    self._judge(node, secret, index)
        return tuple(found), cast("SecretsAs", as_ if found else "environment")

    def _nodes(self, table: Table) -> Table:
        node = table.get("secrets")
        if node is None:
            return {}
        inner = node.table()
        if inner is None:
            message = f"{name_of(node.path)}: expected a table"
            self._reader.at_hidden(node, message, f"secrets.NAME = {_EXPECTED}")
            return {}
        if len(inner) > _MOST:
            self._reader.at_hidden(node, f"secrets: more than {_MOST} of one worker")
        return inner

    def _judge(self, node: Node, secret: Secret, index: int) -> None:
        path = path_of(secret, index, self._credentials)
        if path is None:
            message = f"secrets.{secret.name}: nothing is known here of the credential"
            hint = f"the unit of the daemon needs LoadCredential={secret.place}:PATH"
            self._reader.at_hidden(
                node, f"{message} {instance_text(secret.place, index)}", hint, is_warning=True
            )
            return
        if path not in self._found:
            self._found[path] = _look(path)
        found = self._found[path]
        if isinstance(found, SecretError):
            hint = found.hint
            # A file may still come: each start reads it anew. No credential comes to a daemon
            # that runs.
            may_heal = found.missing and secret.kind == "file"
            if found.may_not:
                hint = f"uid {os.geteuid()} cannot judge it; the daemon must be able to read it"
            elif may_heal:
                hint = "a start fails without it, and is tried again after backoff.max"
            elif found.missing:
                hint = f"the unit of the daemon needs LoadCredential={secret.place}:PATH"
            self._reader.at_hidden(
                node,
                f"secrets.{secret.name}: {found}",
                hint,
                is_warning=found.may_not or may_heal,
            )


def note_clashes(reader: Reader, launch: Launch, table: Table) -> None:
    """Note secrets that another variable stands for as well, or that a command would show.

    Args:
        reader: Takes the problems.
        launch: All of it.
        table: The worker's keys, merged.
    """
    if reader.alone or not launch.secrets:
        return
    nodes = table["secrets"].table() or {}
    others = {name for name, value in launch.environment if value is not None}
    sockets = {each.name for each in launch.sockets}
    for secret in launch.secrets:
        node = nodes[secret.name]
        variable = secret.name if launch.secrets_as == "environment" else f"{secret.name}_FILE"
        if variable in others:
            message = f"secrets.{secret.name}: environment has a {variable} too"
            hint = f"environment.{variable} = false, or another name"
            reader.at_hidden(node, message, hint)
        if launch.secrets_as == "files" and secret.name in {"notify", *sockets}:
            message = f"secrets.{secret.name}: a socket of that name stands in the same folder"
            reader.at_hidden(node, message, "choose another name")
    _note_in_command(reader, launch, table)


def _note_in_command(reader: Reader, launch: Launch, table: Table) -> None:
    command = table.get("command")
    if command is None:
        return
    written = command.document.source.text[slice(*command.places.value(command.path))]
    for secret in launch.secrets:
        reference = rf"(?<!\$)\$\{{{secret.name}(?:\}}|:-)"
        if re.search(reference, written):
            message = f"command: {secret.name} is a secret, and everybody may read a command line"
            reader.at_value(command, message, "let the program read the variable itself")


def path_of(secret: Secret, index: int, credentials: str | None) -> str | None:
    """Return the path of one instance's secret; None: there is no folder of credentials."""
    place = instance_text(secret.place, index)
    if secret.kind == "file":
        return place
    return f"{credentials}/{place}" if credentials else None


def note_of(secret: Secret, credentials: str | None) -> str:
    """Return how a secret is kept, in a few words: "file, 0640 root:shop".

    Args:
        secret: Looked at for the first instance.
        credentials: As for `SecretsReader`.
    """
    path = path_of(secret, 1, credentials)
    if path is None:
        return f"{secret.kind}, not known here"
    found = _look(path)
    if isinstance(found, SecretError):
        return f"{secret.kind}, {'missing' if found.missing else 'not to be judged here'}"
    mode = found.st_mode & 0o7777
    return f"{secret.kind}, {mode:04o} {user_name(found.st_uid)}:{group_name(found.st_gid)}"


def _look(path: str) -> SecretError | os.stat_result:
    try:
        found = judge(path)
    except SecretError as error:
        return error
    if not os.access(path, os.R_OK):
        return SecretError(f"Permission denied: {path}", may_not=True)
    return found


def _is_name(reader: Reader, name: str, node: Node) -> bool:
    if not _NAME.fullmatch(name):
        message = "secrets: a name has letters, digits and _, the first no digit; at most 100"
    elif _TAKEN.fullmatch(name):
        message = f"secrets.{name}: the daemon itself sets this variable"
    else:
        return True
    reader.at_hidden(node, message)
    return False


def _parts(reader: Reader, node: Node) -> tuple[Literal["file", "credential"], str] | None:
    """Return kind and place of one value; None: noted as wrong."""
    value = node.value
    if value is False:
        return None
    kind, _, place = value.partition(":") if isinstance(value, str) else ("", "", "")
    if "\0" not in place and place.isprintable():
        if kind == "file" and place:
            return "file", instance_path(node, place)
        if kind == "credential" and _CREDENTIAL.fullmatch(instance_text(place, 1)):
            return "credential", place
    reader.at_hidden(node, f"{name_of(node.path)}: expected {_EXPECTED}", _HINT)
    return None
