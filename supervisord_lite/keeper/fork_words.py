"""What forkservers and their forks say, before the keeper acts on it: the code there is not ours.

It runs with fewer rights than the keeper, so nothing of it may end the keeper, nor choose what only
the keeper may do. Whatever is not as it should be is the failed start of that one run.
"""

from __future__ import annotations

import json

from supervisord_lite.keeper.spawn import LIMITS, StageError
from supervisord_lite.wire import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Of a traceback, as it travels: a line may take twelve bytes for each character.
_MOST_LINES_BYTES = 64 * 1024


def understood(data: bytes) -> StageError | dict[str, Any]:
    """Return what a hello says; or the error that was said instead, or that there is none."""
    if not data:
        return StageError("forkserver", "the new process has ended before it was set up")
    try:
        said = json.loads(data)
        if "failed" in said:
            failed = said["failed"]
            return StageError(
                str(failed["stage"])[:100],
                str(failed["reason"])[:1000],
                missing=failed["missing"] is True,
                hopeless=failed["hopeless"] is True,
            )
        left = said["hello"]["left"]
        return {
            "is_marked": said["hello"]["is_marked"],
            "left": {
                "nice": int(left["nice"]),
                "rlimits": [
                    (int(number), None if value is None else int(value))
                    for number, value in left["rlimits"]
                ],
            },
        }
    except Exception:  # noqa: BLE001  # too deep, too large, of other types: none may end us
        return StageError("forkserver", "the new process has said what is no hello")


def asked_for(request: dict[str, Any], left: dict[str, Any]) -> dict[str, Any]:
    """Return what is left to be set of what a request wants.

    What a fork says that it may not set is the word of somebody with fewer rights than ours: it
    chooses among its own limits, and has no say in what they are.
    """
    numbers = {number for number, _ in left["rlimits"]}
    wanted = [(LIMITS[name], value) for name, value in request["rlimits"]]
    return {
        "nice": request["nice"] if left["nice"] else 0,
        "rlimits": [limit for limit in wanted if limit[0] in numbers],
    }


def bounded(lines: list[str]) -> list[str]:
    """Return the last of some lines, as many as surely fit into a message."""
    while len(channel.encode_whole({"lines": lines})) > _MOST_LINES_BYTES:
        lines = lines[len(lines) // 2 + 1 :]
    return lines
