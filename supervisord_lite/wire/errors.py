"""What is raised for bytes that are not a message, and for messages that do not fit."""

from __future__ import annotations

from supervisord_lite.base.errors import SupervisordLiteError


class WireError(SupervisordLiteError):
    """Bytes are not a message of this protocol, or a message is beyond its bounds."""
