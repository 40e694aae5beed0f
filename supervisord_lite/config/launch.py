"""The keys of a worker that say how a process is started: a `Launch`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, cast

from supervisord_lite.config.accounts import MAX_ID, AccountError, grant, identify
from supervisord_lite.config.expand import instance_text, literal_text
from supervisord_lite.config.files import note_unreadable
from supervisord_lite.config.flat import RLIMITS_IN_BYTES
from supervisord_lite.config.policy import read_ready_fd
from supervisord_lite.config.privileges import read_capabilities
from supervisord_lite.config.python import read_python
from supervisord_lite.config.secret_keys import SecretsReader, note_clashes
from supervisord_lite.config.sockets import read_sockets
from supervisord_lite.config.source import Source, read_source
from supervisord_lite.config.spec import Grant, Identity, Launch, Limit, LogTarget
from supervisord_lite.config.split import SplitError, split_words
from supervisord_lite.config.values import absolute, instance_path, name_of, plain, shown
from supervisord_lite.config.variables import parse_environment
from supervisord_lite.config.weigh import note_too_large

if TYPE_CHECKING:
    from supervisord_lite.config.accounts import Name
    from supervisord_lite.config.errors import Problem
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

RLIMITS = (
    "as", "core", "data", "fsize", "memlock", "msgqueue", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
#: Below PATH_MAX (4096), with room for the folder and the number of a rotated file.
_MAX_LOG_PATH_BYTES = 3000
#: Words that only a shell understands. ";" is not one of them: `find -exec … \;` needs it.
_SHELL_WORDS = frozenset({"|", "||", "&", "&&", ">", ">>", "<", "2>", "2>&1", "&>"})
_KINDS = ("command", "python", "agent", "container")
_OCTAL = re.compile(r"(?:0o)?[0-7]{1,4}")
_MAX_UMASK = 0o777
_MAX_LIMIT = 2**63 - 1
_MAX_CORES = 4096
_MAX_BACKUPS = 1000
_LOG_FORMATS = ("raw", "stamped", "json")
_MAX_NUMBER_BITS = 128
_DEFAULT = Launch(argv=("",), directory="/")


def read_command(reader: Reader, node: Node) -> tuple[str, ...]:
    """Return the words of a command line; empty: noted as wrong."""
    value = node.value
    words: list[str] = []
    if isinstance(value, str):
        try:
            words = split_words(reader.checked_text(node) or "")
        except SplitError as error:
            message = f"{name_of(node.path)}: {error}"
            reader.at_value(node, message, "or write a list of words")
            return ()
        shell = next((word for word in words if word in _SHELL_WORDS), None)
        if shell:
            message = (
                f'{name_of(node.path)}: no shell reads this, so "{shell}" would be an argument'
            )
            hint = f'{node.path[-1]} = ["/bin/sh", "-c", "…"], or a list of words if it is meant'
            reader.at_value(node, message, hint)
    elif isinstance(value, list):
        checked = [reader.checked_text(item, may_be_empty=True) for item in node.items()]
        if None in checked:
            return ()
        words = [word for word in checked if word is not None]
    else:
        reader.wrong(node, "a list of words, or words in one text")
        return ()
    if (value and not (words and words[0].strip())) or value == []:
        reader.at_value(node, f"{name_of(node.path)}: the program has no name")
    return tuple(words)


def read_grants(reader: Reader, table: Table, key: str) -> tuple[Grant, ...]:
    """Return to whom a list of rights gives them."""
    grants = []
    for name, node in reader.texts(table, key):
        try:
            grants.append(grant(name))
        except AccountError as error:
            hint = "a user, a group as @GROUP, or * for everybody"
            reader.at_value(node, f"{name_of(node.path)}: {error}", hint)
    return tuple(grants)


class LaunchReader:
    """Reads launches of one document; what many workers share is looked up once."""

    def __init__(
        self, reader: Reader, *, log_dir: str | None, as_root: bool, credentials: str | None = None
    ) -> None:
        """Read with *reader*.

        Args:
            reader: Takes the problems.
            log_dir: Where output goes that a worker says nothing about; None: to the daemon's.
            as_root: Whether the daemon will be root.
            credentials: Folder of the daemon's credentials; None: it has none here.
        """
        self._reader = reader
        self._secrets = SecretsReader(reader, credentials=credentials)
        self._log_dir = log_dir
        self._as_root = as_root
        self._identities: dict[tuple[Name | None, Name | None], Identity | list[AccountError]] = {}
        self._environments: dict[str, dict[str, str] | Problem] = {}

    def read(
        self, table: Table, *, pool: str, pool_size: int, header: Node, look_up: bool = True
    ) -> Launch:
        """Return the launch of a worker.

        Args:
            table: The worker's keys, those of [defaults] merged in.
            pool: Its name.
            pool_size: How many instances must be told apart.
            header: Where the worker stands.
            look_up: Whether users and files of variables are wanted: a worker that is disabled may
                be for another machine.
        """
        reader = self._reader
        limits = reader.table(table, "limits")
        log = reader.table(table, "log")
        identity, account = self._account(table) if look_up else (None, {})
        stdout = self._target(log, "stdout", pool_size) or self._default_stdout(pool, pool_size)
        stderr = self._target(log, "stderr", pool_size) or LogTarget("stdout")
        if stderr.kind in ("file", "journal") and stderr == stdout:
            stderr = LogTarget("stdout")  # one file, in the order written
        directory = reader.text(table, "directory", None)
        heartbeat_timeout_s = reader.duration(table, "heartbeat_timeout", None)
        ready_fd = read_ready_fd(table)
        if ready_fd is not None:
            self._check_voices(table)
        sockets = read_sockets(reader, table, identity, pool_size=pool_size, as_root=self._as_root)
        for each in sockets:
            if each.fd == ready_fd:
                message = f'ready: descriptor {ready_fd} is that of the socket "{each.name}"'
                reader.clash(table["ready"], message, "choose another one")
        secrets, secrets_as = self._secrets.read(table, pool_size=pool_size, look_up=look_up)
        says_ready = "ready" in table and table["ready"].value == "notify"
        counts_runs = "runs" in reader.table(table, "recycle")
        python = read_python(reader, table)
        if python is not None and ready_fd is not None:
            message = "ready: a Python target says it with context.ready()"
            reader.clash(table["ready"], message, 'ready = "notify"')
        launch = Launch(
            argv=self._argv(table, pool, header),
            directory=instance_path(table.get("directory") or header, directory or "."),
            environment=tuple({**account, **self._environment(table, look_up=look_up)}.items()),
            umask=self._umask(table),
            nice=reader.whole(table, "nice", _DEFAULT.nice, least=-20, most=19),
            identity=identity,
            capabilities=read_capabilities(reader, table),
            no_new_privs=reader.flag(table, "no_new_privs", _DEFAULT.no_new_privs),
            rlimits=self._rlimits(limits),
            memory_bytes=reader.size(limits, "memory", None, least_bytes=4096),
            cpu_cores=reader.number(limits, "cpu", None, least=0.01, most=_MAX_CORES),
            pids=reader.whole(limits, "pids", None, least=1, most=MAX_ID),
            sockets=sockets,
            secrets=secrets,
            secrets_as=secrets_as,
            notify=any(
                (says_ready, heartbeat_timeout_s is not None, python is not None, counts_runs)
            ),
            ready_fd=ready_fd,
            heartbeat_timeout_s=heartbeat_timeout_s,
            stdout=stdout,
            stderr=stderr,
            **self._log_limits(log),
            python=python,
        )
        note_clashes(reader, launch, table)
        note_too_large(reader, launch, table, header)
        return launch

    def _log_limits(self, log: Table) -> dict[str, Any]:
        """Return the fields of a `Launch` that say what becomes of log files."""
        reader = self._reader
        return {
            "log_max_size_bytes": reader.size(log, "max_size", _DEFAULT.log_max_size_bytes),
            "log_backups": reader.whole(
                log, "backups", _DEFAULT.log_backups, least=0, most=_MAX_BACKUPS
            ),
            "log_format": self._log_format(log),
            "log_max_age_s": reader.duration(log, "max_age", None),
            "log_compress": reader.flag(log, "compress", False),
            "log_level_prefix": reader.flag(log, "level_prefix", True),
        }

    def _log_format(self, log: Table) -> Literal["raw", "stamped", "json"]:
        read = self._reader.choice
        found = read(log, "format", "raw", choices=_LOG_FORMATS, what="a format of log lines")
        return cast('Literal["raw", "stamped", "json"]', found)

    def _check_voices(self, table: Table) -> None:
        """Note what needs the notification socket where a descriptor takes its place."""
        runs = self._reader.table(table, "recycle").get("runs")
        for name, node in (
            ("heartbeat_timeout", table.get("heartbeat_timeout")), ("recycle.runs", runs),
        ):  # fmt: skip
            if node is not None:
                message = f"{name} needs the notification socket, and ready the descriptor"
                self._reader.clash(node, message, 'ready = "notify" has both')

    def _argv(self, table: Table, pool: str, header: Node) -> tuple[str, ...]:
        reader = self._reader
        kinds = [kind for kind in _KINDS if kind in table]
        if len(kinds) > 1 and not reader.alone:
            both = " and ".join(f'"{kind}"' for kind in kinds)
            hint = f"a worker is one of {', '.join(_KINDS)}"
            reader.at_key(table[kinds[1]], f"[worker.{pool}] has {both}", hint)
        if "python" in kinds:
            return ()
        node = table.get("command")
        if node is None:
            if not kinds and not reader.alone:
                hint = 'command = ["/path/to/program", "argument"]'
                reader.at_key(header, f"[worker.{pool}] has no command", hint)
            return ("",)
        return read_command(reader, node) or ("",)

    def _account(self, table: Table) -> tuple[Identity | None, dict[str, str | None]]:
        """Return whom the worker runs as, and what of its environment follows from that."""
        user, group = self._name(table, "user"), self._name(table, "group")
        if user is None and group is None:
            return None, {}
        known = self._identities.get((user, group))
        if known is None:
            known = identify(user, group, as_root=self._as_root)
            self._identities[user, group] = known
        if isinstance(known, list):
            for error in known:
                self._reader.at_value(table[error.key], f"{error.key}: {error}", error.hint)
            return None, {}
        identity = known if self._as_root else None
        if user is None:
            return identity, {}
        words = {"HOME": known.home, "USER": known.user, "LOGNAME": known.user}
        words["SHELL"] = known.shell
        return identity, {name: literal_text(text) for name, text in words.items()}

    def _name(self, table: Table, key: str) -> Name | None:
        node = table.get(key)
        if node is None:
            return None
        if isinstance(node.value, int):
            return self._reader.checked_whole(node, least=0, most=MAX_ID)
        return self._reader.checked_text(node)

    def _environment(self, table: Table, *, look_up: bool) -> dict[str, str | None]:
        reader = self._reader
        variables: dict[str, str | None] = {}
        for text, file in reader.texts(table, "environment_file"):
            if not look_up:
                continue
            for name, value in self._environment_file(text, file).items():
                variables[name] = literal_text(value)
        for name, node in reader.table(table, "environment").items():
            if not name or "=" in name or "\0" in name:
                reader.at_key(node, f"{shown(name)} cannot be the name of a variable")
            elif node.value is False:
                variables[name] = None
            elif node.value is True:
                hint = f'environment.{name} = "true", or false to unset it'
                reader.wrong(node, "a text, a whole number or false", hint)
            elif isinstance(node.value, int) and node.value.bit_length() <= _MAX_NUMBER_BITS:
                variables[name] = str(node.value)
            else:
                variables[name] = reader.checked_text(node, may_be_empty=True)
        return variables

    def _environment_file(self, text: str, node: Node) -> dict[str, str]:
        """Return the variables of one file; "-" before its name: it may be missing."""
        file = absolute(node, text.removeprefix("-"))
        self._reader.environments.setdefault(file, node)
        known = self._environments.get(file)
        if known is None:
            source = read_source(file, seen=self._reader.seen, is_handed_on=True)
            if isinstance(source, Source):
                known, problems = parse_environment(source)
                self._reader.problems.update(dict.fromkeys(problems))
            else:
                known = source
            self._environments[file] = known
        if isinstance(known, dict):
            return known
        note_unreadable(self._reader, text, node, known)
        return {}

    def _umask(self, table: Table) -> int:
        node = table.get("umask")
        if node is None:
            return _DEFAULT.umask
        reader, value = self._reader, node.value
        written = node.document.source.text[slice(*node.places.value(node.path))]
        if isinstance(value, str) and _OCTAL.fullmatch(value):
            value = int(value.removeprefix("0o"), 8)
        elif isinstance(value, int) and not isinstance(value, bool):
            if value > 7 and not written.startswith("0o"):
                reader.wrong(node, "an octal number", _octal_hint(value, written))
                return _DEFAULT.umask
        else:
            reader.wrong(node, 'an octal number such as "022"')
            return _DEFAULT.umask
        if 0 <= value <= _MAX_UMASK:
            return value
        reader.at_value(node, f"umask: must be from 0 to 0o777, got {shown(node.value)}")
        return _DEFAULT.umask

    def _rlimits(self, limits: Table) -> tuple[Limit, ...]:
        found = []
        for name, node in limits.items():
            if name not in RLIMITS:
                continue
            if node.value == "unlimited":
                found.append(Limit(name, None))
                continue
            if name in RLIMITS_IN_BYTES:
                value = self._reader.size(limits, name, None)
            elif isinstance(plain(node.value), str):
                self._reader.wrong(node, 'a whole number or "unlimited"')
                continue
            else:
                value = self._reader.whole(limits, name, None, least=0, most=_MAX_LIMIT)
            if value is not None:
                found.append(Limit(name, value))
        return tuple(found)

    def _default_stdout(self, pool: str, pool_size: int) -> LogTarget:
        if self._log_dir is None:
            return LogTarget("inherit")
        name = pool if pool_size == 1 else f"{pool}-%i"
        return LogTarget("file", f"{literal_text(self._log_dir)}/{name}.log")

    def _target(self, log: Table, key: str, pool_size: int) -> LogTarget | None:
        reader = self._reader
        node = log.get(key)
        text = reader.text(log, key, None)
        if node is None or text is None:
            return None
        if text == "inherit":
            return LogTarget("inherit")
        if text == "null":
            return LogTarget("null")
        if text == "journal":
            return LogTarget("journal")
        if "/" not in text and not text.endswith(".log"):
            hint = f'write "./{text}" for a file, else "journal", "inherit" or "null"'
            reader.at_value(node, f"log.{key}: {shown(text)} is not a place for output", hint)
            return None
        if text.endswith("/"):
            reader.at_value(node, f"log.{key}: {shown(text)} is a folder", "name a file in it")
            return None
        if len(text.encode()) > _MAX_LOG_PATH_BYTES:
            message = f"log.{key}: the path is longer than {_MAX_LOG_PATH_BYTES} bytes"
            reader.at_value(node, message)
            return None
        if pool_size > 1 and instance_text(text, 1) == instance_text(text, 2):
            stem, dot, end = text.rpartition(".")
            example = f"{stem}-%i.{end}" if dot and "/" not in end else f"{text}-%i"
            message = f"log.{key}: {pool_size} instances would write to one file"
            reader.at_value(node, message, f'tell them apart: "{example}"')
            return None
        return LogTarget("file", instance_path(node, text))


def _octal_hint(value: int, written: str) -> str:
    """Return how to write a umask that was not written in octal."""
    if value > _MAX_UMASK * 10:
        return ""  # neither way; and of thousands of digits Python makes no text
    # Who writes 22 means 0o022, and not the number, which is 0o026; 18 can only be the number.
    digits = f"{value:03}"
    if not (written.isdigit() and _OCTAL.fullmatch(digits) and int(digits, 8) <= _MAX_UMASK):
        digits = f"{value:03o}"
    return f'write "{digits}" or 0o{digits}' if int(digits, 8) <= _MAX_UMASK else ""
