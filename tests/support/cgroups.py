"""The cgroup v2 tree as the tests use it: where it is, where we are, who lives there."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.wait import wait_until


def mount_point() -> Path | None:
    """Return where cgroup v2 is mounted (beside v1 in .../unified), None if nowhere."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind = line.split(" ")[:3]
        if kind == "cgroup2":
            return Path(point)
    return None


def own() -> Path | None:
    """Return the cgroup v2 of this process, None where it cannot be reached."""
    point = mount_point()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if point and line.startswith("0::/") and not line.startswith("0::/.."):
            path = point / line[4:]
            return path if path.is_dir() else None
    return None


def below(path: Path) -> Iterator[Path]:
    """Yield the cgroups below *path*, deepest first."""
    for folder, _, _ in os.walk(path, topdown=False):
        if Path(folder) != path:
            yield Path(folder)


def members(path: Path) -> set[int]:
    """Return the pids in *path* and below it."""
    pids: set[int] = set()
    for folder in (path, *below(path)):
        try:
            pids.update(map(int, (folder / "cgroup.procs").read_text().split()))
        except OSError:  # removed in between
            continue
    return pids


def is_populated(path: Path) -> bool:
    """Return whether a living process is in *path* or below it."""
    try:
        return "populated 1" in (path / "cgroup.events").read_text()
    except OSError:
        return False


def remove(path: Path) -> None:
    """Kill all that is in *path* and remove it with everything below it.

    Raises:
        AssertionError: Processes in it do not end.
    """
    if not path.is_dir():
        return
    kill_file = path / "cgroup.kill"  # since Linux 5.14; the tests need not know an older way
    if is_populated(path):
        kill_file.write_text("1")
    wait_until(lambda: not is_populated(path), what=f"{path} is empty")
    for folder in below(path):
        folder.rmdir()
    path.rmdir()
