"""What `doctor` looks at: the files, the box, the unit and the daemon. Nothing is changed."""

from __future__ import annotations

import copy
import ctypes
import os
import pwd
import resource
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.base.record import record
from supervisord_lite.cli import place
from supervisord_lite.cli.installation import interpreter_of, other_command
from supervisord_lite.cli.systemctl import properties
from supervisord_lite.config.defaults import default_config_path
from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.guarded import OPEN_FILE
from supervisord_lite.config.load import judge, survey
from supervisord_lite.wire.journald import SOCKET

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from supervisord_lite.config.load import Judged

#: What of a unit is looked at: systemd.service(5), systemd.exec(5), systemd.resource-control(5).
_PROPERTIES = (
    "LoadState", "ActiveState", "Type", "NotifyAccess", "User", "TimeoutStopUSec", "WatchdogUSec",
    "Delegate", "KillMode", "OOMPolicy", "TasksMax", "LimitNOFILE", "LimitNOFILESoft", "Restart",
    "RestartPreventExitStatus", "StartLimitIntervalUSec", "StartLimitBurst", "MainPID",
    "NeedDaemonReload", "RuntimeDirectoryPreserve",
)  # fmt: skip
_ANSWER_TIMEOUT_S = 5.0
#: adjtimex(2): the clock is not synchronised.
_TIME_ERROR = 5
#: capabilities(7): may look into processes of others.
_CAP_SYS_PTRACE = 19


@record
class Folder:
    """A file or folder that others might change.

    Attributes:
        what: What it is to the daemon: "configuration", "log folder", "command of web" …
        path: Absolute, links resolved.
        mode, uid, gid: As stat(2) has them.
        is_folder: It is one.
    """

    what: str
    path: str
    mode: int
    uid: int
    gid: int
    is_folder: bool


@record
class Facts:
    """Everything that the checks need; nothing here is a judgement.

    Attributes:
        config_path: The file that was judged.
        judged: What it means; None: it has errors, or is not there.
        error: What is wrong with it then, first lines.
        as_root: The daemon is root, or would be.
        uid: Of the daemon: of the one that answers, else of its unit, else ours.
        manager: How to call systemd for the unit: "systemctl", or "systemctl --user".
        unit_name: That would run it.
        unit: Its properties, as `systemctl show` has them; empty: no systemd runs.
        keeper_pid: Of the main process of a daemon that answers; None: there is none.
        status: Of that daemon; None: there is none.
        no_answer: Why none answers.
        descriptors: Soft and hard limit of the daemon, else of this process.
        controllers: Of cgroup v2, where this process is.
        has_cgroup_v2: It is mounted.
        makes_cgroups: The daemon may make a cgroup for each worker.
        sees_all: The daemon may read the environment of other users' processes.
        has_journal: journald takes messages here.
        is_clock_synchronised: None: the kernel does not say.
        has_timezone: /etc/localtime, or TZ, is there.
        folders: Whatever others might change, each once.
        unit_starts: The `unit` of that daemon, and the `command` of another installation that it
            starts; None: it is the one that runs, or nobody can tell.
    """

    config_path: str
    judged: Judged | None
    error: str
    as_root: bool
    uid: int
    manager: str
    unit_name: str
    unit: dict[str, str]
    keeper_pid: int | None
    status: dict[str, Any] | None
    no_answer: str
    descriptors: tuple[int, int]
    controllers: tuple[str, ...]
    has_cgroup_v2: bool
    makes_cgroups: bool
    sees_all: bool
    has_journal: bool
    is_clock_synchronised: bool | None
    has_timezone: bool
    folders: tuple[Folder, ...]
    unit_starts: dict[str, str] | None = None


def gather(arguments: argparse.Namespace) -> Facts:
    """Look at everything once."""
    instance = f"@{arguments.instance}" if arguments.instance else ""
    unit_name = f"supervisord-lite{instance}"
    # The units of instances belong to the system, whoever asks.
    is_user = not instance and os.geteuid() != 0
    unit = properties(unit_name, _PROPERTIES, is_user=is_user)
    status, no_answer = _status(_with_socket(arguments))
    keeper_pid = _keeper_pid(status)
    keeper = {} if keeper_pid is None else _about_process(keeper_pid)
    uid = _uid(keeper, unit)
    config_path = _config_path(arguments, status)
    judged, error = _judged(config_path, _environment(keeper_pid))
    cgroup = _cgroup(keeper_pid)
    return Facts(
        config_path=config_path,
        judged=judged,
        error=error,
        as_root=uid == 0,
        uid=uid,
        manager="systemctl --user" if is_user else "systemctl",
        unit_name=unit_name,
        unit=unit,
        keeper_pid=keeper_pid,
        status=status,
        no_answer=no_answer,
        descriptors=_descriptors(keeper_pid),
        controllers=_controllers(cgroup),
        has_cgroup_v2=cgroup is not None,
        makes_cgroups=_makes_cgroups(cgroup, unit),
        sees_all=bool(int(keeper.get("CapEff", "f" * 16), 16) >> _CAP_SYS_PTRACE & 1),
        has_journal=_has_journal(),
        is_clock_synchronised=_is_synchronised(),
        has_timezone=bool(os.environ.get("TZ")) or Path("/etc/localtime").exists(),
        folders=() if judged is None else tuple(_folders(judged)),
        unit_starts=None
        if status is None
        else other_command(keeper_pid, interpreter_of(status["supervisor"].get("pid"))),
    )


def _config_path(arguments: argparse.Namespace, status: dict[str, Any] | None) -> str:
    """Return the file: as typed, else the one in force, else that of the usual place."""
    if arguments.config:
        return str(arguments.config)
    if status and status["supervisor"].get("config"):
        return str(status["supervisor"]["config"])
    if arguments.instance:
        return f"/etc/supervisord-lite/{arguments.instance}.toml"
    return default_config_path(os.environ, as_root=os.geteuid() == 0)


def _keeper_pid(status: dict[str, Any] | None) -> int | None:
    """Return the main process as we see it; of a daemon in a container it is another one here."""
    pid = status["supervisor"].get("keeper_pid") if status else None
    try:
        is_it = pid is not None and Path(f"/proc/{pid}/comm").read_text() == "sdl-keeper\n"
    except OSError:
        is_it = False
    return pid if is_it else None


def _about_process(pid: int) -> dict[str, str]:
    """Return the lines of /proc/PID/status by name."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended meanwhile, or /proc hides it
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _uid(keeper: dict[str, str], unit: dict[str, str]) -> int:
    """Return as whom the daemon runs, or would run."""
    words = keeper.get("Uid", "").split()
    if len(words) > 1:
        return int(words[1])
    user = unit.get("User", "")
    if user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid if user else os.geteuid()
    except KeyError:
        return os.geteuid()


def _environment(pid: int | None) -> dict[str, str]:
    """Return the variables that the file is read with: the daemon's, or ours where none runs."""
    if pid is not None:
        try:
            entries = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
        except OSError:  # it does not show them to us
            entries = []
        found = dict(entry.partition("=")[::2] for entry in entries if "=" in entry)
        if found:
            return found
    return dict(os.environ)


def _with_socket(arguments: argparse.Namespace) -> argparse.Namespace:
    """Return what was typed, with the control socket of the file, where only that was named."""
    named = arguments.socket or arguments.instance or os.environ.get("SUPERVISORD_LITE_SOCKET")
    if named or not arguments.config:
        return arguments
    judged, _ = _judged(arguments.config, os.environ)
    asked = copy.copy(arguments)
    asked.socket = None if judged is None else judged.configuration.settings.control_path
    return asked


def _status(arguments: argparse.Namespace) -> tuple[dict[str, Any] | None, str]:
    try:
        with place.connect(arguments, answer_timeout_s=_ANSWER_TIMEOUT_S) as client:
            return client.call("Status", {"names": []}), ""
    except SupervisordLiteError as error:
        return None, str(error)


def _cgroup(pid: int | None) -> Path | None:
    """Return the folder of the cgroup v2 in which a process is; of this one for None."""
    try:
        lines = Path(f"/proc/{pid or 'self'}/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    place_of = next((line.split()[4] for line in mounts if " - cgroup2 " in line), None)
    return None if own is None or place_of is None else Path(place_of, own.lstrip("/"))


def _controllers(cgroup: Path | None) -> tuple[str, ...]:
    # In the one of the keeper itself; those of the workers are below the same parent.
    for folder in () if cgroup is None else (cgroup, cgroup.parent):
        try:
            return tuple((folder / "cgroup.controllers").read_text().split())
        except OSError:
            continue
    return ()


def _makes_cgroups(cgroup: Path | None, unit: dict[str, str]) -> bool:
    if cgroup is None:
        return False
    if Path("/run/systemd/system").is_dir():
        return unit.get("Delegate") == "yes"
    return os.access(cgroup, os.W_OK)  # in most containers the mount is read-only


def _descriptors(pid: int | None) -> tuple[int, int]:
    try:
        return resource.prlimit(pid or os.getpid(), resource.RLIMIT_NOFILE)
    except OSError:  # not ours to ask
        return resource.getrlimit(resource.RLIMIT_NOFILE)


def _has_journal() -> bool:
    """Return whether somebody listens: systemd leaves the name when it closes the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(SOCKET)
        except OSError:
            return False
    return True


def _is_synchronised() -> bool | None:
    """Ask the kernel. Source: adjtimex(2); with modes = 0 it changes nothing."""
    buffer = ctypes.create_string_buffer(512)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _judged(path: str, environ: Mapping[str, str]) -> tuple[Judged | None, str]:
    """Return what the file means, or why nobody can tell."""
    # As root we may ask for anybody's daemon, and a user that it names is no mistake then.
    as_root = os.geteuid() == 0
    try:
        return judge(path, environ=environ, as_root=as_root), ""
    except ConfigurationError as failure:
        if all(problem.message.endswith(OPEN_FILE) for problem in failure.problems):
            return survey(path, environ=environ, as_root=as_root), ""  # see the permissions
        return None, str(failure)


def _folders(judged: Judged) -> Iterable[Folder]:
    settings = judged.configuration.settings
    seen: set[str] = set()
    wanted = [("configuration", file) for file in judged.files]
    wanted += [("state_dir", settings.state_dir), ("runtime_dir", settings.runtime_dir)]
    if settings.log_dir is not None:
        wanted.append(("log_dir", settings.log_dir))
    for spec in judged.configuration.specs:
        launch = spec.launch
        for key, target in (("stdout", launch.stdout), ("stderr", launch.stderr)):
            if target.kind == "file":
                folder = str(Path(target.path).parent)
                wanted.append((f"folder of log.{key} of {spec.pool}", folder))
        key, program = ("command", launch.argv[0]) if launch.argv else ("interpreter", "")
        if launch.python is not None:
            program = launch.python.interpreter
        if program.startswith("/") and "%" not in program:
            wanted.append((f"{key} of {spec.pool}", program))
    for what, path in wanted:
        real = Path(os.path.realpath(path))
        # Whoever may change the folder of a link may lead it elsewhere.
        for each in (real, *real.parents, *Path(os.path.abspath(path)).parents):  # noqa: PTH100
            if str(each) in seen:
                continue
            seen.add(str(each))
            try:
                found = each.stat()
            except OSError:
                continue
            yield Folder(
                what, str(each), found.st_mode & 0o7777, found.st_uid, found.st_gid, each.is_dir()
            )
