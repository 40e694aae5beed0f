"""One worker in a thread of the test."""

from __future__ import annotations

import contextvars
import re
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from supervisord_lite.testing import threads
from supervisord_lite.testing.host import ThreadHost
from supervisord_lite.worker.context import Context, variable
from supervisord_lite.worker.runner import run_target

#: As the configuration has it, where it says nothing.
STOP_TIMEOUT_S = 10.0
_WAIT_S = 10.0
#: What is waited for may be anything, so it is looked at again and again.
_PAUSE_S = 0.002


class RecordingContext(Context):
    """The context of a worker in a test: what it has said is kept.

    Attributes:
        heartbeats: How many signs of life it has given.
        status_text: The latest that it said of itself; empty: nothing.
        done, total: Its latest progress; 0 and 0: none.
        is_ready: Whether it has said that it is ready.
    """

    def __init__(self, name: str, pool: str, instance: int) -> None:
        """Describe one worker."""
        super().__init__(name, pool, instance, says_ready=True, stop_timeout_s=STOP_TIMEOUT_S)
        self.heartbeats = 0
        self.status_text = ""
        self.done = 0
        self.total = 0
        self.is_ready = False
        self.has_begun = threading.Event()

    def began(self) -> None:
        """Its target runs."""
        self.has_begun.set()

    def ready(self) -> None:
        """Note it."""
        self.is_ready = True

    def heartbeat(self) -> None:
        """Count it."""
        self.heartbeats += 1

    def status(self, text: str) -> None:
        """Keep it."""
        super().status(text)
        self.status_text = text

    def progress(self, done: int, total: int) -> None:
        """Keep both."""
        self.done, self.total = done, total


def run_worker(
    target: Any, /, *, name: str = "worker", instance: int = 1, **config: Any
) -> RunningWorker:
    """Return a worker that runs between `with` and its end.

    Leaving stops it, and raises what it has raised.

    Args:
        target: A function or class, as `python =` of a worker names one.
        name: As people read it; "orders-2" is of the pool "orders".
        instance: Its number in the pool, from 1.
        config: Its keyword arguments; in a test these may be any objects.
    """
    return RunningWorker(target, name, instance, config)


class RunningWorker:
    """A worker that lives in a thread of this process."""

    def __init__(self, target: Any, name: str, instance: int, config: dict[str, Any]) -> None:
        """Prepare; it runs from `__enter__` on."""
        pool = re.sub(rf"-{instance}$", "", name)
        self._target = target
        self._config = config
        self._context = RecordingContext(name, pool, instance)
        self._host = ThreadHost()
        self._made: list[Any] = []
        self._raised = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def context(self) -> RecordingContext:
        """What it has said."""
        return self._context

    @property
    def worker(self) -> Any:
        """The instance of the class that runs; of a function that function."""
        return self._made[0] if self._made else self._target

    @property
    def error(self) -> BaseException | None:
        """What ended it, if that was no end in order; also of any of its threads."""
        return self._host.error

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._host.ended.is_set()

    def __enter__(self) -> Self:
        """Start it; return when its target runs.

        Raises:
            TargetError: It cannot be run with these arguments.
            BaseException: What its `__init__` raises.
        """
        threads.follow()
        self._thread.start()
        while not (self._context.has_begun.wait(_PAUSE_S) or self.is_over):
            continue
        if self.error is not None and not self._context.has_begun.is_set():
            self.__exit__(None, None, None)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop it; raise what it has raised, unless something else is on its way."""
        try:
            if error is None:
                self.stop()
            else:
                self._ask_to_stop()
                self._host.ended.wait(STOP_TIMEOUT_S)
        finally:
            threads.leave()

    def wait(
        self, predicate: Callable[[RecordingContext], Any], *, timeout_s: float = _WAIT_S
    ) -> Any:
        """Wait until *predicate*, called with `context`, is true; return what it returned.

        Raises:
            BaseException: What the worker has raised.
            AssertionError: It ended, or the time was over, before.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            is_over = self.is_over
            found = predicate(self._context)
            if found:
                return found
            self._raise()
            said = f"it has said: {self._said()}"
            if is_over:
                message = f"{self._context.name} ended before that was true; {said}"
                raise AssertionError(message)
            if time.monotonic() >= deadline_s:
                message = (
                    f"{self._context.name}: not within {timeout_s:g} s; {said}\n{self._where()}"
                )
                raise AssertionError(message)
            time.sleep(_PAUSE_S)

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Let it stop as the daemon does, and wait for its end; harmless a second time.

        Raises:
            BaseException: What the worker has raised.
            AssertionError: It took longer than *timeout_s*, after which the daemon would kill it.
        """
        self._ask_to_stop()
        if not self._host.ended.wait(timeout_s):
            message = f"{self._context.name} did not stop within {timeout_s:g} s\n{self._where()}"
            raise AssertionError(message)
        self._raise()

    def _ask_to_stop(self) -> None:
        if not self.is_over:
            self._host.stop(self._thread, self._context)

    def _raise(self) -> None:
        error = self.error
        if error is not None and not self._raised:
            self._raised = True
            raise error

    def _run(self) -> None:
        contextvars.copy_context().run(self._run_here)

    def _run_here(self) -> None:
        variable.set(self._context)
        threads.own.set(self._host)
        try:
            run_target(
                self._target, self._config, self._context, self._host, on_made=self._made.append
            )
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test is told
            self._host.note(error, was_asked=self._context.must_stop)
        finally:
            self._host.ended.set()

    def _said(self) -> str:
        own = self._context
        words = [f"{own.heartbeats} heartbeats"]
        words += [f"{own.done} of {own.total}"] if own.total else []
        words += [f'"{own.status_text}"'] if own.status_text else []
        return ", ".join(words)

    def _where(self) -> str:
        """Return where it is just now, as a traceback has it."""
        frame = threads.frame_of(self._thread)
        return "" if frame is None else "it is here:\n" + "".join(traceback.format_stack(frame))
