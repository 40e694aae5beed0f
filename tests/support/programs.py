"""Programs that tests run and that somebody else has written."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def program(name: str, package: str) -> str:
    """Return where a program is; without it the test is skipped, which fails it in CI."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"needs {name}: install {package}")
    return path
