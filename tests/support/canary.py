"""A value that must be seen nowhere but where it was wanted, and the places to look for it."""

from collections.abc import Iterator
from pathlib import Path

import psutil

CANARY = "c4nary-hunter2"


def everything_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below *folder* but the secrets themselves, with its content."""
    for path in folder.rglob("*"):
        if path.is_file() and "kept" not in path.parts:
            yield str(path), path.read_bytes()


def command_lines(pid: int) -> Iterator[tuple[str, bytes]]:
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            yield f"cmdline {process.pid}", Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except OSError:
            continue


def environments_but_of(pid: int, workers: set[int]) -> Iterator[tuple[str, bytes]]:
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            data = Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            continue
        if process.pid not in workers:
            yield f"environ {process.pid}", data
