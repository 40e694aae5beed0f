"""What the configuration file means: frozen, complete, every default filled in.

`Configuration` is made by `load.py` in a process that may read files and look up users; the daemon
only ever sees these objects, or their JSON (`to_json`, `settings_from_json`, `spec_from_json`).
"""

import json
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, cast

from supervisord_lite.base.record import defaults_of, fields_of, record, replace
from supervisord_lite.core.cron import Cron, Zone
from supervisord_lite.core.policy import BackoffPolicy, Critical, Policy, Rung
from supervisord_lite.core.probing import Pace
from supervisord_lite.core.recycle import Recycle
from supervisord_lite.core.scale import MAX_POOL_SIZE
from supervisord_lite.core.schedule import Schedule

_T = TypeVar("_T")

#: What the command line, the environment and the paths of one start may take, as the JSON of the
#: message in which the daemon passes them on; the rest of that message is for what it adds.
MAX_START_BYTES = 160 * 1024
#: sun_path of unix(7), less the NUL.
MAX_SOCKET_PATH_BYTES = 107
#: Of all pools together.
MAX_PROCESSES = 20_000


@record
class Origin:
    """Where a table or key stands: file as typed, line from 1."""

    file: str
    line: int


@record
class Identity:
    """Whom a worker runs as; looked up when the file was read.

    Attributes:
        groups: Every supplementary group, the primary one included.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    user: str
    home: str
    shell: str


@record
class Grant:
    """Somebody who is given a right: this user, else everybody of this group, else anybody.

    Attributes:
        name: As written: "anna", "@deploy", "*".
        uid, gid: Looked up when the file was read; one of them at most.
    """

    name: str
    uid: int | None = None
    gid: int | None = None


@record
class LogTarget:
    """Where one output stream goes.

    Attributes:
        kind: "file" (`path`, absolute, may hold %i), "journal" (systemd's), "inherit" (the daemon's
            own stream), "null", or "stdout" (of stderr only: where stdout goes, in the order
            written).
    """

    kind: Literal["file", "journal", "inherit", "null", "stdout"]
    path: str = ""


@record
class Limit:
    """One rlimit: `name` as in the file ("nofile"), value for soft and hard; None: unlimited."""

    name: str
    value: int | None


@record
class Socket:
    """A socket that the daemon listens on for a worker, and hands on to each of its processes.

    Where `place` counts instances (%i), each has its own; else all of the pool share one.

    Attributes:
        name: Among those of its worker; LISTEN_FDNAMES.
        kind: "tcp" (`host` in digits, empty: all addresses; `place` is the port), "unix" (`place`
            is the path), "systemd" (`place` is the name of a descriptor handed to the daemon) or
            "private" (a unix socket made anew for each process, known to the daemon only).
        mode, uid, gid: Of a unix socket; None: the daemon's.
        backlog: Connections that wait at most.
        fd: At which descriptor the process finds it.
    """

    name: str
    kind: Literal["tcp", "unix", "systemd", "private"]
    host: str
    place: str
    mode: int = 0o660
    uid: int | None = None
    gid: int | None = None
    backlog: int = 4096
    fd: int = -1

    def at(self, fd: int) -> "Socket":
        """Return it at another descriptor."""
        return replace(self, fd=fd)


@record
class Python:
    """A Python target, and what runs it.

    Attributes:
        target: "package.module:Target".
        interpreter: Absolute path, or a name to be looked up in the worker's PATH.
        config: Keyword arguments: a JSON object as text; texts in it may hold %i.
        says_ready: It calls `context.ready()`; else it is ready when it runs.
        preload: Modules that are imported once, before its processes are forked.
    """

    target: str
    interpreter: str
    config: str = "{}"
    says_ready: bool = False
    preload: tuple[str, ...] = ()


@record
class Health:
    """How a worker is asked whether it works. Texts may hold %i and %{N..}.

    Attributes:
        kind: "http", "tcp" or "exec".
        pace: When, and what is a failure.
        host: As written, without brackets; `addresses` are its own, in digits, tried in order.
        port: Empty: that of HTTP.
        path: Of the request.
        socket: Name of the private socket that is asked instead of host and port.
        argv: Of "exec".
    """

    kind: Literal["http", "tcp", "exec"]
    pace: Pace = Pace()
    host: str = ""
    port: str = ""
    path: str = ""
    socket: str = ""
    addresses: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()


@record
class Secret:
    """What a worker gets, and nobody else may read.

    Attributes:
        name: Of the variable, or of the file.
        kind: "file" (`place` is the path, absolute, may hold %i) or "credential" (`place` is the
            name of one that systemd has handed to the daemon).
        digest: What tells one value from another, by a key that only this daemon has: see
            secret_digests.py. Empty: not known.
    """

    name: str
    kind: Literal["file", "credential"]
    place: str
    digest: str = ""


@record
class Launch:
    """How one process is started. Texts may hold %i and %{N..}: see `instance_text`.

    Attributes:
        argv: At least one word; argv[0] without a slash is looked up in the worker's PATH, with a
            slash relative to `directory`. None at all for a Python target.
        environment: Added to the daemon's cleaned environment, in order; None unsets.
        directory: Absolute; followed at each start.
        umask: As a number.
        nice: Added to the daemon's niceness, -20..19.
        identity: None: the daemon's own user.
        capabilities: Those that it keeps, in the order of the kernel; None: the daemon's, or for
            another user none.
        no_new_privs: No program that it runs has more rights than itself.
        memory_bytes, cpu_cores, pids: cgroup limits; enforced where a controller is delegated.
        sockets: In the order of the file.
        secrets: Read anew at each start.
        secrets_as: As variables, or as files in the folder of the run.
        notify: It has a notification socket of its own.
        ready_fd: Where it writes a newline when it is ready; None: nowhere.
        heartbeat_timeout_s: It must say WATCHDOG=1 so often once it is ready; None: it need not.
        log_max_size_bytes: Rotate at this size; 0 never.
        log_max_age_s: Rotate when the first line is so old; None: never.
        log_backups: Rotated files kept.
        log_compress: Compress them.
        log_level_prefix: "<3>" at the beginning of a line is its priority in the journal.
        log_format: How lines stand in files.
        python: The target that is run instead of a command.
    """

    argv: tuple[str, ...]
    directory: str
    environment: tuple[tuple[str, str | None], ...] = ()
    umask: int = 0o022
    nice: int = 0
    identity: Identity | None = None
    capabilities: tuple[str, ...] | None = None
    no_new_privs: bool = False
    rlimits: tuple[Limit, ...] = ()
    memory_bytes: int | None = None
    cpu_cores: float | None = None
    pids: int | None = None
    sockets: tuple[Socket, ...] = ()
    secrets: tuple[Secret, ...] = ()
    secrets_as: Literal["environment", "files"] = "environment"
    notify: bool = False
    ready_fd: int | None = None
    heartbeat_timeout_s: float | None = None
    stdout: LogTarget = LogTarget("inherit")
    stderr: LogTarget = LogTarget("stdout")
    log_max_size_bytes: int = 50 * 1024 * 1024
    log_backups: int = 10
    log_format: Literal["raw", "stamped", "json"] = "raw"
    log_max_age_s: float | None = None
    log_compress: bool = False
    log_level_prefix: bool = True
    python: Python | None = None


@record
class Spec:
    """One [worker.NAME] table.

    Attributes:
        requires: Pools that must be ready before this one starts, and stop after it.
        after: Pools that must be ready, or have given up, before this one starts.
        critical: Whose open breaker ends the whole service.
        singleton: Never two: `pool_size` is 1 and cannot be scaled.
        max_unavailable: Of a restart: so many instances are away at once.
        max_surge: Of a restart: so many more processes there are at once, started first.
        operators: Who may operate this pool, besides those who may operate all.
        events: Globs of the events that it is told on its stdin; none: that is empty.
        health: How its instances are asked whether they work; None: they are not.
        recycle: When a run gives way to a fresh one.
    """

    pool: str
    pool_size: int
    policy: Policy
    launch: Launch
    origin: Origin
    requires: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    critical: Critical = "no"
    singleton: bool = False
    max_unavailable: int = 1
    max_surge: int = 0
    operators: tuple[Grant, ...] = ()
    events: tuple[str, ...] = ()
    health: Health | None = None
    recycle: Recycle = Recycle()


@record
class Settings:
    """[supervisor] and [control]; folders are absolute.

    Attributes:
        log_dir: None when neither the file nor systemd names one: workers then inherit.
        log_format: "text" or "json"; None: text on a terminal, else json.
        control_path: Of the control socket.
        admin, operate, read: Whom [control] gives which right, besides root and the daemon's user.
        http: Where health and metrics are served, "HOST:PORT" with the host in digits; empty:
            nowhere.
        drain_s: How long a planned stop says "not ready" there before anybody is stopped.
        secrets: Texts that are not shown where others may stand: see secrecy.py. No key.
    """

    config_path: str
    state_dir: str
    runtime_dir: str
    log_dir: str | None
    control_path: str
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] | None = None
    admin: tuple[Grant, ...] = ()
    operate: tuple[Grant, ...] = ()
    read: tuple[Grant, ...] = ()
    http: str = ""
    drain_s: float = 0.0
    secrets: tuple[str, ...] = ()


@record
class Configuration:
    """A whole file, judged good. Specs stand in file order."""

    settings: Settings
    specs: tuple[Spec, ...]


def to_json(value: Settings | Spec) -> str:
    """Return *value* as one line of JSON that the functions below read back without loss.

    With every field, also for code of another version, whose defaults may be others.
    """
    return json.dumps(value, default=fields_of, separators=(",", ":"), allow_nan=False)


def to_short_json(value: Spec) -> str:
    """Return the same without what has its default, for code of this very version."""
    return json.dumps(value, default=_set_fields, separators=(",", ":"), allow_nan=False)


def _set_fields(value: object) -> dict[str, Any]:
    """Return those fields of a record that have another value than their default."""
    defaults = defaults_of(type(value))
    return {
        name: field
        for name, field in fields_of(value).items()
        if name not in defaults or field != defaults[name]
    }


#: Values that many specs have in common are one object each: there may be thousands of specs.
_common: dict[object, object] = {}
_MOST_COMMON = 256


def _shared(value: _T) -> _T:
    """Return the first one that was equal to *value*, which never changes."""
    if len(_common) >= _MOST_COMMON:
        _common.clear()
    return cast("_T", _common.setdefault((type(value), value), value))


def settings_from_json(text: str) -> Settings:
    """Return the settings that `to_json` wrote."""
    return _settings(json.loads(text))


def spec_from_json(text: str) -> Spec:
    """Return the spec that `to_json` wrote. Fields that it lacks get their defaults.

    Raises:
        ValueError: It is damaged, in a way that could never come to an end.
    """
    spec = _spec(json.loads(text))
    if not 1 <= spec.pool_size <= MAX_POOL_SIZE:
        message = f"saved spec: pool_size: {spec.pool_size!r} does not fit"
        raise ValueError(message)
    return spec


def policy_from_data(data: dict[str, Any]) -> Policy:
    """Return the policy of which `to_json` has written *data*."""
    return _policy(data)


def _spec(data: dict[str, Any]) -> Spec:
    return Spec(
        pool=data["pool"],
        pool_size=data["pool_size"],
        policy=_shared(_policy(data["policy"])),
        launch=_launch(data["launch"]),
        origin=Origin(_shared(data["origin"]["file"]), data["origin"]["line"]),
        requires=tuple(data.get("requires", ())),
        after=tuple(data.get("after", ())),
        critical=data.get("critical", "no"),
        singleton=data.get("singleton", False),
        max_unavailable=data.get("max_unavailable", 1),
        max_surge=data.get("max_surge", 0),
        operators=_grants(data.get("operators", ())),
        events=tuple(data.get("events", ())),
        health=_health(data.get("health")),
        recycle=_shared(Recycle(**data.get("recycle", {}))),
    )


def _health(data: dict[str, Any] | None) -> Health | None:
    if data is None:
        return None
    for key in ("addresses", "argv"):
        data[key] = tuple(data.get(key, ()))
    data["pace"] = Pace(**data.get("pace", {}))
    return Health(**data)


def _settings(data: dict[str, Any]) -> Settings:
    for key in ("admin", "operate", "read"):
        data[key] = _grants(data.get(key, ()))
    data["secrets"] = tuple(data.get("secrets", ()))
    return Settings(**data)


def _grants(data: Iterable[dict[str, Any]]) -> tuple[Grant, ...]:
    return tuple(Grant(**grant) for grant in data)


def _policy(data: dict[str, Any]) -> Policy:
    if "ok_exit_codes" in data:
        data["ok_exit_codes"] = tuple(data["ok_exit_codes"])
    if "stop_ladder" in data:
        data["stop_ladder"] = tuple(Rung(**rung) for rung in data["stop_ladder"])
    if "backoff" in data:
        data["backoff"] = BackoffPolicy(**data["backoff"])
    if data.get("schedule") is not None:
        data["schedule"] = _schedule(data["schedule"])
    return Policy(**data)


def _schedule(data: dict[str, Any]) -> Schedule:
    if data.get("cron") is not None:
        data["cron"] = Cron(**data["cron"])
    if "zone" in data:
        zone = data["zone"]
        data["zone"] = Zone(**{**zone, "changes": tuple(map(tuple, zone.get("changes", ())))})
    return Schedule(**data)


def _launch(data: dict[str, Any]) -> Launch:
    data["argv"] = tuple(data["argv"])
    data["directory"] = _shared(data["directory"])
    if "environment" in data:
        environment = tuple((name, value) for name, value in data["environment"])
        data["environment"] = _shared(environment)
    if "rlimits" in data:
        data["rlimits"] = tuple(Limit(**limit) for limit in data["rlimits"])
    if data.get("identity") is not None:
        identity = data["identity"]
        data["identity"] = Identity(**{**identity, "groups": tuple(identity["groups"])})
    if data.get("capabilities") is not None:
        data["capabilities"] = tuple(data["capabilities"])
    if "sockets" in data:
        data["sockets"] = tuple(Socket(**each) for each in data["sockets"])
    if data.get("python") is not None:
        python = data["python"]
        data["python"] = Python(**{**python, "preload": tuple(python.get("preload", ()))})
    if "secrets" in data:
        data["secrets"] = tuple(Secret(**each) for each in data["secrets"])
    for stream in ("stdout", "stderr"):
        if stream in data:
            data[stream] = _shared(LogTarget(**data[stream]))
    return Launch(**data)
