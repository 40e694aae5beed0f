"""The child and the floor as programs: compiled here and now, or their Python stand-ins."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Natives:
    """How to start them: words to put in front of their arguments.

    Attributes:
        kind: "C" or "Python", for the report.
    """

    child: tuple[str, ...]
    floor: tuple[str, ...]
    kind: str


def build(folder: Path) -> Natives:
    """Compile into *folder* where there is a compiler.

    Raises:
        subprocess.CalledProcessError: The compiler refuses; it has printed why.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        stand_in = (sys.executable, "-I", "-S", str(_HERE / "stand_in.py"))
        return Natives((*stand_in, "child"), (*stand_in, "floor"), "Python")
    child, floor = (_compiled(compiler, name, folder) for name in ("child", "floor"))
    return Natives((child,), (floor,), "C")


def _compiled(compiler: str, name: str, folder: Path) -> str:
    """Return the path of the program: static, so that no loader's work is measured."""
    command = [compiler, "-O2", "-Wall", "-o", str(folder / name), str(_HERE / f"{name}.c")]
    is_static = subprocess.run([*command, "-static"], capture_output=True, check=False)
    if is_static.returncode != 0:
        subprocess.run(command, check=True)
    return str(folder / name)
