"""An exception as people read it: one line for the daemon, all of it for both and for the log."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

from supervisord_lite.worker.masks import Masks

if TYPE_CHECKING:
    from types import TracebackType

    from supervisord_lite.worker.voice import Voice

#: Frames that say nothing to whoever wrote the target: how it was come to.
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120
_BEFORE = ("<frozen ", "<string>")
_LIBRARY = (
    os.sep + os.path.join("importlib", "__init__.py"),  # noqa: PTH118
    os.sep + "runpy.py",
    os.sep + "threading.py",
    os.sep + os.path.join("asyncio", "runners.py"),  # noqa: PTH118
    os.sep + os.path.join("asyncio", "base_events.py"),  # noqa: PTH118
)
_MOST_LINE = 500
#: Of groups in groups.
_DEEPEST = 100
_NO_MASKS = Masks()


def words_of(error: BaseException, masks: Masks = _NO_MASKS) -> str:
    """Return the one line that says most: "ValueError: order -4: negative number".

    A group of exceptions says how many there are; the first of them says what has happened.
    """
    words, inner = _own_words(error, masks), _first_inner(error)
    if inner is not None:
        words = f"{words[: _MOST_LINE // 2]}: {_own_words(inner, masks)}"
    return words[:_MOST_LINE]


def _first_inner(error: BaseException) -> BaseException | None:
    """Return the first exception in a group that is none itself; None: *error* is no group."""
    found: BaseException | None = None
    for _ in range(_DEEPEST):
        group = error if found is None else found
        # By its name: older interpreters have it of a package.
        if not any(each.__name__ == "BaseExceptionGroup" for each in type(group).__mro__):
            break
        try:
            found = group.exceptions[0]  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001  # the classes of others may do anything
            break
    return found


def _own_words(error: BaseException, masks: Masks) -> str:
    try:
        text = masks.masked(str(error))
    except Exception:  # noqa: BLE001  # the classes of others may do anything
        text = ""
    line = next((each.strip() for each in text.splitlines() if each.strip()), "")
    name = type(error).__name__
    return f"{name}: {line}" if line else name


def traceback_of(error: BaseException) -> str:
    """Return the traceback, from where the target's own code begins."""
    found = error.__traceback__
    inner = found
    while inner is not None and _is_before(inner):
        inner = inner.tb_next
    return "".join(traceback.format_exception(type(error), error, inner))


def crashed(error: BaseException, voice: Voice) -> None:
    """Tell the daemon and the log why the process ends."""
    story = voice.masks.masked(traceback_of(error))
    _write(story)
    voice.crashed(words_of(error, voice.masks), story)


def log(error: BaseException, voice: Voice) -> None:
    """Tell the log alone."""
    _write(voice.masks.masked(traceback_of(error)))


def cannot_run(error: BaseException, voice: Voice) -> None:
    """Tell both that the import of the target has failed."""
    story = voice.masks.masked(traceback_of(error))
    _write(story)
    voice.cannot_run(words_of(error, voice.masks), hopeless=False, traceback=story)


def _write(story: str) -> None:
    try:
        sys.stdout.flush()
        sys.stderr.write(story)
        sys.stderr.flush()
    except Exception:  # noqa: BLE001  # closed, None, or whatever the target has put there
        return  # the daemon hears it nevertheless


def _is_before(found: TracebackType) -> bool:
    file = found.tb_frame.f_code.co_filename
    return file.startswith((_OURS, *_BEFORE)) or file.endswith(_LIBRARY)


def place_of(error: BaseException) -> str:
    """Return where it came from: "shopq/model.py, line 1"; empty: nobody knows."""
    inner, place = error.__traceback__, ""
    while inner is not None:
        if not _is_before(inner):
            place = f"{inner.tb_frame.f_code.co_filename}, line {inner.tb_lineno}"
        inner = inner.tb_next
    return place
