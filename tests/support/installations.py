"""Other versions of the product: copies of the checkout's package with something changed."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from tests.support.daemon import CHECKOUT

_ENTER = (
    "import sys; sys.path.insert(0, sys.argv[1]); from supervisord_lite.cli import main;"
    " sys.exit(main(sys.argv[2:]))"
)
#: File of the package -> what is in it, and what is there instead.
Patches = Mapping[str, tuple[str, str]]

#: The one of these that is only refused when its time is over; its word says when, in its test.
HANGS = "it hangs"
#: Versions that must not come into force, each with a word of the reason.
BROKEN: dict[str, tuple[Patches, str]] = {
    "a file is no Python": (
        {"supervisor/loop.py": ("class Supervisor:", "class Supervisor")}, "SyntaxError",
    ),
    "an import fails": (
        {"scribe/loop.py": ("import os\n", "import os\nimport no_such_module\n")},
        "No module named 'no_such_module'",
    ),
    "the fleet cannot be built": (
        {"supervisor/fleet.py": (
            "        self.settings = settings\n", '        raise KeyError("no such pool")\n',
        )},
        "no such pool",
    ),
    "it ends without a word": (
        {"supervisor/trial.py": ("    signal.alarm(_ALARM_S)\n", "    return 0\n")},
        "cannot be understood",
    ),
    "it answers nonsense": (
        {"supervisor/trial.py": ("    signal.alarm(_ALARM_S)\n", "    print([1])\n    return 0\n")},
        "cannot be understood",
    ),
    HANGS: (
        {"supervisor/trial.py": ("    signal.alarm(_ALARM_S)\n", "    signal.pause()\n")},
        "no answer within 1.5 s",
    ),
    "a short-lived child is no Python": (
        {"config/worker.py": ("from __future__", "from from")}, "SyntaxError",
    ),
}  # fmt: skip


def environment(folder: Path) -> str:
    """Make an environment without pip that sees the libraries of this one; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (library,) = folder.glob("lib/python*/site-packages")
    (library / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(folder / "bin/python")


class Installation:
    """One version of the product in a folder of its own.

    Attributes:
        argv: The command, without a verb.
        package: The folder of the package.
    """

    def __init__(
        self,
        folder: Path,
        version: str,
        patches: Patches | None = None,
        *,
        python: str = sys.executable,
    ) -> None:
        """Copy the checkout's package, compiled files as well, and change it."""
        self.package = folder / "supervisord_lite"
        shutil.copytree(CHECKOUT / "supervisord_lite", self.package, dirs_exist_ok=True)
        self.argv = (python, "-P", "-c", _ENTER, str(folder))
        self.become(version, patches)

    def become(self, version: str, patches: Patches | None = None) -> None:
        """Be another version from now on, under the feet of whoever runs from here."""
        self._write("__init__.py", _line_of(self.package / "__init__.py", "__version__ = "),
                    f'__version__ = "{version}"')  # fmt: skip
        for name, (old, new) in (patches or {}).items():
            self._write(name, old, new)

    def _write(self, name: str, old: str, new: str) -> None:
        path = self.package / name
        text = path.read_text()
        assert old in text, f"{name}: {old!r}"
        fresh = path.with_suffix(".new")
        fresh.write_text(text.replace(old, new, 1))
        # Compiled files are known by time and size: two changes in one second may have both alike.
        stamp = path.stat().st_mtime_ns + 2_000_000_000
        os.utime(fresh, ns=(stamp, stamp))
        fresh.replace(path)


def _line_of(path: Path, start: str) -> str:
    return next(line for line in path.read_text().splitlines() if line.startswith(start))
