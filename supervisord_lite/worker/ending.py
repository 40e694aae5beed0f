"""How a target that has failed ends its process, also where something else holds that.

Theory of operation
===================

A target that raises, or calls `sys.exit`, has ended; its process is about to. But Python first
waits for every thread that is no daemon, for the threads of executors, for the children of
`multiprocessing`, and for what was registered with `atexit`, and it waits for ever. A process whose
work is done by nobody would go on, as ready as ever.

So what has ended the target is told at once, and a thread looks again some seconds later: as a rule
the process is gone by then. If not, it says what holds the process, and ends it with the same exit
code. The time is that of `stop_timeout` at most, which the worker has asked for itself.

Who must stop is let alone: there the ladder of the stop decides how long an end may take. And who
returns has not failed; its threads may go on, as in any Python program.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from supervisord_lite.worker import story
from supervisord_lite.worker.target import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.worker.context import Context
    from supervisord_lite.worker.voice import Voice

CRASHED = 1
#: Ended by SIGTERM, as a shell tells it. While stopping it counts as clean, like every end.
TERMINATED = 128 + signal.SIGTERM
_INTERRUPTED = 130
#: For the end of threads, and for what was registered with `atexit`.
_LONGEST_S = 5.0


class Ending:
    """What has ended a target, told once, and the end of its process."""

    def __init__(self, context: Context, voice: Voice, end: Callable[[int], object]) -> None:
        """Prepare; *end* ends the process from whatever thread."""
        self._context = context
        self._voice = voice
        self._end = end
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._told: int | None = None
        self._has_thread = False

    def tell(self, error: BaseException, *, imported: bool = True) -> int:
        """Say on stderr and to the daemon what has ended the target; return the exit code.

        What comes after that, from a thread that has outlived it, is for the log alone.
        """
        with self._lock:
            if self._told is None:
                self._error, self._told = error, CRASHED
                self._told = self._say(error, imported=imported)
            elif error is not self._error:
                story.log(error, self._voice)
            return self._told

    def insist(self, error: BaseException) -> None:
        """See that the process ends, for *error* has ended the target. Never waits."""
        if self._has_thread or _is_asked_for(error) or self._context.must_stop:
            return
        self._has_thread = True
        thread = threading.Thread(target=self._wait, args=(error,), name="ending", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._end(self.tell(error))

    def _wait(self, error: BaseException) -> None:
        asked_s = self._context.stop_timeout_s
        wait_s = _LONGEST_S if asked_s is None else min(asked_s, _LONGEST_S)
        time.sleep(wait_s)
        if self._context.must_stop:
            return
        code = self.tell(error)
        try:
            sys.stderr.write(
                f"supervisord-lite worker {self._context.name}: its target has ended, and after "
                f"{wait_s:g} s {_holder()} still holds the process: it is ended now\n"
            )
        finally:  # a target may have closed it, or put anything in its place
            self._end(code)

    def _say(self, error: BaseException, *, imported: bool) -> int:
        if isinstance(error, TargetError):
            sys.stderr.write(f"supervisord-lite worker {self._context.name}: {error}\n")
            self._voice.cannot_run(str(error), hopeless=error.hopeless)
            return CRASHED
        if isinstance(error, KeyboardInterrupt):
            return _INTERRUPTED
        if not isinstance(error, SystemExit):
            if not imported:
                story.cannot_run(error, self._voice)
                return CRASHED
            story.crashed(error, self._voice)
            return CRASHED
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
        return CRASHED


def _is_asked_for(error: BaseException) -> bool:
    """Return whether a signal has ended it: whoever sends these has a patience of his own."""
    if isinstance(error, SystemExit):
        return error.code == TERMINATED
    return isinstance(error, KeyboardInterrupt)


def _holder() -> str:
    main = threading.main_thread()
    names = [each.name for each in threading.enumerate() if each is not main and not each.daemon]
    if not names:
        return "what is called at its end (atexit, multiprocessing)"
    return f'the thread "{names[0]}"' + (f" with {len(names) - 1} more" if names[1:] else "")
