"""The dry start: other code reads copies of the state, and says whether it could go on with them.

The child is `supervisor/trial.py` of that code. What it says is the word of code that nobody has
tried yet: bounded, judged as a whole when it has ended, and never waited for longer than `LIMIT_S`.
"""

from __future__ import annotations

import json
import os
import select
import signal

from supervisord_lite.base.signals import describe_end
from supervisord_lite.keeper.children import start_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.base.resident import Code
    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.poller import Poller
    from supervisord_lite.keeper.reap import Ended

#: A thousand workers take a second; code that needs longer than this hangs.
LIMIT_S = 30.0
_MOST_ANSWER_BYTES = 64 * 1024
_MOST_ERROR_BYTES = 8 * 1024
_MOST_REASON = 500
_MOST_UNUSABLE = 20


class Trial:
    """One dry start, from its start to its end.

    Attributes:
        name: As whoever asked calls it.
        pid: Of the child.
        deadline_s: When it is given up.
    """

    def __init__(
        self,
        calls: Calls,
        poller: Poller,
        name: str,
        code: Code,
        descriptors: list[int],
        now_s: float,
    ) -> None:
        """Start it.

        Args:
            calls: The seam.
            poller: Wakes the loop when it says something.
            name: As whoever asked calls it.
            code: Whose start is tried.
            descriptors: What it reads: the handover, and the state of the keeper if there is one.
            now_s: The clock.

        Raises:
            OSError: It could not be started.
        """
        self._calls = calls
        self._poller = poller
        self.name = name
        self.deadline_s: float | None = now_s + LIMIT_S
        self._is_late = False
        self._answer = bytearray()
        self._errors = bytearray()
        self._pipes: dict[int, bytearray] = {}
        writers: list[int] = []
        try:
            for taken in (self._answer, self._errors):
                reader, writer = calls.pipe2(os.O_CLOEXEC)
                self._pipes[reader] = taken
                writers.append(writer)
            self.pid = self._start(code, writers, descriptors)
        except BaseException:
            self.close()
            raise
        finally:
            for writer in writers:
                calls.close(writer)
        for reader in self._pipes:
            os.set_blocking(reader, False)
            self._watch(reader)

    def _start(self, code: Code, outputs: list[int], descriptors: list[int]) -> int:
        numbers = range(3, 3 + len(descriptors))
        assert min([*outputs, *descriptors]) > 2 + len(descriptors), (
            "a copy would overwrite another"
        )
        actions: list[tuple[object, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, outputs[0], 1),
            (os.POSIX_SPAWN_DUP2, outputs[1], 2),
        ]
        actions += [
            (os.POSIX_SPAWN_DUP2, descriptor, number)
            for descriptor, number in zip(descriptors, numbers, strict=True)
        ]
        return start_own(self._calls, "trial", len(descriptors), code, actions)

    def _watch(self, reader: int) -> None:
        self._poller.watch(reader, select.EPOLLIN, lambda _mask: self._read(reader))

    def _read(self, reader: int) -> None:
        """Take what is there; of errors the end is kept, of an answer the beginning."""
        taken = self._pipes[reader]
        try:
            data = self._calls.read(reader, 64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._poller.unwatch(reader)
            return
        taken += data
        if taken is self._errors:
            del taken[:-_MOST_ERROR_BYTES]
        else:
            del taken[_MOST_ANSWER_BYTES:]

    def check(self, now_s: float) -> None:
        """Kill it when its time is over."""
        if self.deadline_s is not None and now_s >= self.deadline_s:
            self.deadline_s = None
            self._is_late = True
            self.kill()

    def kill(self) -> None:
        """SIGKILL: it is reaped as any other."""
        try:
            self._calls.kill(self.pid, signal.SIGKILL)
        except OSError:
            return  # it is gone, and about to be reaped

    def ended(self, dead: Ended) -> dict[str, Any]:
        """Return what came of it, for whoever asked: it was reaped."""
        for reader in self._pipes:
            self._read(reader)
        self.close()
        said = _answer_of(bytes(self._answer))
        if self._is_late:
            reason = f"its dry start gave no answer within {LIMIT_S:g} s"
        elif "reason" in said:
            reason = str(said["reason"])
        elif dead.code != 0:
            how = describe_end(dead.code, dead.signal)
            reason = _last_line(bytes(self._errors)) or f"its dry start ended with {how}"
        elif not _is_whole(said):
            reason = "its answer cannot be understood"
        else:
            return {
                "id": self.name, "ok": True, "reason": "", "version": str(said["version"])[:100],
                "protocol": said["protocol"], "unusable": _unusable(said.get("unusable")),
            }  # fmt: skip
        return refusal(self.name, reason)

    def close(self) -> None:
        """Let go of the pipes."""
        for reader in self._pipes:
            self._poller.unwatch(reader)
            self._calls.close(reader)
        self._pipes.clear()


def refusal(name: str, reason: str) -> dict[str, Any]:
    """Return what whoever asked for a trial is told of one that has failed."""
    return {
        "id": name, "ok": False, "reason": reason[:_MOST_REASON], "version": "", "protocol": 0,
        "unusable": {},
    }  # fmt: skip


def _answer_of(data: bytes) -> dict[str, Any]:
    """Return the object in the last line; an empty one where there is none."""
    line = (data.strip().splitlines() or [b""])[-1]
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_whole(said: dict[str, Any]) -> bool:
    version, protocol = said.get("version"), said.get("protocol")
    return isinstance(version, str) and bool(version) and type(protocol) is int and protocol > 0


def _unusable(said: object) -> dict[str, str]:
    found = said if isinstance(said, dict) else {}
    return {str(name): str(why)[:_MOST_REASON] for name, why in [*found.items()][:_MOST_UNUSABLE]}


def _last_line(errors: bytes) -> str:
    """Return how a traceback ends, with the place where it does; or what else was said last."""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    if not lines:
        return ""
    last = lines[-1].strip()
    places = [line.strip() for line in lines if line.lstrip().startswith('File "')]
    if not places:
        return last
    path, _, where = places[-1].removeprefix('File "').partition('", line ')
    return f"{last} ({path}:{where.partition(',')[0]})"
