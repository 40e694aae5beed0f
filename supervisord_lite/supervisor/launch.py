"""From a spec to what the keeper is asked for one run of it. Pure but for the marker."""

import json
import os
import zlib
from collections.abc import Iterable

import supervisord_lite
from supervisord_lite.base.record import fields_of
from supervisord_lite.config.expand import instance_text, instance_value
from supervisord_lite.config.spec import (
    MAX_SOCKET_PATH_BYTES,
    Launch,
    LogTarget,
    Settings,
    Socket,
    Spec,
)
from supervisord_lite.core import actions
from supervisord_lite.wire.journald import SOCKET

#: What goes to the journal is kept in two files of this size for `logs`, and to wait for it.
_SPOOL_BYTES = 128 * 1024

#: The file that the interpreter of a Python worker runs: see there.
BOOT = f"{os.path.dirname(os.path.abspath(supervisord_lite.__file__))}/worker/boot.py"  # noqa: PTH100, PTH120


def printed_name(spec: Spec, index: int) -> str:
    """Return the name that people use: "web" of a pool of one, "web-2" of a larger one."""
    # Not the others of a larger pool that has just become one: they are still on the way out.
    return spec.pool if spec.pool_size == 1 and index == 1 else f"{spec.pool}-{index}"


def action_request(
    action: actions.Spawn | actions.SendSignal | actions.KillTree,
    spec: Spec,
    index: int,
    settings: Settings,
) -> dict[str, object]:
    """Return what the keeper is asked when the core says what to do; arguments as below."""
    base: dict[str, object] = {"pool": spec.pool, "index": index, "run": action.run}
    match action:
        case actions.Spawn(run):
            return spawn_request(spec, index, run, settings)
        case actions.SendSignal(_, number, scope):
            return {"do": "signal", **base, "signal": number, "scope": scope, "stop": True}
        case actions.KillTree():
            return {"do": "kill", **base}


def spawn_request(spec: Spec, index: int, run: int, settings: Settings) -> dict[str, object]:
    """Return what the keeper is asked, with a fresh marker.

    Args:
        spec: Of the pool.
        index: Of the instance, from 1.
        run: Number of the run.
        settings: Where the control socket and the folders of workers stand.
    """
    launch = spec.launch
    marker = os.urandom(16).hex()
    folder = own_folder(spec.pool, index, run, settings.runtime_dir)
    voice = folder if launch.notify else None
    record_fd, record = launch_record(spec, index, voice)
    return {
        "do": "spawn",
        "pool": spec.pool,
        "index": index,
        "run": run,
        "name": printed_name(spec, index),
        "marker": marker,
        "argv": _argv(spec, index, record_fd),
        "python": record,
        "record_fd": record_fd,
        "directory": instance_text(launch.directory, index),
        "environment": _environment(spec, index, marker, settings.control_path, voice),
        "umask": launch.umask,
        "nice": launch.nice,
        "identity": identity_request(launch),
        "privileges": privileges_request(launch),
        "rlimits": [[limit.name, limit.value] for limit in launch.rlimits],
        "cgroup": cgroup_limits(launch),
        "sockets": [_socket(spec.pool, each, index, folder) for each in launch.sockets],
        "secrets": _secrets(launch, index),
        "secrets_as": launch.secrets_as,
        "folder": folder,
        "notify": voice,
        "ready_fd": launch.ready_fd,
        "listens": bool(spec.events),
        "stdout": output_request(spec, launch.stdout, index, settings),
        "stderr": output_request(spec, launch.stderr, index, settings, is_stderr=True),
    }


def launch_record(
    spec: Spec, index: int, folder: str | None
) -> tuple[int, dict[str, object] | None]:
    """Return what the process of a Python target is told, and at which descriptor.

    See worker/launched.py for what stands in it. Without a target: 0 and None.

    Args:
        spec: Of the pool.
        index: Of the instance, from 1.
        folder: Of its notification socket.
    """
    launch, python = spec.launch, spec.launch.python
    if python is None:
        return 0, None
    record = {
        "target": python.target,
        "config": instance_value(json.loads(python.config), index),
        "name": printed_name(spec, index),
        "pool": spec.pool,
        "instance": index,
        "directory": instance_text(launch.directory, index),
        "ready": "notify" if python.says_ready else "run",
        "notify": None if folder is None else f"{folder}/notify",
        "heartbeat_timeout_s": launch.heartbeat_timeout_s,
        "stop_timeout_s": sum(rung.timeout_s for rung in spec.policy.stop_ladder),
        "sockets": {each.name: each.fd for each in launch.sockets},
    }
    # Behind the sockets, which stand from 3 on without a gap.
    return max([2, *(each.fd for each in launch.sockets)]) + 1, record


def _argv(spec: Spec, index: int, record_fd: int) -> list[str]:
    python = spec.launch.python
    if python is None:
        return [instance_text(word, index) for word in spec.launch.argv]
    name = printed_name(spec, index)
    return [python.interpreter, BOOT, str(record_fd), name, python.target]


def probe_request(
    spec: Spec, index: int, run: int, number: int, settings: Settings
) -> dict[str, object]:
    """Return what the keeper is asked when a program is to say whether a run works.

    Args:
        spec: Of the pool; it has such a program.
        index: Of the instance, from 1.
        run: Number of the run that it is about.
        number: Of the question; the answer brings it back.
        settings: As above.
    """
    launch, health = spec.launch, spec.health
    assert health is not None
    marker = os.urandom(16).hex()
    environment = _environment(spec, index, marker, settings.control_path, None)
    has_files = launch.secrets_as == "files"
    if has_files:  # they are there, for the run that it is about
        folder = own_folder(spec.pool, index, run, settings.runtime_dir)
        environment += [(f"{each.name}_FILE", f"{folder}/{each.name}") for each in launch.secrets]
    return {
        "do": "probe",
        "pool": spec.pool,
        "index": index,
        "run": run,
        "name": printed_name(spec, index),
        "number": number,
        "timeout_s": health.pace.timeout_s,
        "marker": marker,
        "argv": [instance_text(word, index) for word in health.argv],
        "directory": instance_text(launch.directory, index),
        "environment": environment,
        "umask": launch.umask,
        "nice": launch.nice,
        "identity": identity_request(launch),
        "privileges": privileges_request(launch),
        "rlimits": [[limit.name, limit.value] for limit in launch.rlimits],
        "cgroup": cgroup_limits(launch),
        "secrets": [] if has_files else _secrets(launch, index),
        "secrets_as": launch.secrets_as,
    }


def _secrets(launch: Launch, index: int) -> list[list[str]]:
    return [[each.name, each.kind, instance_text(each.place, index)] for each in launch.secrets]


def identity_request(launch: Launch) -> dict[str, object] | None:
    """Return whom a process runs as; None: the daemon's own user."""
    identity = launch.identity
    if identity is None:
        return None
    return {
        "uid": identity.uid,
        "gid": identity.gid,
        "groups": list(identity.groups),
        "user": identity.user,
    }


def privileges_request(launch: Launch) -> dict[str, object] | None:
    """Return what a process gives up besides, see keeper/privileges.py; None: nothing."""
    if launch.capabilities is None and not launch.no_new_privs:
        return None
    kept = None if launch.capabilities is None else list(launch.capabilities)
    return {"capabilities": kept, "no_new_privs": launch.no_new_privs}


def relog_request(spec: Spec, index: int, run: int, settings: Settings) -> dict[str, object]:
    """Return what the keeper is asked when the output of a run goes elsewhere from now on."""
    launch = spec.launch
    return {
        "do": "relog",
        "pool": spec.pool,
        "index": index,
        "run": run,
        "name": printed_name(spec, index),
        "stdout": output_request(spec, launch.stdout, index, settings),
        "stderr": output_request(spec, launch.stderr, index, settings, is_stderr=True),
    }


def _environment(
    spec: Spec, index: int, marker: str, control_path: str, folder: str | None
) -> list[tuple[str, str | None]]:
    ours: Iterable[tuple[str, str | None]] = (
        ("SUPERVISORD_LITE_NAME", printed_name(spec, index)),
        ("SUPERVISORD_LITE_POOL", spec.pool),
        ("SUPERVISORD_LITE_INSTANCE", str(index)),
        ("SUPERVISORD_LITE_SOCKET", control_path),
        ("INVOCATION_ID", marker),
    )
    theirs = (
        (name, None if value is None else instance_text(value, index))
        for name, value in spec.launch.environment
    )
    timeout_s, python = spec.launch.heartbeat_timeout_s, spec.launch.python
    # The child side of a Python target knows the way. What the target starts should not talk for
    # it, unless somebody wants to hear more than that it runs.
    is_told = python is None or python.says_ready or timeout_s is not None
    voice = [("NOTIFY_SOCKET", f"{folder}/notify")] if folder is not None and is_told else []
    if timeout_s is not None and folder is not None:
        # Source: sd_watchdog_enabled(3). Without WATCHDOG_PID a wrapper's child may speak too.
        voice.append(("WATCHDOG_USEC", str(int(timeout_s * 1e6))))
    if spec.launch.secrets:
        # For a runtime that hides what it knows (worker/masks.py).
        names = " ".join(each.name for each in spec.launch.secrets)
        voice.append(("SUPERVISORD_LITE_SECRETS", names))
    return [*theirs, *ours, *voice]


def _socket(pool: str, own: Socket, index: int, folder: str) -> dict[str, object]:
    if own.kind == "private":
        return {**fields_of(own), "place": _private_place(own, folder), "key": ""}
    place = instance_text(own.place, index)
    return {**fields_of(own), "place": place, "key": socket_key(pool, own, index)}


def _private_place(own: Socket, folder: str) -> str:
    """Return the path of a private socket: not longer than that of the notification socket."""
    return f"{folder}/s{own.fd}"


def private_place(spec: Spec, name: str, index: int, run: int, settings: Settings) -> str | None:
    """Return the path of a private socket of one run; None: its spec has none of that name."""
    folder = own_folder(spec.pool, index, run, settings.runtime_dir)
    found = (each for each in spec.launch.sockets if (each.name, each.kind) == (name, "private"))
    own = next(found, None)
    return None if own is None else _private_place(own, folder)


def socket_key(pool: str, own: Socket, index: int) -> str:
    """Return by what the keeper knows a socket: one for the pool, unless places differ."""
    is_shared = own.place == instance_text(own.place, index) == instance_text(own.place, index + 1)
    return f"{pool}/{own.name}" if is_shared else f"{pool}/{own.name}/{index}"


def socket_keys(specs: Iterable[Spec]) -> list[str]:
    """Return the keys of all sockets of these specs, each once."""
    keys = (
        socket_key(spec.pool, each, index)
        for spec in specs
        for each in spec.launch.sockets
        if each.kind != "private"
        for index in range(1, spec.pool_size + 1)
    )
    return list(dict.fromkeys(keys))


def own_folder(pool: str, index: int, run: int, runtime_dir: str) -> str:
    """Return the folder that belongs to one run of an instance: only its user may enter it.

    Two runs of one slot may live at the same time, so each has its own. Its name is the pool's
    where the path of a socket in it is short enough, else a digest.
    """
    folder = f"{runtime_dir}/w/{pool}.{index}.{run}"
    if len(os.fsencode(folder)) + len("/notify") <= MAX_SOCKET_PATH_BYTES:
        return folder
    digest = f"{zlib.crc32(pool.encode()):08x}{zlib.adler32(pool.encode()):08x}"
    return f"{runtime_dir}/w/{digest}.{index}.{run}"


def cgroup_limits(launch: Launch) -> dict[str, str]:
    """Return the limits as files of a cgroup: controller.name -> text (cgroups(7))."""
    limits = {}
    if launch.memory_bytes is not None:
        limits["memory.max"] = str(launch.memory_bytes)
    if launch.cpu_cores is not None:
        limits["cpu.max"] = f"{int(launch.cpu_cores * 100_000)} 100000"
    if launch.pids is not None:
        limits["pids.max"] = str(launch.pids)
    return limits


def outputs(spec: Spec, index: int) -> tuple[str, str]:
    """Return where stdout and stderr go, for people: a path, "inherit" or "null"."""
    stdout = _place(spec.launch.stdout, index)
    if spec.launch.stderr.kind == "stdout":
        return stdout, stdout
    return stdout, _place(spec.launch.stderr, index)


def log_places(spec: Spec, index: int, settings: Settings) -> tuple[str, str]:
    """Return where stdout and stderr can be read: a path, "inherit" or "null"."""
    own = (spec.launch.stdout, spec.launch.stderr)
    stdout, stderr = (
        _kept_at(spec, index, settings, is_stderr=bool(number))
        if target.kind == "journal"
        else place
        for number, (target, place) in enumerate(zip(own, outputs(spec, index), strict=True))
    )
    return stdout, stdout if own[1].kind == "stdout" else stderr


def _kept_at(spec: Spec, index: int, settings: Settings, *, is_stderr: bool) -> str:
    """Return the file through which output goes to the journal, and in which `logs` reads it."""
    kind = ".stderr" if is_stderr else ""
    return f"{settings.runtime_dir}/output/{printed_name(spec, index)}{kind}.log"


def _place(target: LogTarget, index: int) -> str:
    return instance_text(target.path, index) if target.kind == "file" else target.kind


def output_request(
    spec: Spec, target: LogTarget, index: int, settings: Settings, *, is_stderr: bool = False
) -> dict[str, object]:
    """Return where an output of one instance goes."""
    launch = spec.launch
    if target.kind == "journal":
        about = {"POOL": spec.pool, "INSTANCE": str(index)}
        stream: dict[str, object] = {
            "path": _kept_at(spec, index, settings, is_stderr=is_stderr),
            "max_size": _SPOOL_BYTES,
            "backups": 1,
            "is_stderr": is_stderr,
            "echo": {"socket": SOCKET, "fields": about, "prefix": launch.log_level_prefix},
        }
        return {"to": "log", "stream": stream}
    if target.kind != "file":
        return {"to": target.kind}
    stream = {
        "path": instance_text(target.path, index),
        "max_size": launch.log_max_size_bytes,
        "backups": launch.log_backups,
        "format": launch.log_format,
        "max_age": launch.log_max_age_s,
        "compress": launch.log_compress,
        "is_stderr": is_stderr,
    }
    return {"to": "log", "stream": stream}
