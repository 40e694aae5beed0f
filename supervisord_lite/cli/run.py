"""`run`: judge the file, take the folders, open the control socket, and become the keeper.

Everything that can go wrong with good words goes wrong here, before anything is started: a bad
file is 78 whatever else is wrong, a folder that is not ours is 77. Then this process replaces
itself by the keeper (the pid stays), so that nothing of the loader stays in memory.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from supervisord_lite.base import folder_lock, resident
from supervisord_lite.base.clock import SystemClock
from supervisord_lite.base.errors import PermissionRefusedError
from supervisord_lite.base.log_line import WITH_PRIORITY, rfc3339
from supervisord_lite.base.record import record, replace
from supervisord_lite.cli.carried import (
    DAMAGED,
    carry_over,
    count_try,
    read_carried,
    remove_carried,
)
from supervisord_lite.cli.folders import make_folders
from supervisord_lite.cli.last_escalation import read_last_escalation
from supervisord_lite.cli.left_behind import Outcome, end_left_behind
from supervisord_lite.cli.plans import read_plans
from supervisord_lite.cli.traces_file import name_of, new_file, places_of, remove_file
from supervisord_lite.config.defaults import default_config_path
from supervisord_lite.config.digests import digests_of
from supervisord_lite.config.effective import FILE_NAME, write_effective
from supervisord_lite.config.errors import render
from supervisord_lite.config.load import judge
from supervisord_lite.config.modes import set_modes
from supervisord_lite.config.secret_digests import KEY_VARIABLE, sealed
from supervisord_lite.config.spec import Configuration, Settings, to_json
from supervisord_lite.keeper import boot, control_socket
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.listeners import listen_tcp
from supervisord_lite.keeper.signals import HANDLED
from supervisord_lite.scribe.files import EVENTS_FILE
from supervisord_lite.supervisor import events
from supervisord_lite.supervisor.carry import LIFE, MAY_BE_THERE
from supervisord_lite.supervisor.in_force import force_text
from supervisord_lite.supervisor.left_behind import LEFT_BEHIND
from supervisord_lite.supervisor.plan_file import PLANS

_BACKLOG = 512
#: What is between fork and exec has that long, on a busy machine.
_EXEC_S = 5.0


@record
class Heritage:
    """What the keeper holds from the beginning to the end.

    Attributes:
        places: What it keeps in its place, locks among it.
        traces: Descriptor of the file of that name; -1: there is none.
        traces_path: Of it.
        held: Slots that must not start (keeper/held.py).
    """

    places: list[dict[str, Any]]
    traces: int
    traces_path: str
    held: list[list[Any]]


@record
class Taken:
    """A folder that is ours.

    Attributes:
        folder: The descriptor that holds the lock of the folder itself.
        lock: The one that holds that of the file in it.
        token: Of the daemon that had it before; empty: there was none.
        traces: Where that one has written down what it had; empty: nowhere.
    """

    folder: int
    lock: int
    token: str
    traces: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` understands."""
    what = "the configuration file; no pipe and not -, for it is read again at each reload"
    parser.add_argument("-c", "--config", metavar="FILE", help=what)
    parser.add_argument(
        "--owner", metavar="PID", type=int,
        help="stop in order when this process, which must have started this one, has ended",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Become the daemon, in the foreground.

    Raises:
        ConfigurationError: The file is not good (exit 78).
        PermissionRefusedError: A folder may not be had, or another daemon holds it (exit 77).
    """
    as_root = os.geteuid() == 0
    path = arguments.config or default_config_path(os.environ, as_root=as_root)
    judged = judge(path, environ=os.environ, as_root=as_root)
    key = secrets.token_hex(16)
    configuration = sealed(judged.configuration, key, os.environ)
    settings = configuration.settings
    if judged.warnings:
        _tell(render(judged.warnings, "warning"))
    _open_standard_descriptors()
    for warning in make_folders(settings):
        _tell(f"supervisord-lite: warning: {warning}")
    folders = dict.fromkeys((settings.state_dir, settings.runtime_dir))
    taken = {folder: _take(folder) for folder in folders}
    own = taken[settings.state_dir]
    left, traces = _end_left_behind(configuration, own)
    # What a daemon that was killed has left of its workers' sockets.
    shutil.rmtree(Path(settings.runtime_dir, "w"), ignore_errors=True)
    # From here on there is something to take away: a signal that comes now is the keeper's to obey,
    # which lets it through as soon as it can (keeper/loop.py).
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    listener, inode = _listen(settings.control_path)
    http = _listen_http(settings) if settings.http else None
    _set_modes(configuration)
    saves: dict[str, str] = {}
    last_escalation = read_last_escalation(settings.state_dir)
    if last_escalation is not None:
        saves["last_escalation"] = json.dumps(last_escalation)
    own = replace(own, traces=traces[1])
    if told := left.told():
        saves[LEFT_BEHIND] = told
    configuration = _carry_over(configuration, own, saves)
    _take_up_plans(configuration, saves)
    _note_effective(configuration)
    places = _places(taken, settings.control_path, inode)
    digests = digests_of(judged.documents)
    # For reading the file again: the supervisor itself is started with next to nothing.
    saves["environment"] = json.dumps({**os.environ, KEY_VARIABLE: key})
    heritage = Heritage(places, *traces, left.slots)
    _become_keeper(configuration, digests, heritage, (listener, http), arguments.owner, saves)


def _end_left_behind(configuration: Configuration, own: Taken) -> tuple[Outcome, tuple[int, str]]:
    """End what a killed keeper left alive; return what came of it, and the new file of traces."""
    settings = configuration.settings
    policies = {spec.pool: spec.policy for spec in configuration.specs}
    places = [own.traces, *places_of(settings.runtime_dir, settings.state_dir)]
    left = end_left_behind(settings.state_dir, places, policies, _tell_line)
    try:
        descriptor, path = new_file(settings.runtime_dir, settings.state_dir, left.held)
    except OSError as error:
        if os.getpid() != 1:  # which takes all others along
            _tell_line(f"warning: what a killed daemon leaves may not be found: {error.strerror}")
        return left, (-1, "")
    _note_holder(own.lock, own.token, path)
    if own.traces not in ("", path):
        remove_file(own.traces)
    return left, (descriptor, path)


def _carry_over(configuration: Configuration, own: Taken, saves: dict[str, str]) -> Configuration:
    """Go on with what a keeper that died without a verdict left: add to *saves*, return sizes."""
    folder = configuration.settings.state_dir
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    life = {"token": secrets.token_hex(8), "boot_id": boot_id, "tries": 0}
    try:
        found = read_carried(folder, own.token, boot_id)
        if found is not None:
            carried = carry_over(found, configuration.specs)
            for warning in carried.warnings:
                _tell(f"supervisord-lite: warning: {warning}")
            saves.update(carried.saves)
            configuration = replace(configuration, specs=tuple(carried.specs))
            life.update(token=own.token, tries=count_try(folder, found))
            saves[MAY_BE_THERE] = "1"
    except DAMAGED as error:
        _tell(f"supervisord-lite: warning: what the last daemon left is not used: {error}")
        remove_carried(folder)
    saves[LIFE] = json.dumps(life)
    # Only now: whatever had gone wrong before, the next try finds what this one has found.
    _note_holder(own.lock, str(life["token"]), own.traces)
    return configuration


def _take_up_plans(configuration: Configuration, saves: dict[str, str]) -> None:
    """Go on with the plans of jobs whose missed runs are wanted: add to *saves*."""
    try:
        plans = read_plans(configuration.settings.state_dir, configuration.specs)
    except ValueError as error:
        _tell(f"supervisord-lite: warning: plans of the last service are not used: {error}")
        return
    if plans is not None:
        saves[PLANS] = plans


def _become_keeper(
    configuration: Configuration,
    digests: Mapping[str, str],
    heritage: Heritage,
    listeners: tuple[socket.socket, socket.socket | None],
    owner_pid: int | None,
    more: Mapping[str, str],
) -> NoReturn:
    settings = configuration.settings
    style: str = settings.log_format or ("text" if os.isatty(2) else "json")
    if _is_journal(os.environ.get("JOURNAL_STREAM", "")):
        style += WITH_PRIORITY
    saves = {
        "settings": to_json(settings),
        "pools": json.dumps([spec.pool for spec in configuration.specs]),
        "log": f"{style} {settings.log_level}",
        "force": force_text(1, digests, rfc3339(SystemClock().wall_s())),
        events.LIFE: secrets.token_hex(4),
    }
    saves.update(more)
    saves.update((f"spec/{spec.pool}", to_json(spec)) for spec in configuration.specs)
    memory = boot.prepare(
        name=name_of(settings.state_dir),
        saves=saves,
        listener=listeners[0].fileno(),
        http=-1 if listeners[1] is None else listeners[1].fileno(),
        places=heritage.places,
        log_style=style,
        log_level=settings.log_level,
        # The control socket first: an earlier version hands on only this (keeper/remaking.py).
        remove=[path for path in (settings.control_path, heritage.traces_path) if path],
        events=f"{settings.state_dir}/{EVENTS_FILE}",
        inherited=_handed_on(os.environ),
        owner_pid=owner_pid,
        traces=heritage.traces,
        held=heritage.held,
    )
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed when we were started
            stream.flush()
    command = resident.arguments_for("keeper", str(memory))
    try:
        os.execv(command[0], command)
    except OSError as error:
        Path(settings.control_path).unlink(missing_ok=True)
        message = f"{command[0]}: {error.strerror}"
        raise PermissionRefusedError(message, hint="its interpreter cannot be run") from None


def _is_journal(stream: str) -> bool:
    """Return whether stderr goes to the journal. Source: systemd.exec(5), JOURNAL_STREAM."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def _handed_on(environment: Mapping[str, str]) -> dict[str, int]:
    """Return the sockets that systemd has handed on, by name. Source: sd_listen_fds(3)."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = environment.get("LISTEN_FDS", "")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, int] = {}
    for number in range(int(count) if count.isdigit() else 0):
        name = names[number] if number < len(names) and names[number] else "unknown"
        while name in found:
            name += "+"
        found[name] = 3 + number
    return found


def _note_effective(configuration: Configuration) -> None:
    """Write down what is in force; a disk that cannot take it stops nothing."""
    try:
        write_effective(configuration)
    except OSError as error:
        _tell(f"supervisord-lite: {FILE_NAME} is not written: {error.strerror}")


def _set_modes(configuration: Configuration) -> None:
    """Let those in who are named; where that cannot be done, the daemon runs without them."""
    try:
        failed = set_modes(configuration)
    except OSError as error:
        failed = f"modes of {configuration.settings.control_path}: {error.strerror}"
    if failed:
        _tell(f"supervisord-lite: warning: {failed}")


def _tell(text: str) -> None:
    """Print what nobody need read: a full disk or closed stream behind stderr stops nothing."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _tell_line(text: str) -> None:
    _tell(f"supervisord-lite: {text}")


def _open_standard_descriptors() -> None:
    """Make sure that 0, 1 and 2 exist: the next file opened must not become somebody's output."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


def _take(folder: str) -> Taken:
    """Take the folder for this daemon.

    Raises:
        PermissionRefusedError: Another daemon has it.
    """
    path = f"{folder}/lock"
    try:
        own = folder_lock.open_folder(folder)
        stranger, lock = _hold(own, path)
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise PermissionRefusedError(message) from None
    except folder_lock.HeldError as error:
        hint = "stop that daemon, or give this one folders of its own (state_dir, runtime_dir)"
        message = f"{folder} {error}"
        if folder_lock.has_ended(error.pid):
            message = f"{folder} is held by what daemon {error.pid}, which was killed, was starting"
            hint = f"try again; who has it open: fuser -v {path}"
        raise PermissionRefusedError(message, hint=hint) from None
    if stranger:
        # Who may read the folder can do that; it costs what the lock on the folder is for.
        _tell(
            f"supervisord-lite: warning: pid {stranger} has locked {folder}, where it may not "
            "write: should the file lock in it be deleted, another daemon could take the folder"
        )
    _, token, traces = folder_lock.read_lock(lock)
    _note_holder(lock, token, traces)
    return Taken(own, lock, token, traces)


def _hold(folder: int, path: str) -> tuple[int, int]:
    """Hold the locks of a folder and of the file in it; what is about to let go is waited for.

    Until exec, what a keeper that was killed had begun to start has both.

    Returns:
        The pid of a stranger who has the lock of the folder, or 0; and the file.

    Raises:
        HeldError: Another daemon has it.
        OSError: The file cannot be had.
    """
    end_s = time.monotonic() + _EXEC_S
    lock = -1
    while True:
        try:
            stranger = folder_lock.hold_folder(folder)
            lock = folder_lock.open_lock(path) if lock < 0 else lock
            folder_lock.hold_lock(lock)
            if not stranger or not folder_lock.has_ended(str(stranger)):
                return stranger, lock
            return folder_lock.hold_folder(folder), lock
        except folder_lock.HeldError as error:
            if not folder_lock.has_ended(error.pid) or time.monotonic() > end_s:
                raise
        time.sleep(0.01)


def _note_holder(lock: int, token: str, traces: str) -> None:
    """Say in the lock who has it, under which token (supervisor/carry.py), and its traces."""
    try:
        folder_lock.write_lock(lock, os.getpid(), token, traces)
    except OSError as error:  # a full disk; what holds the folder is the lock, not its text
        _tell(f"supervisord-lite: warning: the lock cannot name its holder: {error.strerror}")


def _listen(path: str) -> tuple[socket.socket, int]:
    """Open the control socket: born with mode 0600, published by a rename.

    Raises:
        PermissionRefusedError: Somebody answers there, or it cannot be made.
    """
    try:
        return control_socket.listen(Calls(), path)
    except control_socket.AnsweredError:
        message = f"control socket {path} belongs to a live daemon"
        hint = "stop that daemon, or choose another [control] path"
        raise PermissionRefusedError(message, hint=hint) from None
    except OSError as error:
        # An address that is refused before the kernel is asked has no strerror.
        message = f"control socket {path}: {error.strerror or error}"
        raise PermissionRefusedError(message) from None


def _places(taken: Mapping[str, Taken], control_path: str, inode: int) -> list[dict[str, Any]]:
    """Return what the keeper keeps in its place (keeper/places.py)."""
    found: list[dict[str, Any]] = []
    for folder, each in taken.items():
        found.append(boot.place("folder", folder, each.folder))
        found.append(boot.place("lock", f"{folder}/lock", each.lock))
    parent = str(Path(control_path).parent)
    if parent not in taken:
        found.append(boot.place("parent", parent, folder_lock.open_folder(parent)))
    return [*found, boot.place("socket", control_path, inode)]


def _listen_http(settings: Settings) -> socket.socket:
    """Open the socket on which health and metrics are served.

    Raises:
        PermissionRefusedError: Its address cannot be had.
    """
    host, _, port = settings.http.rpartition(":")
    try:
        listener = listen_tcp(host.strip("[]"), int(port), Calls())
        listener.listen(_BACKLOG)
    except OSError as error:
        Path(settings.control_path).unlink(missing_ok=True)
        message = f"http: {settings.http}: {error.strerror or error}"
        hint = "another program may listen there (ss -ltnp), or it is not an address of this host"
        raise PermissionRefusedError(message, hint=hint) from None
    return listener
