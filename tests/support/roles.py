"""Which part of a daemon a process is, by its command line."""

import psutil


def has_role(process: psutil.Process, role: str) -> bool:
    """Return whether this is the "carry", "config" … of a daemon; a child also says its version.

    Raises:
        psutil.Error: It is gone, or nobody may look.
    """
    return any(word.partition("@")[0] == role for word in process.cmdline()[:5])
