"""The scribe's process: `main([CHANNEL_FD, MEMORY_FD])`."""

from __future__ import annotations

import sys

from supervisord_lite.base import prctl
from supervisord_lite.scribe.loop import Scribe


def main(arguments: list[str]) -> int:
    """Write logs until the keeper says finish, or is gone.

    Args:
        arguments: Number of the channel's descriptor, number of the memory's descriptor.
    """
    prctl.protect()
    prctl.set_name("sdl-scribe")
    channel, memory = arguments
    Scribe(int(channel), int(memory)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
