"""How the daemon's own processes are started: small, isolated, and from the same code.

Run as a script, `python -I -S …/resident.py ROLE ARGUMENT…` enters `supervisord_lite.ROLE`. -I
keeps PYTHON* variables and the current directory out of a process that may run as root; -S saves
the import of site and of whatever .pth files bring along; only short-lived children do
without it that need a library: the reader of the configuration, and whoever looks at processes.
"""

from __future__ import annotations

import os
import sys

ROLES = (
    "keeper", "supervisor", "scribe", "config", "note", "carry", "reading", "sampling", "compress",
)  # fmt: skip
_WITH_LIBRARIES = ("config", "sampling")
#: Where a role's entrance is not `__main__` of the package of that name.
_ENTRANCES = {
    "note": "scribe.note_child",
    "carry": "scribe.carry_child",
    "reading": "scribe.reading_child",
    "sampling": "supervisor.sampling_child",
    "compress": "scribe.compress_child",
}


def arguments_for(role: str, *arguments: str) -> list[str]:
    """Return the command line that starts *role* with the interpreter of this process."""
    assert role in ROLES, role
    flags = ["-I"] if role in _WITH_LIBRARIES else ["-I", "-S"]
    return [sys.executable, *flags, os.path.abspath(__file__), role, *arguments]  # noqa: PTH100


def _main() -> int:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    sys.path.insert(0, root)
    role = sys.argv[1]
    assert role in ROLES, role
    entrance = _ENTRANCES.get(role, f"{role}.__main__")
    module = __import__(f"supervisord_lite.{entrance}", fromlist=["main"])
    status: int = module.main(sys.argv[2:])
    return status


if __name__ == "__main__":
    sys.exit(_main())
