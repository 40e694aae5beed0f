"""Programs that tests run."""

import os
import shutil
import sys
from pathlib import Path

import pytest

#: Runs the script that follows. What is called python3 may be a shim that takes its time.
PYTHON = (sys.executable, "-I", "-S", "-c")


def program(name: str, package: str) -> str:
    """Return where a program is; without it the test is skipped, which fails it in CI."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"needs {name}: install {package}")
    return path
