"""Which signals the main process takes; `run` holds them back for it where it is PID 1."""

from __future__ import annotations

import signal

HANDLED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
