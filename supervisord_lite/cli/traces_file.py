"""The file of traces: found, judged, read and made anew by `run` (see keeper/traces.py)."""

import os
import secrets
import stat
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from supervisord_lite.base.errors import PermissionRefusedError
from supervisord_lite.cli.left_found import Left, Trace, trace_of
from supervisord_lite.cli.text import count
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.traces import MOST_RECORDS, RECORD_BYTES, VERSION, records
from supervisord_lite.keeper.traces import record as line_of
from supervisord_lite.keeper.trees import process

_SHARED_MEMORY = "/dev/shm"  # noqa: S108  # our file has a check of its owner
_FILE_NAME = "traces"
_NAMES = (_FILE_NAME, "supervisord-lite.")
_MOST_FOLDER = 100
_IN_MEMORY = ("tmpfs", "ramfs")
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def name_of(state_dir: str) -> str:
    """Return what a daemon is called, the same each time it is started on this folder."""
    return f"{zlib.crc32(os.fsencode(Path(state_dir).resolve())):08x}"


def _head(state_dir: str) -> dict[str, Any]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    pids = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    folder = str(Path(state_dir).resolve())[:_MOST_FOLDER]  # for people
    return {"v": VERSION, "boot_id": boot, "pids": pids, "of": name_of(state_dir), "in": folder}


def read_traces(path: str, state_dir: str) -> tuple[list[Trace], str]:
    """Return what the keeper before has written down; and why not all is there, if it is not.

    Raises:
        PermissionRefusedError: That keeper lives, so nothing of it is left.
    """
    if not path:
        return [], ""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return [], ""  # it has ended in order
    except OSError as error:
        return [], f"{path}: {error.strerror}"
    about = os.fstat(descriptor)
    is_file = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid()
    if not is_file or about.st_mode & 0o022:
        os.close(descriptor)
        return [], f"{path}: is not a file of ours alone"
    with os.fdopen(descriptor, "rb") as file:
        found, damaged = records(file.read((MOST_RECORDS + 1) * RECORD_BYTES))
    head, lines = (found[0], found[1:]) if found else ({}, [])
    wanted = _head(state_dir)
    pid, _, born_ns = (head.pop(name, 0) for name in ("pid", "from", "to"))  # of every line
    if head.get("v") == VERSION and head != wanted:
        return [], ""  # of another boot, or another container: nothing of that is here
    if head != wanted:
        return [], f"{path}: damaged, or not of this version"
    if _lives(pid, born_ns):
        raise refusal(pid, state_dir)
    traces = [trace_of(line) for line in lines]
    damaged += sum(trace is None for trace in traces)
    sound = [trace for trace in traces if trace is not None]
    return sound, f"{path}: {count(damaged, 'line')} of it cannot be read" if damaged else ""


def _lives(pid: object, born_ns: object) -> bool:
    """Return whether a keeper is alive that is not what we become."""
    if not isinstance(pid, int) or not isinstance(born_ns, int) or pid in (0, os.getpid()):
        return False
    found = process(Calls(), pid)
    return found is not None and not found.zombie and found.started == born_ns // _TICK_NS


def refusal(pid: int, state_dir: str) -> PermissionRefusedError:
    """Return why nothing is ended: the lock of our folder is ours, and yet that keeper lives."""
    message = f"state_dir: {state_dir}: pid {pid} is a daemon that lives, in another such folder"
    hint = (
        "that may be below a mount, in another container, or deleted: stop that daemon, or set "
        "state_dir to another path"
    )
    return PermissionRefusedError(message, hint=hint)


def name_kept_by(pid: int) -> str | None:
    """Return the name of the daemon whose file of traces a process has open; None: none is seen."""
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            name = os.path.basename(os.readlink(entry.path))  # noqa: PTH115, PTH119
            if name.startswith(_NAMES) and stat.S_ISREG(entry.stat().st_mode):
                with open(entry.path, "rb") as file:  # noqa: PTH123
                    heads, _ = records(file.read(RECORD_BYTES))
                if heads and isinstance(heads[0].get("of"), str):
                    return str(heads[0]["of"])
    except OSError:
        return None
    return None


def places_of(runtime_dir: str, state_dir: str) -> list[str]:
    """Return where the file of a daemon may stand, the best place first."""
    name = f"supervisord-lite.{os.geteuid()}.{name_of(state_dir)}"
    return [f"{runtime_dir}/{_FILE_NAME}", f"{_SHARED_MEMORY}/{name}"]


def new_file(runtime_dir: str, state_dir: str, held: Iterable[Left]) -> tuple[int, str]:
    """Make the file of traces; return its descriptor and its path.

    Args:
        runtime_dir: Where it stands, if that is in memory.
        state_dir: Whose it is.
        held: What it begins with: those have lived through all.

    Raises:
        OSError: It cannot be made anywhere.
    """
    lines = b"".join([_first_line(state_dir), *map(_line, held)])
    problem = OSError(0, "no file system in memory")
    for path in places_of(runtime_dir, state_dir):
        if _is_in_memory(path):
            try:
                return _made(path, lines)
            except OSError as error:  # that memory may be full, or small
                problem = error
    raise problem


def _made(path: str, lines: bytes) -> tuple[int, str]:
    own = f"{path}.{secrets.token_hex(4)}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(own, flags, 0o600)
    try:
        # Some room at once: a memory that is full is found out here.
        os.posix_fallocate(descriptor, 0, 64 * RECORD_BYTES)
        os.pwrite(descriptor, lines, 0)
    except OSError:
        os.close(descriptor)
        Path(own).unlink(missing_ok=True)
        raise
    try:
        Path(own).rename(path)
    except OSError:
        # Anybody may put something of that name into a folder for all. The lock says where it is.
        return descriptor, own
    return descriptor, path


def remove_file(path: str) -> None:
    """Remove the file of traces that another one has taken the place of, if it is one of ours."""
    try:
        if stat.S_ISREG(os.lstat(path).st_mode) and Path(path).name.startswith(_NAMES):
            Path(path).unlink()
    except OSError:
        return


def _first_line(state_dir: str) -> bytes:
    """Return the line that says whose the file is, and who: we, who become the keeper."""
    own = process(Calls(), os.getpid())
    born_ns = 0 if own is None else own.started * _TICK_NS
    return line_of(_head(state_dir), os.getpid(), born_ns, born_ns)


def _line(each: Left) -> bytes:
    trace = each.trace
    born_ns = each.found.started * _TICK_NS
    about = {
        "what": trace.what, "key": [*(trace.slot or ("", 0)), trace.run], "name": trace.called,
        "marker": trace.marker, "pipes": trace.pipes, "cgroup": trace.cgroup,
    }  # fmt: skip
    return line_of(about, each.found.pid, born_ns, born_ns)


def _is_in_memory(path: str) -> bool:
    """Return whether the folder of *path* is in a file system that lies in memory."""
    try:
        device = Path(path).parent.stat().st_dev
    except OSError:
        return False
    return file_systems().get(f"{os.major(device)}:{os.minor(device)}") in _IN_MEMORY


def file_systems() -> dict[str, str]:
    """Return the kind of each mounted file system, by its device."""
    kinds = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kinds[left.split(" ")[2]] = right.split(" ")[0]
    return kinds
