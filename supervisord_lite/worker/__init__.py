"""What runs inside a Python worker: standard library only, and it knows nothing of the daemon.

Theory of operation
===================

``python -m supervisord_lite.worker pkg.mod:Target`` imports a target and runs it on the main
thread. A target is

* a function, sync or async: called once;
* a class with `run()` (sync or async), usually a subclass of `Worker`: made and run;
* a class with its own `start()` and `stop()`: `start` returns at once, and the process lives as
  long as a thread that it has started.

Returning ends the process with 0, raising with 1 and the traceback on stderr; `sys.exit(n)` is n.
An uncaught exception in *any* thread ends the process as well: there is no dead worker inside a
live process.

SIGTERM sets `context.stopping`, ends each `context.sleep`, and calls the target's own `stop()`. A
target that has no `stop()` and never looks at the context could not notice: there SIGTERM ends what
it is doing, as an exception (`SystemExit`, in async code a cancellation), so `finally` is run.

Keyword arguments (`config`) come as JSON in an environment variable, because everybody on the
machine may read a command line.
"""

from supervisord_lite.worker.context import Context, context
from supervisord_lite.worker.contract import Worker

__all__ = ["Context", "Worker", "context"]
