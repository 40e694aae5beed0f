"""What the keeper is told about files and outputs: trouble at once, losses once in a while.

Every method is called with the desk's lock held.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from supervisord_lite.scribe.files import LogFile
    from supervisord_lite.scribe.inherit import Output
    from supervisord_lite.scribe.link import Link

#: What was dropped is told at most this often for each file, in seconds.
TELL_S = 1.0


class Reports:
    """What is to be told, until it is."""

    def __init__(self, link: Link, now_s: Callable[[], float]) -> None:
        """Begin with nothing to tell.

        Args:
            link: To the keeper.
            now_s: The monotonic clock.
        """
        self._link = link
        self._now_s = now_s
        self._untold: set[LogFile] = set()

    def note(self, file: LogFile, what: str, reason: str) -> None:
        """Note what a copier, or the watcher, says about a file."""
        if what == "dropped":
            file.untold = True
            self._untold.add(file)
        elif self._link.is_full:
            pass  # the keeper has not listened for a thousand messages
        elif what in ("trouble", "hung"):
            self._link.send({"said": what, "path": file.path, "reason": reason})
        else:
            if file.untold:
                self.tell(file)
            self._link.send({"said": "resumed", "path": file.path})

    def tell(self, file: LogFile) -> None:
        """Tell the keeper what was lost of a file."""
        self._untold.discard(file)
        file.untold = False
        file.told_at_s = self._now_s()
        self._say_dropped(file.path, file.entry.dropped_bytes, file.entry.dropped_lines)

    def due_s(self, outputs: Iterable[Output]) -> Iterator[float]:
        """Return when something is to be told of files, and of *outputs*."""
        if not self._link.is_busy:
            yield from (file.told_at_s + TELL_S for file in self._untold)
            yield from (output.told_at_s + TELL_S for output in outputs if output.untold)

    def tell_due(self, outputs: Iterable[Output], now_s: float) -> None:
        """Tell what is due of files, and of *outputs*."""
        for output in outputs:
            if output.untold and now_s >= output.told_at_s + TELL_S and not self._link.is_busy:
                output.untold = False
                output.told_at_s = now_s
                name = "stdout" if output.number == 1 else "stderr"
                self._say_dropped(name, output.dropped_bytes, output.dropped_lines)
        if self._untold and not self._link.is_busy:
            for file in [file for file in self._untold if now_s >= file.told_at_s + TELL_S]:
                self.tell(file)

    def _say_dropped(self, path: str, dropped_bytes: int, dropped_lines: int) -> None:
        message = {"said": "dropped", "path": path, "bytes": dropped_bytes, "lines": dropped_lines}
        self._link.send(message)
