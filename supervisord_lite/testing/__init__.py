"""For the tests of people who write workers: one worker in the test's process, or the real daemon.

Theory of operation
===================

`run_worker(target, **config)` runs a target as the daemon would, in a thread of the test: the same
code decides what a target is, whether its arguments fit, when it is ready and how it is stopped
(worker/runner.py). What is missing is the process. So `context`, which otherwise belongs to the
process, is found through a context variable; threads that the worker starts get it too, because
while a test runs workers each thread takes over the variables of the one that starts it. Two
workers live in one test without hearing of each other. Instead of SIGTERM there is `stop()`; in
place of an exit code there is `error`. A worker that never looks whether it must stop is
interrupted as by the signal, but only between two steps of Python code: what waits for a lock or a
network for ever makes `stop()` fail.

`Daemon(file, folder=…)` runs a configuration file as it is, with folders of its own: state, logs
and control socket are in *folder*, whatever the file says. It is a child of the test and ends with
it, however that ends.

Nothing here is imported by anything else of this package.
"""

from supervisord_lite.testing.daemon import Daemon, DaemonError
from supervisord_lite.testing.running import RecordingContext, RunningWorker, run_worker

__all__ = ["Daemon", "DaemonError", "RecordingContext", "RunningWorker", "run_worker"]
