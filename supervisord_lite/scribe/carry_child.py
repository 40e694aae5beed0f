"""The child that writes or removes carry.json: see supervisor/carry.py.

Unlike a note's, it dies with whoever started it: a successor writes what is in force by then, and
what is older must not come after that.
"""

from __future__ import annotations

from supervisord_lite.scribe import bound_child
from supervisord_lite.scribe.note_child import remove, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(arguments: list[str]) -> int:
    """Write or remove the file; return the exit code. Arguments as of `bound_child.do`."""
    return bound_child.do(arguments, _work, name="sdl-carry", done="written")


def _work(path: str, told: dict[str, Any]) -> None:
    if told["content"] is None:
        remove(path)
    else:
        write_whole(path, told["content"])
