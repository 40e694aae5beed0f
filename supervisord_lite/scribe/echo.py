"""Workers whose output goes to systemd's journal: from a small file, line by line, to journald.

Theory of operation
===================

``log.stdout = "journal"`` has a file like any other log, small and in `runtime_dir/output`: it is
what `logs` reads, and it is the spool. Bytes come into it exactly once, whoever is killed (the
package's theory); from there whole lines go to journald, one datagram each, and the ledger has how
far that has come (`Entry.echoed`)::

    worker ──pipe──▶ runtime_dir/output/NAME.log (128 KiB and one full one) ──▶ journald
                                         └──▶ logs NAME

* *Killed between a datagram and its note*: the next scribe sends that line again. So a death of the
  scribe may double one line of each worker in the journal, never more, and loses none. The file has
  it once.
* *The journal is away, or takes no more*: lines wait in the file. When there is no room for more
  the worker's pipe is left alone, and a run that has ended is not yet done with, for `PATIENCE_S`
  in all; after that the lines that wait are dropped, counted and told, until the journal is back.
* *What wakes it*: room in the socket of a journal that is full, which is polled as long as a file
  owes it something and no longer; the next try of one that is away; the end of the patience where
  somebody waits for that. Each of them sends, drops or lets somebody be read: nothing is looked at
  again without having changed.
* What waits is of one run always, so its fields are those of the stream that is read. Another run
  beside it (`turns.py`) gets its turn when nothing waits any more; meanwhile its pipe is left
  alone, and when the journal has taken nothing for `PATIENCE_S`, what waits is dropped for it.
* A file cannot be renamed before the journal has all of it, so it may have to take the rest of what
  was read and be longer. More comes into it then only when nothing waits and the journal has room
  for the line in which it is to be renamed, and each time at most half of what is left
  (`most_bytes`): journald may be as slow as it likes, it cuts no line. What still can is one that
  itself runs over the size by more than is allowed (`plan.py`), or other processes that fill the
  journal in just that moment, a dozen times.
* A line longer than `LINE_BYTES` goes in pieces, those but the last with PARTIAL=1. What a run ends
  with goes as it is.
* Who sends is the scribe: _PID and _UID of an entry are the scribe's, and the other fields are
  ours. No worker can make such entries; what stands in the message is its own business.

All of it is the writer thread's. Nothing here waits: the socket does not block, and a full one is
polled for room.
"""

from __future__ import annotations

import select

from supervisord_lite.scribe.journal import Journal
from supervisord_lite.scribe.plan import OVERRUN_BYTES
from supervisord_lite.wire import journald

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from supervisord_lite.scribe.calls import Calls
    from supervisord_lite.scribe.desk import Desk
    from supervisord_lite.scribe.files import LogFile, Stream

#: How long the journal may take nothing before lines are dropped, in seconds.
PATIENCE_S = 5.0
#: The same when the daemon ends.
_LAST_PATIENCE_S = 1.0
#: The longest line of an entry, in bytes.
LINE_BYTES = 65536
#: Most that is read at once.
_ECHO_BYTES = 32768
#: The least, unless less has come.
_LEAST_BYTES = 512
#: Of one file at once, in bytes: the others wait meanwhile.
_TURN_BYTES = 1 << 18


class Echoes:
    """Every file whose lines go on to a journal."""

    def __init__(self, desk: Desk, calls: Calls, now_s: Callable[[], float]) -> None:
        """Begin with nothing to send.

        Args:
            desk: Has streams and files, and is told what was lost.
            calls: The seam.
            now_s: The monotonic clock.
        """
        self._desk = desk
        self._calls = calls
        self._now_s = now_s
        self._journals: dict[str, Journal] = {}
        self._polled: dict[Journal, socket.socket] = {}
        self._owing: dict[LogFile, None] = {}
        self._held: dict[Stream, None] = {}
        self._ending: dict[Stream, None] = {}
        desk.writer.may_rotate = self._may_rotate

    # -- what the loop asks -----------------------------------------------------------------------

    def may_turn(self, stream: Stream) -> bool:
        """Return whether another run's lines may come into the file; else it is left alone."""
        file = stream.file
        if file is None or not file.owes or file.queue[0] is stream or self._send(file):
            return True
        if self._is_dropping(file):
            self._drop(file, file.entry.line_start if file.queue[0].midline else file.offset)
            return True
        self._held[stream] = None
        self._leave_alone(stream)
        return False

    def may_read(self, stream: Stream, want: int) -> bool:
        """Return whether *want* bytes may come into the file; else the stream is left alone."""
        file = stream.file
        if file is None or not file.echo or not (file.owes or _is_over(file)):
            return True
        # Who always has something to say does not keep the others from their turn.
        is_wanted = any(other.file is file and other is not stream for other in self._held)
        has_room = not file.max_size or file.offset + want <= file.max_size
        if (has_room and not is_wanted) or self._send(file) or self._is_dropping(file):
            return True
        self._held[stream] = None
        self._leave_alone(stream)
        return False

    def look(self, stream: Stream) -> None:
        """Send what can be sent of the file of *stream*: some was written, or by a predecessor."""
        file = stream.file
        if file is None or not file.echo or not file.queue:
            return
        self._send(file)

    def finish(self, stream: Stream) -> bool:
        """Send the last words of *stream*; return whether it may be ended, else it is later."""
        file = stream.file
        if file is None or not file.echo or not self._desk.is_turn_of(stream):
            return True
        if self._send(file, is_last=True):
            return True
        if self._is_dropping(file):
            self._drop(file, file.offset)
            return True
        self._ending[stream] = None
        self._leave_alone(stream)
        return False

    def go_on(self) -> list[Stream]:
        """Send what waits, and read again whoever was left alone; return who may be ended."""
        if not self.is_waiting:
            return []
        for file in list(self._owing):
            if not file.queue:
                del self._owing[file]  # its last stream has counted what was left
            elif not self._send(file) and self._is_dropping(file) and self._is_leaving(file):
                self._drop(file, file.entry.line_start)
        self._ending = {s: None for s in self._ending if self._is_there(s)}
        ended = [stream for stream in list(self._ending) if self.finish(stream)]
        for stream in ended:
            del self._ending[stream]
        # Those whose turn it is not are read first.
        for stream in sorted(self._held, key=self._desk.is_turn_of):
            own = stream.file
            if own is None or not self._is_there(stream):
                del self._held[stream]
            elif not own.owes or self._is_dropping(own):
                del self._held[stream]
                self._read_again(stream)
        self._mind()
        return ended

    @property
    def is_waiting(self) -> bool:
        """Whether `go_on` may have something to do.

        Also when only a socket is still polled for room: another than `go_on` has sent the rest,
        and a socket that has room would wake the loop for ever.
        """
        return bool(self._owing or self._held or self._ending or self._polled)

    @property
    def deadline_s(self) -> float | None:
        """When `go_on` has something to do although nothing comes; None: never."""
        if not self.is_waiting:
            return None
        now_s = self._now_s()
        if not self._owing:
            return now_s
        # Who waits for something that will not come; what does not wait has time.
        waiting = {stream.file for each in (self._held, self._ending) for stream in each}
        due_s = []
        for file in self._owing:
            journal = self._journal_of(file)
            if journal.stuck_since_s is None:
                due_s.append(now_s)  # there is only too much for one turn
                continue
            if journal.socket is None:
                due_s.append(journal.retry_at_s)
            if file in waiting or self._is_leaving(file):
                due_s.append(journal.stuck_since_s + self._patience_s())
        return min(due_s, default=None)

    def forget(self, file: LogFile) -> None:
        """No stream needs this file any more."""
        self._owing.pop(file, None)

    def close(self) -> None:
        """Close what was opened; for tests, where the process goes on."""
        for journal in self._journals.values():
            journal.close()

    # -- sending ----------------------------------------------------------------------------------

    def _send(
        self, file: LogFile, *, end: int = -1, is_last: bool = False, is_cut: bool = False
    ) -> bool:
        """Send the whole lines up to *end*; return whether none of them is left.

        A file that goes on although it is full owes until there is room for its next line too.

        Args:
            file: Open, with a stream that is read.
            end: Where to stop, in bytes; -1: at its end.
            is_last: What no newline ends goes too.
            is_cut: That goes on in the next file.
        """
        entry = file.entry
        is_whole = end < 0
        budget = _TURN_BYTES
        is_sent = True
        try:
            self._open(file)
            end = file.offset if is_whole else end
            while is_sent and entry.echoed < end:
                data = self._calls.pread(
                    file.descriptor, min(LINE_BYTES + 1, end - entry.echoed), entry.echoed
                )
                is_all = len(data) == end - entry.echoed
                sent = self._send_lines(file, data, is_last=is_last and is_all, is_cut=is_cut)
                budget -= len(data)
                if sent < 0 or (budget < 0 and is_whole and not is_last):
                    is_sent = False
                elif sent == 0 or is_all:
                    break
        except OSError:
            is_sent = True  # it cannot be read: what is missing is counted when the stream ends
        if is_sent and is_whole and not is_last and _is_over(file):
            is_sent = self._journal_of(file).has_room()
        if is_sent:
            self._owing.pop(file, None)
        else:
            self._owing[file] = None
        file.owes = not is_sent
        self._tell(file)
        return is_sent

    def _open(self, file: LogFile) -> None:
        if file.descriptor >= 0 and not file.reopen:
            return
        file.check()
        last = file.entry.echoed - 1
        file.is_in_line = last >= 0 and self._calls.pread(file.descriptor, 1, last) != b"\n"

    def _send_lines(self, file: LogFile, data: bytes, *, is_last: bool, is_cut: bool) -> int:
        """Send the lines in *data*; return how many bytes that were, -1 when not all that could."""
        entry, stream, journal = file.entry, file.queue[0], self._journal_of(file)
        at = 0
        while at < len(data):
            newline = data.find(b"\n", at)
            if 0 <= newline <= at + LINE_BYTES:
                line, size, is_partial = data[at:newline], newline + 1 - at, False
            elif len(data) - at >= LINE_BYTES:
                line, size, is_partial = data[at : at + LINE_BYTES], LINE_BYTES, True
            elif is_last:
                line, size, is_partial = data[at:], len(data) - at, is_cut
            else:
                return at
            told = journald.entry(
                stream.echo,
                line,
                has_prefix=stream.has_prefix and not file.is_in_line,
                is_partial=is_partial,
            )
            try:
                if not journal.send(told):
                    return -1
            except OSError:
                with self._desk.lock:
                    entry.dropped_bytes += size
                    entry.dropped_lines += not is_partial
                    self._desk.reports.note(file, "dropped", "")
            at += size
            file.is_in_line = is_partial
            entry.echoed += size
            self._desk.ledger.note(entry)
        return at

    def _may_rotate(self, file: LogFile, end: int) -> bool:
        """Return whether the file may be renamed: what is in it before *end* has been sent."""
        if file.entry.echoes and not file.echo:
            return False  # the keeper has not said yet where to
        if not file.echo or not file.queue:
            return True
        if self._send(file, end=end, is_last=True, is_cut=True):
            return True
        if not self._is_dropping(file):
            return False
        self._drop(file, end)
        return True

    # -- when the journal does not take it --------------------------------------------------------

    def _journal_of(self, file: LogFile) -> Journal:
        journal = self._journals.get(file.echo)
        if journal is None:
            journal = self._journals[file.echo] = Journal(file.echo, self._calls, self._now_s)
        return journal

    def _patience_s(self) -> float:
        return _LAST_PATIENCE_S if self._desk.finishing else PATIENCE_S

    def _is_dropping(self, file: LogFile) -> bool:
        since_s = self._journal_of(file).stuck_since_s
        return since_s is not None and self._now_s() - since_s >= self._patience_s()

    def _is_leaving(self, file: LogFile) -> bool:
        return any(stream.file is file for stream in self._desk.moving)

    def _drop(self, file: LogFile, end: int) -> None:
        """Count what was not sent before *end* as lost."""
        entry = file.entry
        lines, place = 0, entry.echoed
        try:
            while place < end and (
                data := self._calls.pread(file.descriptor, min(LINE_BYTES, end - place), place)
            ):
                lines += data.count(b"\n")
                place += len(data)
        except OSError:
            pass  # the bytes are counted all the same
        with self._desk.lock:
            entry.dropped_bytes += max(0, end - entry.echoed)
            entry.dropped_lines += lines
            entry.echoed = max(end, entry.echoed)
            self._desk.writer.note_entry(file)
            self._desk.reports.note(file, "dropped", "")
        file.owes = False
        self._owing.pop(file, None)

    def _tell(self, file: LogFile) -> None:
        journal, entry = self._journal_of(file), file.entry
        is_away = journal.retry_at_s > self._now_s() or self._is_dropping(file)
        if file.owes and is_away and not entry.echo_trouble:
            what, reason = "trouble", f"the journal does not take it: {journal.why}"
        elif entry.echo_trouble and journal.stuck_since_s is None:
            what, reason = "resumed", ""
        else:
            return
        with self._desk.lock:
            entry.echo_trouble = what == "trouble"
            self._desk.ledger.store(entry.index, entry.image())
            self._desk.reports.note(file, what, reason)

    # -- the poll ---------------------------------------------------------------------------------

    def _leave_alone(self, stream: Stream) -> None:
        desk = self._desk
        with desk.lock:
            if desk.polled.pop(stream.descriptor, None) is not None:
                desk.poll.unregister(stream.descriptor)
        self._mind()

    def _read_again(self, stream: Stream) -> None:
        desk = self._desk
        with desk.lock:
            if stream.descriptor not in desk.polled:
                desk.polled[stream.descriptor] = stream
                desk.poll.register(stream.descriptor, select.EPOLLIN)

    def _is_there(self, stream: Stream) -> bool:
        return self._desk.streams.get(stream.number) is stream and stream.descriptor >= 0

    def _mind(self) -> None:
        """Poll those sockets for room that are full and of which somebody wants something."""
        paths = {file.echo for file in self._owing}
        for path, journal in self._journals.items():
            polled, own = self._polled.get(journal), journal.socket
            if polled is not own:
                # One that was closed has left the poll by itself.
                self._polled.pop(journal, None)
                polled = None
            wanted = path in paths and journal.stuck_since_s is not None and own is not None
            if wanted and polled is None and own is not None:
                self._polled[journal] = own
                self._desk.poll.register(own.fileno(), select.EPOLLOUT)
            elif polled is not None and not wanted:
                del self._polled[journal]
                self._desk.poll.unregister(polled.fileno())


def most_bytes(file: LogFile) -> int:
    """Return how much may come at once into a *file* whose lines go on to a journal."""
    left = file.max_size + OVERRUN_BYTES - file.offset
    return min(_ECHO_BYTES, max(left // 2, _LEAST_BYTES)) if file.max_size else _ECHO_BYTES


def _is_over(file: LogFile) -> bool:
    """Return whether *file* is full, and is to be renamed behind the line that it ends with."""
    return 0 < file.max_size <= file.offset and file.entry.line_start < file.offset
