"""The keeper's entrance: `run` replaces itself by this, in the same process."""

from __future__ import annotations

import os

from supervisord_lite.base import prctl
from supervisord_lite.keeper.boot import Boot
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.journal import Journal, open_pipe
from supervisord_lite.keeper.loop import Keeper
from supervisord_lite.keeper.notify import Notifier


def main(arguments: list[str]) -> int:
    """Keep until the daemon ends; return its exit code.

    Args:
        arguments: One: the descriptor that `boot.prepare` made.
    """
    prctl.become_subreaper()
    prctl.protect()
    prctl.set_name("sdl-keeper")
    os.chdir("/")
    os.umask(0o022)
    boot = Boot(Calls(), int(arguments[0]))
    boot.journal_reader, writer = open_pipe()
    journal = Journal(writer, boot.log_style, boot.log_level)
    notifier = Notifier(boot.environment, os.getpid())
    code = Keeper(boot, journal, notifier).run()
    for path in boot.remove:
        try:
            os.unlink(path)
        except OSError:
            continue  # somebody tidied up before us
    return code
