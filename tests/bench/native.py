"""The child and the floor as programs, compiled here and now; without a compiler a stand-in."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Natives:
    """How to start them.

    Attributes:
        child: Words to put in front of its arguments.
        floor: The program; None: there is no compiler, and so no floor of commands.
    """

    child: tuple[str, ...]
    floor: str | None

    @property
    def kind(self) -> str:
        """Return "C" or "Python", for the report."""
        return "C" if self.floor else "Python"


def build(folder: Path) -> Natives:
    """Compile into *folder* where there is a compiler.

    Raises:
        subprocess.CalledProcessError: The compiler refuses; it has printed why.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return stand_in()
    child, floor = (_compiled(compiler, name, folder) for name in ("child", "floor"))
    return Natives((child,), floor)


def stand_in() -> Natives:
    """Return the child that needs no compiler: it starts some twenty times slower, for everyone."""
    return Natives((sys.executable, "-I", "-S", str(_HERE / "stand_in.py")), None)


def _compiled(compiler: str, name: str, folder: Path) -> str:
    """Return the path of the program: static, so that no loader's work is measured."""
    command = [compiler, "-O2", "-Wall", "-o", str(folder / name), str(_HERE / f"{name}.c")]
    is_static = subprocess.run([*command, "-static"], capture_output=True, check=False)
    if is_static.returncode != 0:
        subprocess.run(command, check=True)
    return str(folder / name)
