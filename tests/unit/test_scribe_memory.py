"""The memory that outlives a scribe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from supervisord_lite.scribe.calls import Calls
from supervisord_lite.scribe.files import LogFile, Stream
from supervisord_lite.scribe.ledger import Entry
from supervisord_lite.scribe.memory import (
    _SLOTS,
    IDLE,
    SCRIBE_MEMORY_BYTES,
    WRITE,
    Memory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NONCE = b"0123456789abcdef"


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = os.memfd_create("memory-test", os.MFD_CLOEXEC)
    os.ftruncate(made, SCRIBE_MEMORY_BYTES)
    yield made
    os.close(made)


def a_file(memory: Memory, path: bytes) -> LogFile:
    file = LogFile(path, memory.ledger.entry(path), Calls())
    file.max_size, file.backups = 1000, 3
    file.queue.append(Stream(7, -1, file))
    return file


def test_a_new_memory_says_that_nothing_is_under_way(descriptor: int) -> None:
    """The first scribe has no predecessor."""
    memory = Memory(descriptor, NONCE)
    assert memory.writer.phase == IDLE
    assert memory.watcher.phase == IDLE
    assert memory.tail_bytes() == 0


def test_an_empty_memory_gets_its_size() -> None:
    """The keeper need not know how much a scribe wants."""
    made = os.memfd_create("memory-test", os.MFD_CLOEXEC)
    try:
        assert Memory(made, NONCE).writer.phase == IDLE
        assert os.fstat(made).st_size == SCRIBE_MEMORY_BYTES
    finally:
        os.close(made)


def test_a_record_is_found_again(descriptor: int) -> None:
    """What a scribe was doing is what its successor reads."""
    memory = Memory(descriptor, NONCE)
    file = a_file(memory, b"/var/log/\xff.log")
    area = memory.writer
    area.aim(file, 7)
    area.start, area.end, area.offset, area.line_start = 3, 65536, 1 << 40, 12
    area.identity, area.segment = (1 << 64) - 1, 9
    area.view[:5] = b"hello"
    file.entry.dropped_bytes = 17
    area.commit(WRITE, file.image())

    found = Memory(descriptor, NONCE).writer

    assert found.phase == WRITE
    assert (found.start, found.end, found.offset, found.line_start) == (3, 65536, 1 << 40, 12)
    assert (found.identity, found.segment, found.stream) == ((1 << 64) - 1, 9, 7)
    assert (found.path, found.max_size, found.backups) == (b"/var/log/\xff.log", 1000, 3)
    assert bytes(found.view[:5]) == b"hello"


def test_a_record_that_was_being_written_does_not_count(descriptor: int) -> None:
    """Half a record beside the valid one changes nothing."""
    memory = Memory(descriptor, NONCE)
    area = memory.writer
    area.aim(a_file(memory, b"/one"), 7)
    area.commit(WRITE)
    valid = os.pread(descriptor, 1, 0)[0] & 1
    os.pwrite(descriptor, os.urandom(400), _SLOTS[1 - valid])

    found = Memory(descriptor, NONCE).writer

    assert (found.phase, found.path) == (WRITE, b"/one")


def test_a_death_between_record_and_ledger_loses_no_count(descriptor: int) -> None:
    """The image in a valid record is copied to the ledger by the successor."""
    memory = Memory(descriptor, NONCE)
    file = a_file(memory, b"/one")
    file.entry.dropped_bytes, file.entry.dropped_lines = 100, 3
    file.queue[0].skip = True
    memory.writer.aim(file, 7)
    memory.writer.commit(IDLE, file.image())
    # As it was one store of one byte earlier, with a ledger that was being written.
    os.pwrite(descriptor, bytes([os.pread(descriptor, 1, 0)[0] | 2]), 0)
    memory.ledger.store(file.entry.index, (1 << 60, 5, 5, 5, 5, 31, 0))

    entry = Memory(descriptor, NONCE).ledger.entry(b"/one")

    assert (entry.dropped_bytes, entry.dropped_lines) == (100, 3)
    assert (entry.stream, entry.skip, entry.midline, entry.trim) == (7, True, False, False)


def test_each_path_has_its_own_entry_until_the_ledger_is_full(descriptor: int) -> None:
    """4096 files are remembered across scribes; further ones are counted by one scribe only."""
    ledger = Memory(descriptor, NONCE).ledger
    entries = [ledger.entry(b"/var/log/worker-%d.log" % place) for place in range(4097)]
    assert sorted(entry.index for entry in entries[:4096]) == list(range(4096))
    assert entries[4096].index == -1
    again = Memory(descriptor, NONCE).ledger
    assert again.entry(b"/var/log/worker-17.log").index == 17
    ledger.store(-1, Entry(-1).image())  # harmless


def test_a_memory_of_another_layout_is_emptied(descriptor: int) -> None:
    """After an upgrade nothing is misread."""
    memory = Memory(descriptor, NONCE)
    memory.writer.aim(a_file(memory, b"/one"), 7)
    memory.writer.commit(WRITE)
    os.pwrite(descriptor, b"another!", 8)

    found = Memory(descriptor, NONCE)

    assert found.writer.phase == IDLE
    assert found.ledger.entry(b"/two").index == 0
