"""What the figures depend on, beside the code."""

import datetime
import os
import platform
from pathlib import Path

import psutil

from tests.bench.native import Natives


def machine(natives: Natives, folder: Path) -> dict[str, object]:
    """Return facts about this machine; *folder* is where the runs live."""
    mounts = [
        mount for mount in psutil.disk_partitions(all=True)
        if folder.resolve().is_relative_to(mount.mountpoint)
    ]  # fmt: skip
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "natives": natives.kind,
        "file_system": max(mounts, key=lambda mount: len(mount.mountpoint)).fstype,
        "load": os.getloadavg()[0],
        "root": os.geteuid() == 0,
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
