"""Why a Python worker ended, in its own words: what stands behind X_SUPERVISORD_LITE_END.

One JSON object. Of a crash it has `words`, the exception in one line; where the target could not be
run at all, `stage`, `reason` and `hopeless`, as any other stage of set-up; of both, `traceback`.
Whoever holds the notification socket can send that, and what it sends is shown, not believed: it
counts only for a process that has ended with an exit code that is not 0, and changes nothing but
what people read and whether a retry can help. It says that of itself alone.
"""

from __future__ import annotations

import json

from supervisord_lite.keeper.spawn import StageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_WORDS = 1000
_STAGES = ("target", "preload", "secret")
#: Characters of a traceback, whose end says most; fewer where many of them are beyond ASCII, for a
#: fact must fit into a message, where one may take twelve bytes.
_MOST_STORY = 60_000
_MOST_STORY_ESCAPED = 10_000


class LastWords:
    """The last words of one run.

    Attributes:
        failure: The target could not be run; None: it ran.
        crash: Fields of the fact that it has exited: `words`, and those of `story`.
        story: The traceback, as a field, where there is one.
    """

    def __init__(self, text: str) -> None:
        """Read them; what is not as it should be says nothing."""
        self.failure: StageError | None = None
        self.crash: dict[str, Any] = {}
        self.story: dict[str, Any] = {}
        try:
            said = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            return
        if not isinstance(said, dict):
            return
        words, stage, reason = said.get("words"), said.get("stage"), said.get("reason")
        story = said.get("traceback")
        if isinstance(story, str) and story:
            most = _MOST_STORY if len(json.dumps(story)) <= _MOST_STORY else _MOST_STORY_ESCAPED
            self.story = {"traceback": story[-most:]}
        if stage in _STAGES and isinstance(reason, str):
            self.failure = StageError(
                stage,
                _line(reason),
                missing=said.get("missing") is True,
                hopeless=said.get("hopeless") is True,
            )
        elif isinstance(words, str) and words:
            self.crash = {"words": _line(words), **self.story}


def _line(text: str) -> str:
    return " ".join(text.split())[:_MOST_WORDS]
