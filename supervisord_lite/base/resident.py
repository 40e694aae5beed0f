"""How the daemon's own processes are started: small, isolated, and from the same code.

Run as a script, `python -I -S …/resident.py ROLE ARGUMENT…` enters `supervisord_lite.ROLE`. -I
keeps PYTHON* variables and the current directory out of a process that may run as root; -S saves
the import of site and of whatever .pth files bring along; only the reader of the configuration does
without it, which needs libraries.
"""

from __future__ import annotations

import os
import sys

ROLES = (
    "keeper", "supervisor", "scribe", "trial",
    "config", "note", "carry", "reading", "sampling", "compress",
)  # fmt: skip
_WITH_LIBRARIES = ("config",)
#: Children that answer on descriptor 1 to who has started them, and must be of its version.
_ERRANDS = ("config", "note", "carry", "reading", "sampling", "compress")
#: Where a role's entrance is not `__main__` of the package of that name.
_ENTRANCES = {
    "trial": "supervisor.trial",
    "note": "scribe.note_child",
    "carry": "scribe.carry_child",
    "reading": "scribe.reading_child",
    "sampling": "supervisor.sampling_child",
    "compress": "scribe.compress_child",
}


#: An interpreter, and the path of this file in the package that it is to run; links are kept.
Code = tuple[str, str]


def own_code() -> Code:
    """Return what this process runs from."""
    return sys.executable, os.path.abspath(__file__)  # noqa: PTH100


def arguments_for(role: str, *arguments: str, code: Code | None = None) -> list[str]:
    """Return the command line that starts *role*.

    Args:
        role: One of `ROLES`.
        arguments: Of its entrance.
        code: Whose; None: that of this process. A package may have been replaced since then: a
            child that does an errand is told which version is meant.
    """
    assert role in ROLES, role
    interpreter, path = own_code() if code is None else code
    flags = ["-I"] if role in _WITH_LIBRARIES else ["-I", "-S"]
    word = f"{role}@{_version()}" if role in _ERRANDS else role
    return [interpreter, *flags, path, word, *arguments]


def _version() -> str:
    """Return the version of this package; run as a script, we cannot import it at the top."""
    version: str = __import__("supervisord_lite").__version__
    return version


def _main() -> int:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    sys.path.insert(0, root)
    role, _, wanted = sys.argv[1].partition("@")
    assert role in ROLES, role
    if wanted and wanted != _version():
        os.write(1, f"version {_version()}\n".encode())
        return 1
    entrance = _ENTRANCES.get(role, f"{role}.__main__")
    # Before anything else is imported: until then a process of our user could look into this one.
    __import__("supervisord_lite.base.prctl", fromlist=["protect"]).protect()
    module = __import__(f"supervisord_lite.{entrance}", fromlist=["main"])
    status: int = module.main(sys.argv[2:])
    return status


if __name__ == "__main__":
    sys.exit(_main())
