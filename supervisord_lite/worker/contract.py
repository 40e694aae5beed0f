"""What a worker class looks like."""

from __future__ import annotations

import threading
import warnings

from supervisord_lite.worker.context import context


class Worker:
    """A worker with a life of its own: write `run`; returning is done, raising is a crash.

    Whoever drives threads or an event loop of their own overrides `start` and `stop` instead.
    """

    def __init_subclass__(cls, **arguments: object) -> None:
        """Take a `name` of the class away: one class may serve several workers."""
        super().__init_subclass__(**arguments)
        own = cls.__dict__
        # With an annotation it is a field of a dataclass, and so an argument.
        if isinstance(own.get("name"), str) and "name" not in own.get("__annotations__", ()):
            message = (
                f"{cls.__name__}.name = {own['name']!r} is ignored: the name of a worker is that "
                "of its table in the configuration"
            )
            warnings.warn(message, stacklevel=2)
            del cls.name

    @property
    def name(self) -> str:
        """Return the name of this instance: "web", or "web-2" in a pool."""
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
