"""From the words "pkg.mod:Target" to what they name."""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from typing import Any

from supervisord_lite.base.suggest import nearest

#: JSON: `config` (keyword arguments), `path` (where the owner imports from), `script` (its main
#: file, for a target that was defined there).
VARIABLE = "SUPERVISORD_LITE_TARGET"
#: The module name of a script's targets, as written before the colon.
SCRIPT = "__main__"
#: Under this name the script runs again in the child, so what is below `if __name__ ==
#: "__main__"` does not.
RERUN = "__supervisord_lite_main__"

#: Whether this process is importing a target just now: nobody may start a daemon then.
importing: list[str] = []


class TargetError(Exception):
    """What was named is not there, or cannot be run.

    Attributes:
        hopeless: As long as neither code nor configuration is changed.
    """

    def __init__(self, message: str, *, hopeless: bool = False) -> None:
        """Take what to tell people."""
        super().__init__(message)
        self.hopeless = hopeless


def find(words: str, *, path: list[str], script: str | None, directory: str | None = None) -> Any:
    """Return what *words* name.

    Args:
        words: "pkg.mod:Target" or "pkg.mod:Outer.Target"; of a script "__main__:Target".
        path: Folders to import from, after those that this process has.
        script: The file that "__main__" means.
        directory: The folder to import from first; None: as it is.

    Raises:
        TargetError: There is no such thing; the import itself may raise anything.
    """
    module, colon, name = words.partition(":")
    if not (module and colon and name):
        message = f'target "{words}" is not of the form "package.module:name"'
        raise TargetError(message, hopeless=True)
    import_from(path, directory)
    importing.append(words)
    try:
        found = _script(script) if module == SCRIPT else importlib.import_module(module)
    finally:
        importing.pop()
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = nearest(part, dir(found))
            hint = f'; did you mean "{near}"?' if near else ""
            message = f'target "{words}": {module} has no "{name}"{hint}'
            raise TargetError(message) from None
    return found


def import_from(path: list[str], directory: str | None) -> None:
    """Let modules be found in *directory* first, and in *path* last."""
    if directory is not None:
        sys.path.insert(0, directory)
    sys.path += [folder for folder in path if folder not in sys.path]


def _script(script: str | None) -> Any:
    if script is None:
        message = "a target of __main__ needs the script that it was defined in"
        raise TargetError(message)
    folder = os.path.dirname(script)  # noqa: PTH120
    if folder not in sys.path:
        sys.path.insert(0, folder)
    names = runpy.run_path(script, run_name=RERUN)
    module = type(sys)(RERUN)
    module.__dict__.update(names)
    sys.modules[RERUN] = module  # what is pickled, or asks for its own module, finds it
    return module
