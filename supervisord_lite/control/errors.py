"""What can go wrong between the command and the daemon, each with its exit code."""

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError


class ControlError(SupervisordLiteError):
    """The daemon answered, and the answer is no.

    Attributes:
        subject: The worker that it is about, as the daemon names it; empty when there is none.
    """

    def __init__(self, message: str, *, hint: str = "", subject: str = "") -> None:
        """Take what is wrong, the way out, and whom it is about."""
        super().__init__(message, hint=hint)
        self.subject = subject


class NoDaemonError(SupervisordLiteError):
    """Nobody answers on the control socket."""

    exit_code = exit_codes.NO_DAEMON


class NoAnswerError(NoDaemonError):
    """Somebody listens, but the answer did not come in time."""


class NoSuchWorkerError(ControlError):
    """No worker, pool or glob match of that name."""

    exit_code = exit_codes.NO_SUCH_WORKER


class NotPermittedError(ControlError):
    """The daemon does not let this user do that."""

    exit_code = exit_codes.NOT_PERMITTED


class GaveUpError(ControlError):
    """The wait was ended from this side; the daemon goes on with what it was told."""

    exit_code = exit_codes.GAVE_UP


class ConfigurationRefusedError(ControlError):
    """The file on the disk is not good; what was in force stays.

    Attributes:
        problems: Each with file, line, column, message, hint, source and length.
        since: When the configuration in force came into force, RFC 3339 UTC; empty: not known.
    """

    def __init__(self, message: str, *, problems: list[object], since: str) -> None:
        """Take all that is wrong, as people read it and as programs do."""
        super().__init__(message)
        self.problems = problems
        self.since = since


class ReplacedError(ControlError):
    """The supervisor was replaced before it answered a method that must not be said twice."""
