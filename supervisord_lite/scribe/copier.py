"""From a pipe to a file, one chunk at a time, exactly once even when killed in between.

`copy` is the writer thread's; it takes the lock for what concerns streams and the ledger and never
holds it during a disk call. `drop` is for whoever holds the lock. The steps and what a successor
makes of each are told in the package's theory of operation.
"""

from __future__ import annotations

import errno
import os

from supervisord_lite.base.log_line import rfc3339
from supervisord_lite.scribe.files import LogFile, Segments, Stream
from supervisord_lite.scribe.forms import RAW, RAW_AT, Chunk, closing
from supervisord_lite.scribe.gzipped import SUFFIX
from supervisord_lite.scribe.memory import (
    IDLE,
    NONCE_BYTES,
    READ,
    READ_SMALL,
    ROTATE,
    TRIM,
    WRITE,
    Area,
    Memory,
)
from supervisord_lite.scribe.tail import Tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable

    from supervisord_lite.scribe.calls import Calls

#: Trouble is looked at again after this time, when there is data; in seconds.
RETRY_S = 1.0


class Copier:
    """Moves chunks, with one area of the memory.

    Attributes:
        segments: The numbers of full files.
        may_rotate: Asked about a file and its size before it is renamed.
        on_segment: Told of a file of which another full one has got its number.
    """

    def __init__(
        self,
        memory: Memory,
        area: Area,
        calls: Calls,
        lock: LockType,
        report: Callable[[LogFile, str, str], None],
        now_s: Callable[[], float],
        wall_s: Callable[[], float],
    ) -> None:
        """Work with *area* of *memory*.

        Args:
            memory: For small reads.
            area: This copier's own.
            calls: The seam.
            lock: Held by the caller of `drop` and `note_end`, and taken by all others.
            report: Called with the lock held: a file, "trouble" or "resumed" or "dropped", and
                the reason.
            now_s: The monotonic clock.
            wall_s: The wall clock, for stamps.
        """
        self._memory = memory
        self._area = area
        self._calls = calls
        self._lock = lock
        self._report = report
        self._now_s = now_s
        self._wall_s = wall_s
        self._tail = Tail(memory, calls)
        self.segments = Segments(calls)
        self.on_segment: Callable[[LogFile], None] = lambda _file: None
        self.may_rotate: Callable[[LogFile, int], bool] = lambda _file, _end: True
        self._written = 0

    @property
    def unwritten_bytes(self) -> int:
        """How much of the chunk that is under way has not been written."""
        area = self._area
        return area.end - self._written if area.phase in (WRITE, ROTATE) else 0

    # The steps of the writer thread.

    def copy(self, stream: Stream, want: int, is_current: Callable[[], bool]) -> None:
        """Move *want* bytes of *stream* into its file, or drop them when that is not possible.

        Args:
            stream: The head of its file's queue.
            want: How much can be read, in bytes; at most `BUFFER_BYTES`.
            is_current: Asked under the lock: whether nobody else has read meanwhile.
        """
        file = stream.file
        assert file is not None
        storing = self.prepare(file)
        with self._lock:
            if not is_current() or not self._take(stream, file, want, storing=storing):
                return
        self._store_and_finish(stream, file)

    def prepare(self, file: LogFile) -> bool:
        """Return whether *file* can be written: open, the right one, at a line's end."""
        if file.entry.trouble and self._now_s() < file.retry_at_s:
            return False
        try:
            file.check()
        except OSError as error:
            with self._lock:
                self._note_trouble(file, error)
            return False
        if not file.entry.trim:
            return True
        with self._lock:
            entry = file.entry
            keep = min(entry.line_start, file.offset)
            if not entry.counted:
                entry.dropped_bytes += file.offset - keep
                self._report(file, "dropped", "")
            self._begin_trim(file, keep)
        return self._trim(file)

    def _store_and_finish(self, stream: Stream, file: LogFile) -> None:
        self._written = self._area.start
        self._area.is_old = file.is_old(self._now_s())
        error = self._store(file)
        with self._lock:
            trimming = self._finish(stream, file, error)
        if trimming:
            self._trim(file)

    # Reading; the lock is held.

    def drop(self, stream: Stream, want: int) -> None:
        """Read *want* bytes of *stream* and count them as lost."""
        assert stream.file is not None
        self._take(stream, stream.file, want, storing=False)

    def note_end(self, stream: Stream) -> None:
        """The stream has ended, maybe in the middle of a line that was being dropped."""
        file = stream.file
        is_head = file is not None and file.queue[:1] == [stream]
        if file is not None and is_head and file.echo and file.entry.echoed < file.offset:
            # The journal has not taken it, and nobody will try again.
            file.entry.dropped_bytes += file.offset - file.entry.echoed
            file.entry.echoed = file.offset
            self.note_entry(file)
            self._report(file, "dropped", "")
        if file is not None and stream.skip:
            stream.skip = False
            file.entry.dropped_lines += 1
            self._area.aim(file, stream.number)
            self._area.commit(IDLE, file.image())
            self._report(file, "dropped", "")

    def note_entry(self, file: LogFile) -> None:
        """Enter what the entry of *file* says now in the ledger, in one step."""
        if self._area.phase == IDLE:
            self._area.aim(file, file.entry.stream)
        self._area.commit(self._area.phase, file.image())

    def _take(self, stream: Stream, file: LogFile, want: int, *, storing: bool) -> bool:
        area = self._area
        area.aim(file, stream.number)
        area.end = want
        area.storing = storing
        # What is only counted stays as it is.
        area.form, area.is_stderr = (stream.form, stream.is_stderr) if storing else (RAW, False)
        count = -1
        if want < NONCE_BYTES and self._tail.works:
            self._tail.clear()
            area.commit(READ_SMALL)
            count = self._tail.move(stream.descriptor, want)
            if count > 0:
                count = self._tail.fetch(area)
        if count < 0:
            area.prefill()
            area.commit(READ)
            try:
                target = area.view[area.base : area.base + want]
                count = self._calls.readv(stream.descriptor, [target])
            except BlockingIOError:
                count = 0
        if count == 0:
            # Somebody else took it out of the pipe.
            area.commit(IDLE)
            return False
        return self._sort(stream, file, count, storing=storing)

    def _sort(self, stream: Stream, file: LogFile, count: int, *, storing: bool) -> bool:
        """Decide what of the *count* bytes in the buffer is stored; return whether any is."""
        area, entry, base = self._area, file.entry, self._area.base
        start = 0
        if not storing:
            start = count
        elif stream.skip:
            newline = area.first_newline(base, base + count)
            start = newline + 1 - base if newline >= 0 else count
        if start:
            entry.held = b""
            if stream.midline and not stream.skip and not entry.trim:
                # The beginning of this line may be in the file: it goes at the next write.
                entry.trim, entry.counted = True, False
            self._count(file, base, base + start)
        was_midline = stream.midline
        stream.midline = area.view[base + count - 1] != 10  # "\n"
        if start == count:
            stream.skip = stream.midline
            area.commit(IDLE, file.image())
            return False
        stream.skip = False
        goes_on = was_midline and not start
        area.start, area.end = start, count
        if area.form:
            raw = bytes(area.view[base + start : base + count])
            goes_on = self._put_in_form(file, raw, goes_on=goes_on)
        entry.form = area.form
        area.offset, area.identity = file.offset, file.identity
        area.line_start = entry.line_start if goes_on else file.offset
        area.commit(WRITE, file.image())
        return True

    def _put_in_form(self, file: LogFile, raw: bytes, *, goes_on: bool) -> bool:
        """Make of what was read what is to be written, in the buffer before it.

        Returns:
            Whether it goes on with the line that the file ends with; here that may be another
            stream's, which is closed first.
        """
        area, entry = self._area, file.entry
        line_bytes = file.offset - entry.line_start
        chunk = Chunk(area.form, "stderr" if area.is_stderr else "stdout", rfc3339(self._wall_s()))
        if not goes_on:
            if line_bytes > 0:
                chunk.out += closing(entry.form, entry.held)
            entry.held = b""
        # Of a line that began in a file that somebody has taken away, the rest is a line here.
        chunk.add(entry.held + raw, is_begun=goes_on and line_bytes > 0, line_bytes=line_bytes)
        entry.held = chunk.held
        self._put(bytes(chunk.out))
        return line_bytes > 0

    def _put(self, data: bytes) -> None:
        assert len(data) <= RAW_AT, "what is being read is not overwritten"
        self._area.view[: len(data)] = data
        self._area.start, self._area.end = 0, len(data)

    def close_line(self, stream: Stream) -> None:
        """End the line that *stream* has left open in its file, as if a newline had come."""
        file = stream.file
        assert file is not None
        if not self.prepare(file) or file.offset == file.entry.line_start:
            return
        area, entry = self._area, file.entry
        with self._lock:
            area.aim(file, stream.number)
            self._put(closing(entry.form, entry.held))
            entry.held = b""
            stream.midline = False
            area.offset, area.identity = file.offset, file.identity
            area.line_start = entry.line_start
            area.commit(WRITE, file.image())
        self._store_and_finish(stream, file)

    def _count(self, file: LogFile, start: int, end: int) -> None:
        file.entry.dropped_bytes += end - start
        file.entry.dropped_lines += self._area.count_newlines(start, end)
        self._report(file, "dropped", "")

    # Writing; the lock is not held.

    def _store(self, file: LogFile) -> OSError | None:
        """Write [start, end) of the buffer; return the error that stopped it."""
        area = self._area
        try:
            while True:
                cut = area.next_cut()
                self._write(file, cut)
                area.advance(cut)
                if cut == area.end:
                    return None
                self._rotate(file)
        except OSError as error:
            return error

    def _write(self, file: LogFile, cut: int) -> None:
        area = self._area
        self._written = area.start
        while self._written < cut:
            place = area.offset + self._written - area.start
            count = self._calls.pwrite(file.descriptor, area.view[self._written : cut], place)
            if count <= 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self._written += count

    def _rotate(self, file: LogFile) -> None:
        area = self._area
        try:
            if self._now_s() < file.rotate_at_s or not self.may_rotate(file, area.offset):
                self._stay()
                return
            numbers = self.segments.of(file)
            area.segment = numbers[-1] + 1 if numbers else 1
            while self._is_taken(file, area.segment):
                area.segment += 1
            area.commit(ROTATE)
            self._calls.rename(file.path, file.segment_path(area.segment))
        except OSError as error:
            # Better a file that grows than lines that are lost.
            file.rotate_at_s = self._now_s() + RETRY_S
            self._stay()
            with self._lock:
                if not file.rotation_failed:
                    file.rotation_failed = True
                    self._report(file, "trouble", f"cannot rotate: {error.strerror}")
            return
        self._begin_segment(file)

    def _is_taken(self, file: LogFile, number: int) -> bool:
        path = file.segment_path(number)
        return bool(file.identity_at(path) or file.identity_at(path + SUFFIX))

    def _note_plain(self, file: LogFile, number: int) -> None:
        try:
            self.segments.plain(file).add(number)
        except OSError:
            return  # whoever looks at the folder finds it

    def rotate_old(self, file: LogFile) -> None:
        """Rename a file that is old and ends with a whole line, with nothing to write behind it."""
        if not self.prepare(file) or not file.offset or file.entry.line_start != file.offset:
            return
        area, entry = self._area, file.entry
        with self._lock:
            area.aim(file, file.queue[0].number if file.queue else entry.stream)
            area.end = 0
            area.offset = area.line_start = file.offset
            area.identity = file.identity
            self._written = 0
        error: OSError | None = None
        try:
            self._rotate(file)
        except OSError as caught:
            error = caught
        with self._lock:
            entry.identity = file.identity
            entry.line_start = file.offset = area.offset
            if error is not None:
                self._note_trouble(file, error)
            area.commit(IDLE, file.image())

    def _stay(self) -> None:
        """Go on in the same file; said in the record, so that a successor does the same."""
        self._area.max_size = 0
        self._area.is_old = False
        self._area.commit(WRITE)

    def _begin_segment(self, file: LogFile) -> None:
        """The file has been renamed: remove the oldest, and open a new one."""
        area = self._area
        try:
            numbers = self.segments.of(file)
        except OSError:
            numbers = []
        if area.segment not in numbers:
            numbers.append(area.segment)
            self._note_plain(file, area.segment)
        while numbers and numbers[0] <= area.segment - area.backups:
            try:
                self.segments.remove(file, numbers[0])
            except OSError:
                break  # tried again at the next rotation
            del numbers[0]
        self.on_segment(file)
        file.close()
        area.next_file()
        area.identity = 0
        area.commit(WRITE)
        if file.rotation_failed:
            file.rotation_failed = False
            with self._lock:
                self._report(file, "resumed", "")
        file.open_next()
        area.offset = area.line_start = file.offset
        area.identity = file.identity

    # The end of a chunk.

    def _finish(self, stream: Stream, file: LogFile, error: OSError | None) -> bool:
        """Enter the outcome in the ledger; return whether the file must be cut back. Locked."""
        area, entry = self._area, file.entry
        entry.identity = file.identity
        if error is None:
            file.offset = area.offset
            entry.line_start = area.line_start
            if entry.trouble:
                entry.trouble = False
                self._report(file, "resumed", "")
            area.commit(IDLE, file.image())
            return False
        written_to = area.offset + self._written - area.start
        newline = area.last_newline(area.start, self._written)
        kept = newline + 1 if newline >= 0 else area.start
        keep = area.offset + newline + 1 - area.start if newline >= 0 else area.line_start
        self._count(file, kept, area.end)
        entry.dropped_bytes += max(0, area.offset - keep)
        if not entry.trim:
            # Unless somebody dropped more meanwhile and knows better.
            stream.skip = stream.midline
        entry.held = b""
        self._note_trouble(file, error)
        file.offset = written_to
        if file.descriptor < 0:
            # The next file could not be opened; in the earlier one all lines are whole.
            entry.line_start = keep
            entry.trim = False
            area.commit(IDLE, file.image())
            return False
        self._begin_trim(file, keep)
        return True

    def _begin_trim(self, file: LogFile, keep: int) -> None:
        """Say that the file is being cut back to *keep* bytes; all beyond has been counted."""
        area = self._area
        file.entry.trim = False
        file.entry.line_start = keep
        file.entry.echoed = min(file.entry.echoed, keep)
        number = file.queue[0].number if file.queue else file.entry.stream
        area.aim(file, number)
        area.offset, area.identity = keep, file.identity
        area.commit(TRIM, file.image())

    def _trim(self, file: LogFile) -> bool:
        keep = self._area.offset
        error: OSError | None = None
        try:
            self._calls.ftruncate(file.descriptor, keep)
        except OSError as caught:
            error = caught
        return self._end_trim(file, keep, error)

    def _end_trim(self, file: LogFile, keep: int, error: OSError | None) -> bool:
        with self._lock:
            if error is None:
                file.offset = keep
            else:
                file.entry.line_start = keep
                file.entry.trim = file.entry.counted = True
                self._note_trouble(file, error)
            self._area.commit(IDLE, file.image())
        return error is None

    def _note_trouble(self, file: LogFile, error: OSError) -> None:
        file.retry_at_s = self._now_s() + RETRY_S
        if not file.entry.trouble:
            file.entry.trouble = True
            self._report(file, "trouble", error.strerror or str(error))
