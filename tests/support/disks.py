"""File systems that a test may freeze or fill."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.wait import wait_until

#: A daemon without cgroups, or a whole systemd, may live so long.
_HELD_S = 60.0


def _is_attached(image: Path) -> bool:
    """Return whether a loop device still has *image*."""
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # detached in between
            if path.read_text().strip() == str(image):
                return True
    return False


@contextmanager
def a_disk() -> Iterator[Path]:
    """Mount a file system of 64 MiB, on a loop device; it is thawed at the end."""
    if not can_mount():
        pytest.skip("needs root: to mount a loop device")
    folder = leftovers.short_folder()
    image, point = folder / "image", folder / "disk"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        yield point
    finally:
        thaw = ["fsfreeze", "--unfreeze", str(point)]
        subprocess.run(thaw, check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["umount", point], check=True)
        # A test beside us that has mounts of its own has got a copy of this one, while it lasts.
        wait_until(
            lambda: not _is_attached(image), what=f"nobody has {image} mounted", timeout_s=_HELD_S
        )
        image.unlink()


@contextmanager
def frozen(disk: Path) -> Iterator[None]:
    """Let no write to *disk* end for a while."""
    subprocess.run(["fsfreeze", "--freeze", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)


def can_mount() -> bool:
    """Return whether file systems can be mounted here."""
    return os.geteuid() == 0


@contextmanager
def a_small_disk(size: str = "1m") -> Iterator[Path]:
    """Mount a file system of 1 MiB, or of another size, in memory."""
    if not can_mount():
        pytest.skip("needs root: to mount a file system")
    point = leftovers.short_folder()
    options = f"size={size},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)
