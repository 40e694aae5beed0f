"""The scribe: from workers' pipes to log files, losing nothing that a disk would take.

Theory of operation
===================

A process of its own, because a disk may hang, and neither the keeper nor the supervisor may. It is
started by the keeper with a channel and a memory, and holds nothing else that matters: it may be
killed at any instant, and the next one goes on as if nothing had happened.

The words: a *stream* is one pipe of one run; a *file* is one path, with the queue of streams that
go there, one after the other; a *chunk* is what one read brings, at most 64 KiB; a *segment* is a
full file that was renamed to ``path.N``, N counting up, so that a higher number is newer.

Exactly once
------------

Bytes leave a pipe at read(), not at write(). What is read but not written would be lost with the
process; what is written but not noted would be written twice. So the memory (`memory.py`), a memfd
that the keeper keeps, holds the buffer and one record of what is being done with it::

    IDLE   nothing
    READ   `want` bytes of stream S are being read   -> happened? as WRITE (or drop); else IDLE
    WRITE  buffer[start:end] goes to `offset`        -> write it again: the same bytes, same place
    ROTATE the file is being renamed to segment N    -> renamed? go on after it; else decide again
    TRIM   the file is being cut back to `offset`    -> cut it again

and what a successor makes of each stands at the right. Records change in one step (two slots, one
byte says which), so there is no instant in between. Every step can be repeated:

* *Whether a read has happened.* We are the only reader and ask for no more than FIONREAD says, so
  a read brings all or nothing; the pages of the buffer are present and locked, so it is not killed
  halfway. The buffer begins with 16 random bytes: other bytes there, and it has happened. For
  fewer than 16 bytes chance could repeat the prefill (one byte: 1 in 256), so those are spliced to
  the memfd's end instead, and the size of the memfd says whether it has happened (`tail.py`).
  A worker that makes its pipe a packet pipe (O_DIRECT) gets no such promise.
* *Where a chunk goes.* Files are not opened with O_APPEND; the record has the offset. `plan.py`
  cuts a chunk for rotation as a pure function of the record.
* *Rotation.* The segment's number is chosen when nothing has that name, and is in the record with
  the file's identity: the segment has that identity exactly if the rename has happened.
* *What was dropped* is counted in the ledger, a table in the memory with a line for each path. The
  record carries the new line as a whole, so that count and cause are one step. Totals are since
  the keeper's start and never go down.

Rules where two meet
--------------------

* A file ends with a whole line whenever something after it was dropped: what is there of a line is
  cut off again (TRIM) and its rest is dropped up to its newline. Rotation cuts after a newline. A
  file is longer than `max_size` only by the end of its last line, and by 64 KiB at most: an
  endless line is cut there.
* Trouble (ENOSPC, EDQUOT, EFBIG, EIO, EROFS, EACCES, a directory in the way …) drops whole lines,
  counts them, is told once, and is tried again at most once a second, when there is data.
* When a rename fails, the file grows instead: lines are worth more than sizes.
* A file that was removed, renamed away or truncated by somebody else is noticed before each write
  (lstat), so logrotate needs no signal; a line that is being written then may be in two files.
* What is at the path must be a regular file; a link, FIFO or device is refused.
* The next run's stream is read when the earlier one has ended, so last words come before first
  words. Two runs that live at the same time take turns, line by line (`turns.py`). A retired stream
  is waited for `RETIRED_S`, because a grandchild may hold it; after that what is in the pipe is
  still read.
* A stream that is moved to another path (`move`) goes there from its next line on: the line that
  is being written is finished where it began. The keeper's entry has the new path at once, and the
  one before as "was": so a successor knows where to finish.
* "fd" instead of "path" is the daemon's own output (`inherit.py`): whole lines, no exactness.

Other forms than raw
--------------------

Lines with a stamp and lines as JSON (`forms.py`) are made in the buffer itself: what is read comes
to its end, `RAW_AT`, what is to be written is put before it, and only then a WRITE is committed. So
a successor either makes it again of what was read, with another stamp, for nothing of it has been
written; or repeats the same bytes. A character of which only the beginning has come waits in the
ledger, in the same step. The form of a stream changes at the beginning of a line only.

Full files
----------

A file is full by size, decided for each chunk (`plan.py`), or by age, also while nothing is written
(`ages.py`). Its compression is a child's (`compressing.py`): nothing here waits for it, and what it
leaves when it is killed is always whole.

Which run, and when
-------------------

A log has nothing but a worker's bytes. Where each run began, and when what was written, stands in a
hidden file beside it, in marks that are made before the bytes that they are about (`marks.py`).

Two threads, one lock
---------------------

The writer thread (`loop.py`) does all disk calls. The watcher (`watch.py`) sleeps while that is
idle, answers the keeper while that is in a disk call, and when one takes more than `STUCK_S` (a
frozen file system) it reads instead: it drops what a worker would have to wait for, that is, pipes
more than half full, and counts it with a record of its own. All state (`desk.py`) is under one
lock, which is never held during a disk call. When the writer thread is back, it cuts off the line
whose rest is gone, and goes on.

The journal
-----------

What goes to systemd's journal goes through a small file of the same kind, from which whole lines
are sent on (`echo.py`); how far that has come stands in the ledger.

Beside the resident process
---------------------------

`note.py` writes one file, the reason of an escalation, for the supervisor: by a child that lives as
long as that takes, because the scribe may itself be in a disk call that does not return.

`reading.py` reads the event journal for the supervisor in the same way. That is written here, as a
file like any other (the keeper makes its pipe), but for its mode: `events.jsonl` is 0600.

Messages
--------

From the keeper: ``attach``, ``move``, ``retire``, ``reopen``, ``finish``, ``leave``, ``ping``. To
the keeper::

    done STREAM             read to its end; the keeper may close its end of the pipe
    pong ID
    trouble PATH REASON     once for each episode, also for a rotation that failed
    hung PATH REASON        the same, of a disk call that does not come back; ends with this scribe
    resumed PATH
    dropped PATH BYTES LINES   totals since the keeper's start, at most once a second for each file
                            (of "stdout", "stderr": since this scribe's start)

"leave" is a death in good order, for an upgrade: between two chunks, and behind what was read for
the daemon's own output, which no memory holds; all else is the next one's.

A new scribe is told all open streams again, in the order made. The end of the channel means that
the keeper is dead: what can be read without waiting is written, and the scribe leaves.
"""
