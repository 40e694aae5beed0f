"""supervisord_lite: one daemon that keeps a fleet of workers alive and never loses one.

The floors of the house; imports go down only, and a check in CI holds it::

    cli | manager | testing
                  parse, call, print; one file per command | the daemon as a library | workers and
                  the daemon in tests
    supervisor    the shell of the daemon: one loop, all policy applied
    worker | control
                  what runs inside Python workers | socket server and client
    keeper | scribe | config
                  owns processes and descriptors | writes logs | TOML in, specs out
    wire          bytes <-> messages, sans-I/O, versioned
    core          pure: events in, (state, actions) out
    base          clocks, errors, exit codes, units

Nothing is imported here, because the always-running processes stay small: `Manager` and what
belongs to it (`__init__.pyi` has the list) come when they are asked for.
"""

__version__ = "0.1.0.dev0"

__all__ = [
    "AlreadyRunning",
    "CircuitBreakerTripped",
    "CriticalWorkerFailed",
    "DaemonFailed",
    "InvalidWorker",
    "Manager",
    "ManagerError",
    "WorkerOptions",
    "WorkerStopped",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Return what the library exports, imported now."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    return getattr(importlib.import_module("supervisord_lite.manager"), name)
