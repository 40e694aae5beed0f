"""What is different for the first process of a container: PID 1 of its namespace.

The kernel keeps from PID 1 every signal that it has no handler for. So a SIGTERM that comes while
`run` still reads its files would be lost, and `docker stop` would wait for nothing and then kill.
A blocked signal is kept instead: it is delivered when the keeper has its handlers and opens up.
"""

import os
import signal

from supervisord_lite.keeper.signals import HANDLED


def hold_signals_back() -> None:
    """Keep, in PID 1, what is sent to the daemon until somebody can take it; else do nothing."""
    if os.getpid() == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
