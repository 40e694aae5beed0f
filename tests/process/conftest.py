"""What several process tests need."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import leftovers


@pytest.fixture
def disk() -> Iterator[Path]:
    """Yield a mounted file system of its own, on a loop device."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to mount a loop device")
    folder = leftovers.short_folder()
    image, point = folder / "image", folder / "disk"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    yield point
    subprocess.run(["fsfreeze", "--unfreeze", point], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["umount", point], check=True)
    image.unlink()
