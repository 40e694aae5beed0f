"""Secrets of a worker that was forked from a warm interpreter: out of the pipe that it was given.

They never stand in the environment of the warm one, which many workers share. What is written into
the pipe, and by whom, stands in keeper/secret_stage.py.
"""

from __future__ import annotations

import json
import os


class HandedError(Exception):
    """They could not be had.

    Attributes:
        stage, reason, missing, hopeless: As of every stage of a start that fails.
    """

    def __init__(self, reason: str, *, missing: bool = False, hopeless: bool = False) -> None:
        """Take all that will be told."""
        super().__init__(reason)
        self.stage = "secret"
        self.reason = reason
        self.missing = missing
        self.hopeless = hopeless


def take(descriptor: int) -> dict[str, str]:
    """Return the variables to be added to the environment; the descriptor is closed.

    This waits for the disk that they are on. Call it in the worker's own process, before any code
    of the target's.

    Raises:
        HandedError: They could not be read.
    """
    with os.fdopen(descriptor, "rb") as pipe:
        data = pipe.read()
    try:
        record = json.loads(data)
    except ValueError:
        message = "the process that reads the secrets was killed"
        raise HandedError(message) from None
    failed = record.get("failed")
    if failed is not None:
        raise HandedError(failed["reason"], missing=failed["missing"], hopeless=failed["hopeless"])
    variables: dict[str, str] = record["variables"]
    return variables
