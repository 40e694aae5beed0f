"""A log file: opened late, checked before each write, renamed to a number when it is full."""

from __future__ import annotations

import errno
import os
import stat

from supervisord_lite.scribe.forms import RAW
from supervisord_lite.scribe.gzipped import HEADER_BYTES, SUFFIX, origin_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.scribe.calls import Calls
    from supervisord_lite.scribe.ledger import Entry

_OPEN_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FILE_MODE = 0o640
#: The event journal says who did what: it is for its owner, and read by asking the daemon. The
#: name alone decides, so that a scribe that takes over in the middle of a rotation does the same.
EVENTS_FILE = "events.jsonl"
_PRIVATE_MODE = 0o600
#: As `run` makes log_dir, which may be what has to be made again.
_FOLDER_MODE = 0o750
#: Longer numbers are somebody else's: a date, as logrotate makes them.
_NUMBER_DIGITS = 7


class Stream:
    """One pipe of one run of a worker.

    Attributes:
        number: The keeper's name for it.
        descriptor: The read end; -1 for a stream that a predecessor was reading and that has not
            been attached again yet.
        file: Where it goes; None when it goes to the daemon's own output.
        midline, skip: As in `memory.Entry`, for the head of a file's queue stored there too.
        retired: Its writers should be gone.
        deadline_s: When to stop waiting for its end; None while that is open.
        last_bytes: How much is still to be read after the deadline; None before.
        target: Where it goes from its next line on: the keeper's entry for it; None: it stays.
        echo, has_prefix: What its entries in the journal have in common, and whether "<3>" is a
            priority (`echo`).
        form, is_stderr: How its lines stand in the file (`forms`).
        run: Of the worker, for `marks`; empty: no marks are made.
        is_marked: Its beginning in its file has been marked.
    """

    __slots__ = (
        "deadline_s", "descriptor", "echo", "file", "form", "has_prefix", "is_marked",
        "is_stderr", "last_bytes", "midline", "number", "retired", "run", "skip", "target",
    )  # fmt: skip

    def __init__(self, number: int, descriptor: int, file: LogFile | None) -> None:
        """Begin at a line start, not retired."""
        self.number = number
        self.descriptor = descriptor
        self.file = file
        self.midline = False
        self.skip = False
        self.retired = False
        self.deadline_s: float | None = None
        self.last_bytes: int | None = None
        self.target: dict[str, Any] | None = None
        self.form = RAW
        self.is_stderr = False
        self.echo = b""
        self.has_prefix = True
        self.run = ""
        self.is_marked = False


class LogFile:
    """One path, the streams that wait for it, and the file that is open there.

    Attributes:
        path, max_size, backups, max_age_s, compress: As configured; sizes in bytes.
        entry: Its line in the ledger.
        queue: Streams in the order attached, but for those that take turns (`turns.py`); only the
            first is read, and may have an unfinished line.
        descriptor: Of the open file, or -1.
        identity: Of the open file.
        offset: Its size, which is where the next byte goes.
        reopen: Close and open it before the next write.
        retry_at_s: In trouble: not before this time, on the monotonic clock.
        rotate_at_s: After a rotation failed: not before this time.
        rotation_failed, compression_failed: The keeper was told so.
        echo: Where the journal listens to which its lines go on; empty: they do not.
        owes, is_in_line: Of those some have not been sent; the next one goes on in a line.
        old_at_s: When it has its `max_age`, on the monotonic clock; None: not known.
        aged_identity: Of the file that `old_at_s` speaks about.
        untold, told_at_s: What was dropped has grown since it was told, and when that was.
    """

    __slots__ = (
        "aged_identity",
        "backups",
        "calls",
        "compress",
        "compression_failed",
        "descriptor",
        "echo",
        "entry",
        "identity",
        "is_in_line",
        "max_age_s",
        "max_size",
        "offset",
        "old_at_s",
        "owes",
        "path",
        "path_bytes",
        "queue",
        "reopen",
        "retry_at_s",
        "rotate_at_s",
        "rotation_failed",
        "told_at_s",
        "untold",
    )  # fmt: skip

    def __init__(self, path: bytes, entry: Entry, calls: Calls) -> None:
        """Prepare; nothing is opened before the first write."""
        self.path_bytes = path
        self.path = os.fsdecode(path)
        self.entry = entry
        self.calls = calls
        self.max_size = 0
        self.backups = 0
        self.queue: list[Stream] = []
        self.descriptor = -1
        self.identity = 0
        self.offset = 0
        self.reopen = False
        self.retry_at_s = 0.0
        self.rotate_at_s = 0.0
        self.rotation_failed = False
        self.max_age_s = 0.0
        self.old_at_s: float | None = None
        self.aged_identity = 0
        self.compress = False
        self.compression_failed = False
        self.echo = ""
        self.owes = False
        self.is_in_line = False
        self.untold = False
        self.told_at_s = 0.0

    def image(self) -> Entry:
        """Return the entry with the state of the stream that is read now."""
        if self.queue:
            head = self.queue[0]
            self.entry.stream = head.number
            self.entry.midline = head.midline
            self.entry.skip = head.skip
        return self.entry

    def check(self) -> None:
        """Make sure that the open file is the one at the path; open it when it is not.

        Raises:
            OSError: It cannot be opened, or is not a regular file.
        """
        if self.descriptor >= 0:
            try:
                status = None if self.reopen else self.calls.lstat(self.path)
            except (FileNotFoundError, NotADirectoryError):
                status = None
            if status is not None and _identity(status) == self.identity:
                self._note_size(status.st_size)
                return
            self.close()
        self.reopen = False
        self._open()

    def open_next(self) -> None:
        """Open the file that follows one that was renamed; the ledger goes on with it.

        Raises:
            OSError: It cannot be opened, or is not a regular file.
        """
        self.close()
        self.entry.identity = 0
        self._open()

    def _open(self) -> None:
        try:
            _refuse_irregular(self.calls.lstat(self.path), self.path)
        except FileNotFoundError:
            make_folders(self.calls, os.path.dirname(self.path))
        is_private = self.path.endswith(f"/{EVENTS_FILE}")
        mode = _PRIVATE_MODE if is_private else _FILE_MODE
        # What is sent on to the journal is read here again.
        flags = _OPEN_FLAGS ^ os.O_WRONLY | os.O_RDWR if self.echo else _OPEN_FLAGS
        descriptor = self.calls.open(self.path, flags, mode)
        try:
            status = self.calls.fstat(descriptor)
            _refuse_irregular(status, self.path)
        except OSError:
            self._discard(descriptor)
            raise
        self.descriptor = descriptor
        self.identity = _identity(status)
        if self.entry.identity != self.identity:
            # Another file than before: nothing in it is ours to cut off, unless it was made for
            # the chunk that is under way.
            self.entry.trim = self.entry.trim and self.entry.identity == 0
            self.entry.identity = self.identity
            self.entry.line_start = self.entry.echoed = status.st_size
        self._note_size(status.st_size)

    def _note_size(self, size: int) -> None:
        self.offset = size
        self.entry.echoed = min(self.entry.echoed, size)
        if self.entry.line_start > size:
            # Truncated by somebody (logrotate's copytruncate).
            self.entry.line_start = size
            self.entry.trim = False

    def is_old(self, now_s: float) -> bool:
        """Return whether what is open has its `max_age`."""
        is_known = self.old_at_s is not None and self.aged_identity == self.identity
        return is_known and (self.old_at_s or 0.0) <= now_s and self.rotate_at_s <= now_s

    def close(self) -> None:
        """Close it, if it is open. An error of close would say nothing that a write has not."""
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            self._discard(descriptor)

    def _discard(self, descriptor: int) -> None:
        try:  # noqa: SIM105  # contextlib is one more import in a resident process
            self.calls.close(descriptor)
        except OSError:
            pass

    def segment_path(self, segment: int) -> str:
        """Return where the file goes when it is full for the *segment*-th time."""
        return f"{self.path}.{segment}"

    @staticmethod
    def identity_of(status: os.stat_result) -> int:
        """Return the identity of what was looked at."""
        return _identity(status)

    def identity_at(self, path: str) -> int:
        """Return the identity of what is at *path*, 0 for nothing.

        Raises:
            OSError: It cannot be told.
        """
        try:
            return _identity(self.calls.lstat(path))
        except FileNotFoundError:
            return 0


class _Numbers:
    """The full files of one log: all of them, ascending; those with a plain and a packed file."""

    __slots__ = ("all", "packed", "plain")

    def __init__(self) -> None:
        self.all: list[int] = []
        self.plain: set[int] = set()
        self.packed: set[int] = set()


class Segments:
    """The numbers behind the names of full files, from one look at each folder."""

    def __init__(self, calls: Calls) -> None:
        """Begin with no folder looked at."""
        self._calls = calls
        self._folders: dict[str, dict[str, _Numbers]] = {}

    def of(self, file: LogFile) -> list[int]:
        """Return the numbers that exist for *file*, ascending; the caller keeps them true.

        Raises:
            OSError: The folder cannot be read.
        """
        return self._known(file).all

    def plain(self, file: LogFile) -> set[int]:
        """Return those that are not compressed, or not only; the caller keeps them true.

        Raises:
            OSError: The folder cannot be read.
        """
        return self._known(file).plain

    def packed(self, file: LogFile) -> set[int]:
        """Return those that are compressed, or may be; the caller keeps them true.

        Raises:
            OSError: The folder cannot be read.
        """
        return self._known(file).packed

    def _known(self, file: LogFile) -> _Numbers:
        folder, name = os.path.split(file.path)
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = self._look(folder)
        return known.setdefault(name, _Numbers())

    def _look(self, folder: str) -> dict[str, _Numbers]:
        known: dict[str, _Numbers] = {}
        for found in self._calls.listdir(folder or "."):
            plain = found.removesuffix(SUFFIX)
            stem, _, number = plain.rpartition(".")
            if not (stem and _is_number(number)):
                continue
            if plain != found and not self._is_ours(os.path.join(folder, found)):
                continue  # logrotate's, say
            numbers = known.setdefault(stem, _Numbers())
            (numbers.plain if plain == found else numbers.packed).add(int(number))
        for numbers in known.values():
            numbers.all = sorted(numbers.plain | numbers.packed)
        return known

    def _is_ours(self, path: str) -> bool:
        try:
            descriptor = self._calls.open(path, _READ_FLAGS)
        except OSError:
            return False
        try:
            return origin_in(self._calls.pread(descriptor, HEADER_BYTES, 0)) is not None
        except OSError:
            return False
        finally:
            self._calls.close(descriptor)

    def remove(self, file: LogFile, number: int) -> None:
        """Remove a full file, compressed or not.

        Raises:
            OSError: It is still there.
        """
        known = self._known(file)
        path = file.segment_path(number)
        # The plain one first: who compresses it just now sees that it has to go.
        for each in (path, path + SUFFIX) if number in known.packed else (path,):
            try:
                self._calls.unlink(each)
            except FileNotFoundError:
                continue
        known.plain.discard(number)
        known.packed.discard(number)

    def forget(self) -> None:
        """Look again when asked next: somebody may have tidied up."""
        self._folders.clear()


def _is_number(text: str) -> bool:
    """Return whether this is how `LogFile.segment_path` writes a number."""
    return (
        0 < len(text) <= _NUMBER_DIGITS
        and text.isascii()
        and text.isdigit()
        and not text.startswith("0")
    )


def make_folders(calls: Calls, folder: str) -> None:
    """Make *folder* and what is missing above it.

    Raises:
        OSError: It cannot be made.
    """
    if not folder:
        return
    try:
        calls.mkdir(folder, _FOLDER_MODE)
    except FileExistsError:
        pass
    except FileNotFoundError:
        make_folders(calls, os.path.dirname(folder))
        try:  # noqa: SIM105  # as above
            calls.mkdir(folder, _FOLDER_MODE)
        except FileExistsError:
            pass


def _identity(status: os.stat_result) -> int:
    """Return device and inode as one number of 64 bits that is not 0."""
    return (status.st_dev << 44 ^ status.st_ino) & ((1 << 64) - 1) or 1


def _refuse_irregular(status: os.stat_result, path: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "Is a symbolic link", path)
    raise OSError(errno.EINVAL, "Not a regular file", path)
