"""From a new keeper that cannot go on back to the code of before: see succession.py.

Nothing else of the package is needed for that, because it may be the package that is broken.
"""

from __future__ import annotations

import json
import os


def go_back(descriptor: int, error: Exception) -> None:
    """Become the code again that has written the state; return only when that cannot be.

    Args:
        descriptor: Of the state's memory file.
        error: Why it cannot be gone on with here; what it refers to must still be alive.
    """
    try:
        said = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        if "succession" not in said:
            return  # `run` has just started us: there was nobody before
        former = said["former"]
        for number in (*said["descriptors"], descriptor):
            os.set_inheritable(number, True)
        reason = f"{type(error).__name__}: {error}"[:1000].replace("\0", "?")
        command = [former["interpreter"], "-I", "-S", former["resident"], "keeper", str(descriptor)]
        os.execv(command[0], [*command, reason.encode("utf-8", "backslashreplace")])
    except (OSError, ValueError, KeyError, TypeError):
        return
