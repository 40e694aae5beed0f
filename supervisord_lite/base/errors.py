"""The errors that a person may see: what is wrong, the way out, and the exit code."""

from supervisord_lite.base import exit_codes


class SupervisordLiteError(Exception):
    """Base of every error that is told to a person.

    Attributes:
        exit_code: What a command that meets this error ends with.
        hint: The way out, one sentence or command; empty when there is none.
    """

    exit_code = exit_codes.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Take what is wrong (*message*) and the way out (*hint*)."""
        super().__init__(message)
        self.hint = hint


class PermissionRefusedError(SupervisordLiteError):
    """The daemon may not do what it needs, or another daemon holds its folders."""

    exit_code = exit_codes.NO_PERMISSION
