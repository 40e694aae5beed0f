"""What a worker class looks like."""

from __future__ import annotations

import threading

from supervisord_lite.worker.context import context


class Worker:
    """A worker with a life of its own: write `run`; returning is done, raising is a crash.

    Whoever drives threads or an event loop of their own overrides `start` and `stop` instead.
    """

    @property
    def name(self) -> str:
        """Return the name of this instance."""
        return context.name

    def run(self) -> None:
        """Do the work, until it is done or `context.stopping` is set."""
        message = f"{type(self).__name__} has no run()"
        raise NotImplementedError(message)

    def start(self) -> None:
        """Begin to run, and return at once."""
        threading.Thread(target=self.run, name=self.name).start()

    def stop(self) -> None:
        """Say that it must stop, and return at once."""
        context.stop()
