"""What a new scribe makes of what the dead one left in the memory."""

from __future__ import annotations

from supervisord_lite.scribe.copier import Copier
from supervisord_lite.scribe.files import LogFile, Stream
from supervisord_lite.scribe.memory import ARRIVED, IDLE, READ, READ_SMALL, ROTATE, TRIM, WRITE


class Successor(Copier):
    """A copier that can finish what another one had begun."""

    def resume(self, stream: Stream) -> None:
        """Finish what a predecessor had begun; *stream* is what `recovered` returned."""
        area, file = self._area, stream.file
        assert file is not None
        if area.phase in (READ, READ_SMALL, ARRIVED):
            self._resume_read(stream, file)
        elif area.phase == TRIM:
            keep = area.offset
            try:
                file.check()
            except OSError as error:
                self._end_trim(file, keep, error)
                return
            if file.identity == area.identity and file.offset > keep:
                self._trim(file)
            else:
                self._end_trim(file, file.offset, None)
        else:
            self._resume_write(stream, file)

    def recovered(self, files: dict[bytes, LogFile], streams: dict[int, Stream]) -> Stream | None:
        """Return what a predecessor was busy with, or None.

        Its file and stream are entered in *files* and *streams*; the stream has no descriptor
        before it is attached again.
        """
        area = self._area
        if area.phase == IDLE:
            return None
        file = files.get(area.path)
        if file is None:
            file = LogFile(area.path, self._memory.ledger.entry(area.path), self._calls)
            files[area.path] = file
        stream = streams.get(area.stream)
        if stream is None:
            stream = Stream(area.stream, -1, file)
            restore(stream, file)
            streams[area.stream] = stream
            file.queue.append(stream)
        file.max_size, file.backups = area.max_size, area.backups
        return stream

    def _resume_read(self, stream: Stream, file: LogFile) -> None:
        area = self._area
        if area.storing:
            stream.form, stream.is_stderr = area.form, area.is_stderr
        count = area.end = self._arrived()
        if count:
            # Said before anything else is read: small reads have one place for all.
            area.commit(ARRIVED)
        storing = bool(area.storing and count) and self.prepare(file)
        with self._lock:
            # The buffer keeps its bytes, but from here on the intent is a WRITE, or nothing.
            if not count:
                area.commit(IDLE)
                return
            if not self._sort(stream, file, count, storing=storing):
                return
        self._store_and_finish(stream, file)

    def _arrived(self) -> int:
        """Return how many bytes a predecessor had read and done nothing with."""
        area = self._area
        if area.phase == READ_SMALL:
            return self._tail.fetch(area)
        return area.end if area.phase == ARRIVED or area.is_filled() else 0

    def _resume_write(self, stream: Stream, file: LogFile) -> None:
        area = self._area
        error: OSError | None = None
        try:
            if area.phase == ROTATE:
                self._resume_rotation(file)
            else:
                if area.identity == 0:
                    file.entry.identity = 0  # a new segment, maybe written to in part
                file.check()
                if area.identity == 0:
                    file.entry.echoed = 0
                if area.identity not in (0, file.identity):
                    # Replaced from outside while nobody was there.
                    area.offset = area.line_start = file.offset
                elif area.offset > file.offset:
                    area.offset = file.offset
                    area.line_start = min(area.line_start, file.offset)
            area.identity = file.identity
            area.commit(WRITE)
        except OSError as caught:
            error = caught
        if error is None:
            self._store_and_finish(stream, file)
            return
        # How much the predecessor had written cannot be seen now: it goes when the file is back.
        with self._lock:
            entry = file.entry
            was_trim = entry.trim
            entry.identity = area.identity
            entry.line_start = area.line_start
            entry.trim = entry.counted = True
            self._count(file, area.start, area.end)
            entry.dropped_bytes += area.offset - area.line_start
            self._note_trouble(file, error)
            if not was_trim:
                stream.skip = stream.midline
            area.commit(IDLE, file.image())

    def finish_drop(self, stream: Stream) -> None:
        """Finish a `drop` of a predecessor."""
        assert stream.file is not None
        count = self._arrived()
        if count:
            self._sort(stream, stream.file, count, storing=False)
        else:
            self._area.commit(IDLE)

    def _resume_rotation(self, file: LogFile) -> None:
        area = self._area
        if file.identity_at(file.segment_path(area.segment)) == area.identity:
            self._begin_segment(file)
            return
        file.check()
        if file.identity == area.identity:
            return  # the rename has not happened: `_store` decides it again
        area.offset = area.line_start = file.offset


def restore(stream: Stream, file: LogFile) -> None:
    """Give *stream* the state that the ledger has for it, if it is the one."""
    if file.entry.stream == stream.number:
        stream.midline = file.entry.midline
        stream.skip = file.entry.skip
        if stream.midline:
            stream.form = file.entry.form
