"""Where in a log each run began, and when what was written: notes in a hidden file beside it.

A log holds a worker's bytes and nothing else, so its lines say neither. Beside PATH stands
``.NAME.marks``, a line for each mark, oldest first::

    TIME LAST DEVICE:INODE OFFSET RUN

What stands at OFFSET of that file, and behind it, was read from the pipe at TIME (seconds since the
epoch) or later; what stands before it was read at LAST or earlier ("-": not known). RUN is the
worker's run, "7.0123abcd", or "0.…" for what a forkserver prints before it is ready, which is no
run's; the first mark of a run is where it begins. DEVICE:INODE is "0" where a
run has begun and nothing has ever been written: the next mark of the run has the place.

A mark is made before the bytes that it is about, when a run begins, when there is another file, and
then once in `EVERY_S` at most. So a scribe may be killed at any time: its successor, which cannot
know, makes the mark of a run again further on, and the first one counts. Nothing depends on marks
but `logs --run` and `logs --since`: a disk in trouble costs marks, and is told by what it does to
the log. The file is bounded: when it is full, old times are thinned out, and then old runs go.
"""

from __future__ import annotations

import os
import stat

from supervisord_lite.base.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.scribe.calls import Calls
    from supervisord_lite.scribe.files import LogFile, Stream

#: Between two marks of one file while it is being written to, in seconds.
EVERY_S = 1.0
#: After a mark could not be made, in seconds.
RETRY_S = 1.0
#: Of one file of marks. A mark has about 60 bytes.
MAX_BYTES = 128 * 1024
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MODE = 0o640
#: Ends a line that was not written to its end, so that it has too many words.
_CUT = b" cut\n"
#: How the name of what is no run begins: of the imports of a forkserver.
NO_RUN = "0."
#: No clock shows that, and no file has a place there: whoever may write the folder may write that.
_ENDLESS_S = 1e12
_MOST_OFFSET = 1 << 63
#: Of a run that has begun before there was a file.
_NO_FILE = "0"


@record
class Mark:
    """One line.

    Attributes:
        at_s: What follows was read then or later, in seconds since the epoch.
        last_s: What precedes was read then or earlier; None: not known.
        file: Device and inode of the log or of its segment; None: there was none.
        offset: Where in it, in bytes.
        run: Of the worker.
    """

    at_s: float
    last_s: float | None
    file: tuple[int, int] | None
    offset: int
    run: str


def marks_path(path: str) -> str:
    """Return where the marks of the log at *path* stand."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.marks")


def beginning_of(path: str, run: int, identity: tuple[int, int]) -> int:
    """Return where in a file of the log at *path* a run begins; 0 where nothing says so.

    Args:
        path: Of the log.
        run: Number of the run; of several services the latest one's counts.
        identity: Device and inode of the file; what began in an earlier one is there from 0 on.
    """
    try:
        descriptor = os.open(marks_path(path), _READ_FLAGS)
    except OSError:
        return 0
    try:
        data = os.read(descriptor, 2 * MAX_BYTES) if _is_regular(descriptor) else b""
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    own = [mark for mark in parse(data) if mark.run.partition(".")[0] == str(run)]
    places = [mark for mark in own if mark.run == own[-1].run and mark.file is not None]
    return places[0].offset if places and places[0].file == identity else 0


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def parse(data: bytes) -> list[Mark]:
    """Return the marks in a file, in order; a line that is not whole is left out."""
    found = (_parse_line(line) for line in data.split(b"\n")[:-1])
    return [mark for mark in found if mark is not None]


def _parse_line(line: bytes) -> Mark | None:
    try:
        at, last, file, offset, run = line.decode("ascii").split(" ")
        device, _, inode = file.partition(":")
        identity = None if file == _NO_FILE else (int(device, 16), int(inode, 16))
        last_s = None if last == "-" else float(last)
        mark = Mark(float(at), last_s, identity, int(offset), run)
    except ValueError:
        return None
    is_time = 0 <= mark.at_s < _ENDLESS_S and 0 <= (mark.last_s or 0.0) < _ENDLESS_S
    return mark if is_time and 0 <= mark.offset < _MOST_OFFSET else None


def _text(mark: Mark) -> bytes:
    last = "-" if mark.last_s is None else f"{mark.last_s:.3f}"
    file = _NO_FILE if mark.file is None else f"{mark.file[0]:x}:{mark.file[1]:x}"
    return f"{mark.at_s:.3f} {last} {file} {mark.offset} {mark.run}\n".encode("ascii", "replace")


def thinned(marks: list[Mark], most_bytes: int) -> list[Mark]:
    """Return fewer marks, of *most_bytes* as text: first of the older half every other time.

    Then the oldest runs go, a quarter at once, and then times of the newer half. The latest run,
    and where each that is left begins, stay.
    """
    # Of a run that has only begun, the mark that follows has the place.
    places = {mark.run: mark for mark in reversed(marks) if mark.file is not None}
    firsts = {mark.run: mark for mark in reversed(marks)}
    needed = {id(mark) for mark in (*firsts.values(), *places.values())}
    # How old the present file is, is told by its first mark.
    needed |= {id(_first_of_last(marks))} if marks else set()
    sizes = {id(mark): len(_text(mark)) for mark in marks}
    kept = marks
    while sum(sizes[id(mark)] for mark in kept) > most_bytes:
        runs = list(dict.fromkeys(mark.run for mark in kept))
        spare = [id(mark) for mark in kept if id(mark) not in needed]
        older = {id(mark) for mark in kept[: len(kept) // 2]}.intersection(spare)
        if older or len(runs) == 1:
            going = set([each for each in spare if not older or each in older][::2])
            if not going:
                break
            kept = [mark for mark in kept if id(mark) not in going]
        else:
            gone = set(runs[: max(1, len(runs) // 4)])
            kept = [mark for mark in kept if mark.run not in gone]
    return kept


def _first_of_last(marks: list[Mark]) -> Mark:
    """Return the first mark of the file that the last one is about."""
    first = marks[-1]
    for mark in reversed(marks):
        if mark.file != first.file:
            break
        first = mark
    return first


class _Known:
    """What is known of one file.

    Attributes:
        marked_at_s: When the last mark was made, on the monotonic clock.
        retry_at_s: Not before this time, after it failed.
        read_s: When something was read last, in seconds since the epoch.
        identity: Of the file that the last mark is about, as `LogFile` has it.
    """

    __slots__ = ("identity", "marked_at_s", "read_s", "retry_at_s")

    def __init__(self) -> None:
        self.marked_at_s = float("-inf")
        self.retry_at_s = float("-inf")
        self.read_s: float | None = None
        self.identity = 0


class Marks:
    """Makes marks; all of it is the writer thread's, and without the lock."""

    def __init__(
        self, calls: Calls, now_s: Callable[[], float], wall_s: Callable[[], float]
    ) -> None:
        """Take the seam, the monotonic clock and the wall clock."""
        self._calls = calls
        self._now_s = now_s
        self._wall_s = wall_s
        self._known: dict[bytes, _Known] = {}

    def begin(self, stream: Stream) -> None:
        """It is the turn of a run on its file: mark where it begins, whatever it may say."""
        file = stream.file
        if file is None or not stream.run or stream.is_marked or self._is_late(file):
            return
        try:
            self._begin(stream, file)
        except OSError:
            self._give_up(file)

    def before(self, stream: Stream) -> None:
        """Some of *stream* is about to be read: mark where it goes, if that is due."""
        file = stream.file
        if file is None or not stream.run or self._is_late(file):
            return
        known = self._of(file)
        is_due = self._now_s() >= known.marked_at_s + EVERY_S or file.identity != known.identity
        if stream.is_marked and not is_due:
            return
        try:
            file.check()
            offset = min(file.entry.line_start, file.offset) if file.entry.trim else file.offset
            self._mark(stream, file, offset, self._wall_s())
            stream.is_marked = True
        except OSError:
            self._give_up(file)

    def after(self, stream: Stream) -> None:
        """Some of *stream* has been read: note when, and mark where another file begins."""
        file = stream.file
        if file is None or not stream.run:
            return
        known = self._of(file)
        known.read_s = self._wall_s()
        if file.descriptor >= 0 and file.identity != known.identity and not self._is_late(file):
            try:
                self._mark(stream, file, 0, known.read_s)
            except OSError:
                self._give_up(file)

    def forget(self, file: LogFile) -> None:
        """No stream needs this file any more."""
        self._known.pop(file.path_bytes, None)

    def _of(self, file: LogFile) -> _Known:
        return self._known.setdefault(file.path_bytes, _Known())

    def _is_late(self, file: LogFile) -> bool:
        """Return whether it is in trouble, and not to be tried now."""
        now_s = self._now_s()
        is_ill = file.entry.trouble and now_s < file.retry_at_s
        return is_ill or now_s < self._of(file).retry_at_s

    def _give_up(self, file: LogFile) -> None:
        self._of(file).retry_at_s = self._now_s() + RETRY_S

    def _begin(self, stream: Stream, file: LogFile) -> None:
        try:
            status = self._calls.lstat(file.path)
        except FileNotFoundError:
            mark = Mark(self._wall_s(), self._of(file).read_s, None, 0, stream.run)
            self._append(file, mark)
            return  # with the first bytes there will be a file, and another mark
        if not stat.S_ISREG(status.st_mode):
            return  # a device, say, in whose folder we leave nothing
        size = min(file.entry.line_start, status.st_size) if file.entry.trim else status.st_size
        identity = (status.st_dev, status.st_ino)
        self._append(file, Mark(self._wall_s(), self._of(file).read_s, identity, size, stream.run))
        stream.is_marked = True

    def _mark(self, stream: Stream, file: LogFile, offset: int, at_s: float) -> None:
        status = self._calls.fstat(file.descriptor)
        known = self._of(file)
        identity = (status.st_dev, status.st_ino)
        self._append(file, Mark(at_s, known.read_s, identity, offset, stream.run))
        known.marked_at_s = self._now_s()
        known.identity = file.identity

    def _append(self, file: LogFile, mark: Mark) -> None:
        path = marks_path(file.path)
        try:
            descriptor = self._calls.open(path, _FLAGS, _MODE)
        except FileNotFoundError:
            return  # not even a folder: the first bytes make it, and the mark
        try:
            status = self._calls.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return
            size = status.st_size
            text = _text(mark)
            if size and self._calls.pread(descriptor, 1, size - 1) != b"\n":
                text = _CUT + text
            self._calls.pwrite(descriptor, text, size)
            if size + len(text) > MAX_BYTES:
                self._thin(path, descriptor, size + len(text))
        finally:
            self._calls.close(descriptor)

    def _thin(self, path: str, descriptor: int, size: int) -> None:
        """Replace a full file by a shorter one, in one step."""
        # Somebody else may have made it any longer.
        skipped = max(0, size - 2 * MAX_BYTES)
        data = self._calls.pread(descriptor, size - skipped, skipped)
        marks = thinned(parse(data.partition(b"\n")[2] if skipped else data), MAX_BYTES // 2)
        text = b"".join(map(_text, marks))
        try:  # noqa: SIM105  # contextlib is one more import in a resident process
            self._calls.unlink(f"{path}.new")  # of one who was killed here
        except FileNotFoundError:
            pass
        other = self._calls.open(f"{path}.new", _FLAGS | os.O_EXCL, _MODE)
        try:
            self._calls.pwrite(other, text, 0)
        finally:
            self._calls.close(other)
        self._calls.rename(f"{path}.new", path)
