"""What a manager raises. Each is a `SupervisordLiteError`, with the way out in `hint`."""

from typing import Any

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError

# The names are those of the contract that this library keeps: no "Error" at their ends.


class ManagerError(SupervisordLiteError):
    """Base of all of them."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Take what is wrong and the way out, which a traceback shows as well."""
        super().__init__(message, hint=hint)
        if hint:
            self.add_note(hint)


class AlreadyRunning(ManagerError):  # noqa: N818
    """It runs: workers are registered before the start, and it is started once."""


class InvalidWorker(ManagerError):  # noqa: N818
    """What was registered cannot be run: a wrong name, target or option."""

    exit_code = exit_codes.CONFIGURATION


class CircuitBreakerTripped(ManagerError):  # noqa: N818
    """A worker has failed too often; it is not started again.

    Attributes:
        name: Of the worker.
        failures: Inside the window.
        reason: How its latest run ended.
    """

    def __init__(self, name: str, failures: int, reason: str) -> None:
        """Take who and why."""
        super().__init__(
            f"worker {name} tripped its circuit breaker: {reason} ({failures} failures)"
        )
        self.name = name
        self.failures = failures
        self.reason = reason


class WorkerStopped(ManagerError):  # noqa: N818
    """A worker ended normally, or was stopped: what is waited for will not come."""


class CriticalWorkerFailed(ManagerError):  # noqa: N818
    """A critical worker has failed: all others were stopped in order, and the daemon has ended.

    Attributes:
        name: Of the worker; empty when even the reason was lost.
        note: What was noted of it: `why`, `workers` with each failure, `last_lines` … May be empty.
    """

    exit_code = exit_codes.CRITICAL_WORKER

    def __init__(self, note: dict[str, Any]) -> None:
        """Take what the daemon has noted."""
        super().__init__(str(note.get("why") or "a critical worker failed"))
        self.name = str(note.get("worker") or "")
        self.note = note


class DaemonFailed(ManagerError):  # noqa: N818
    """The daemon did not start, or has ended for no reason of its workers'.

    Attributes:
        status: Its exit status; negative: a signal.
    """

    def __init__(self, message: str, status: int, *, hint: str = "") -> None:
        """Take what is known."""
        super().__init__(message, hint=hint)
        self.status = status
