"""Reading the configuration in a child, for a process that must not wait for a disk.

Imported by the supervisor: no `re`, and nothing of the loader itself. The child is `__main__.py` of
this package; the two talk over one stream socket, a line at a time::

    child   settings JSON       the settings of the new configuration
            spec JSON           one line for each worker, in order
            good JSON           the end of a good answer: files, digests and warnings
            bad JSON            instead of all that: what is wrong
    parent  force JSON          it is in force now, with these settings: write effective.toml
            (end of file)       it is not: nothing more to do
    child   written JSON        null, or why effective.toml could not be written

How such a child is started, waited for and given up stands in base/errand.py.
"""

from __future__ import annotations

import json
import socket

from supervisord_lite.base.calls import CALLS
from supervisord_lite.base.errand import Errand
from supervisord_lite.base.record import record
from supervisord_lite.config.spec import Configuration, settings_from_json, spec_from_json, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from supervisord_lite.config.spec import Settings, Spec

#: Ten thousand workers take two seconds; a disk that needs longer than this is not answering.
LIMIT_S = 30.0


@record
class Loaded:
    """The file is good.

    Attributes:
        warnings: As people read them; empty when there are none.
        files: Every file that was read, as typed, in the order of force.
        digests: SHA-256 of what was read, by the absolute path of the file.
    """

    configuration: Configuration
    warnings: str
    files: tuple[str, ...]
    digests: dict[str, str]


@record
class Refused:
    """The file is not good, or could not be judged: nothing may change.

    Attributes:
        message: As people read it: every error, and how many there are.
        problems: Each with file, line, column, message, hint, source and length; none when it
            could not be judged, and of thousands the first ones.
        count: How many there are in all.
    """

    message: str
    problems: tuple[dict[str, Any], ...] = ()
    count: int = 0


class Loading(Errand):
    """One reading of the configuration, from its start to the end of the child.

    What came of it is in `answer` as soon as it is known.

    Attributes:
        answer: What the file means; None: not known yet.
        unwritten: After `put_in_force`: why effective.toml could not be written; empty: it was.
    """

    _does = "reads"

    def __init__(
        self, path: str, *, environ: Mapping[str, str], now_s: float, limit_s: float = LIMIT_S
    ) -> None:
        """Start to read *path*.

        Args:
            path: Of the file; absolute, or relative to the current folder.
            environ: The daemon's environment.
            now_s: The clock, monotonic.
            limit_s: How long it may take to answer, and again to write.

        Raises:
            OSError: No process could be started.
        """
        self.answer: Loaded | Refused | None = None
        self.unwritten = ""
        self._settings: Settings | None = None
        self._specs: list[Spec] = []
        super().__init__("config", path, environ=environ, now_s=now_s, limit_s=limit_s)

    def put_in_force(self, settings: Settings, *, now_s: float) -> None:
        """Let the child write effective.toml, into the state folder of *settings*.

        Args:
            settings: Those in force, which may differ from the file's: some cannot change.
            now_s: The clock.
        """
        assert isinstance(self.answer, Loaded)
        self._allow_time(now_s)
        self.unwritten = "the process that writes it has ended"
        try:
            CALLS.sendall(self._socket, f"force {to_json(settings)}\n".encode())
        except OSError as error:
            self.unwritten = str(error)

    def dismiss(self) -> None:
        """Tell the child that its answer is not put in force: it ends."""
        try:
            CALLS.shutdown(self._socket, socket.SHUT_WR)
        except OSError:
            return  # it has ended already

    def _take(self, line: bytes) -> None:
        try:
            self._understand(line.decode())
        except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
            # Code on the disk that was changed under us may say anything.
            self._give_up(f"its answer cannot be read: {error!r}")

    def _give_up(self, why: str) -> None:
        self.answer = None
        self._end(why)

    def _understand(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "settings":
            self._settings = settings_from_json(rest)
        elif word == "spec":
            self._specs.append(spec_from_json(rest))
        elif word == "good":
            assert self._settings is not None
            said = json.loads(rest)
            configuration = Configuration(self._settings, tuple(self._specs))
            files = tuple(said["files"])
            self.answer = Loaded(configuration, said["warnings"], files, said["digests"])
            self._specs = []
        elif word == "bad":
            said = json.loads(rest)
            self.answer = Refused(said["message"], tuple(said["problems"]), said["count"])
        elif word == "written":
            self.unwritten = json.loads(rest) or ""

    def _conclude(self, why: str) -> None:
        if self.answer is None:
            self.answer = Refused(f"the configuration could not be read: {why}")
