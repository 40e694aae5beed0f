"""Mistakes of the person at the keyboard."""

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError


class UsageError(SupervisordLiteError):
    """The words typed make no command."""

    exit_code = exit_codes.USAGE
