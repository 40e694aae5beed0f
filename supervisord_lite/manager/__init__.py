"""The daemon as a library: register workers, start, stop, and hear how it ended.

::

    from supervisord_lite import Manager

    with Manager() as manager:
        manager.register(["redis-server", "--port", "7000"], name="redis", critical=True)
        manager.register(shop.tasks.poll, pool_size=4, config={"every_s": 5})
        manager.start()
        manager.wait()

Theory of operation
===================

A manager writes a configuration file and runs the same daemon that systemd would run, as a child
(`daemon.py`): `run --owner PID`, in a session of its own, with its folders in a private temporary
one unless they are given. So workers are processes, everything the daemon promises holds, and
`supervisord-lite --socket …` works on it too.

* *No orphan.* The daemon stops in order when this process has ended, however that was: it watches a
  pidfd. When the daemon's own main process is killed, another one is started on the same folders,
  without workers, to end what is left: exact where there are cgroups, else workers live on.
* *Ctrl-C* reaches this process alone, because the daemon has a session of its own; leaving the
  `with` block, or the end of the interpreter, stops it.
* One thread of ours follows the workers (`manager.py`), calls handlers, and reaps the daemon.
  Handlers run there or behind it, never inside a lock: they may call anything, `stop` too.
* *done* is set when the daemon has ended. It ends when it is stopped from anywhere, when a critical
  worker has failed, and when there is nothing left to do: every worker has finished, was stopped,
  or has an open breaker. It may be started again afterwards; breakers then start closed.

What a target may be stands in `targets.py`, what a worker may be told in `options.py`; values mean
what they mean in the configuration file, and what is wrong with them is said by `register`.
"""

from supervisord_lite.manager.errors import (
    AlreadyRunning,
    CircuitBreakerTripped,
    CriticalWorkerFailed,
    DaemonFailed,
    InvalidWorker,
    ManagerError,
    WorkerStopped,
)
from supervisord_lite.manager.manager import Manager
from supervisord_lite.manager.options import WorkerOptions
from supervisord_lite.manager.standing import Standing, Trip

__all__ = [
    "AlreadyRunning",
    "CircuitBreakerTripped",
    "CriticalWorkerFailed",
    "DaemonFailed",
    "InvalidWorker",
    "Manager",
    "ManagerError",
    "Standing",
    "Trip",
    "WorkerOptions",
    "WorkerStopped",
]
