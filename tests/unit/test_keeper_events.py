"""The keeper's end of the event journal: whole lines, and nobody waits."""

import os
from collections.abc import Iterator

import pytest

from supervisord_lite.keeper import events
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.events import EventPipe
from supervisord_lite.keeper.poller import Poller
from supervisord_lite.keeper.streams import Stream, Streams

LINE = "x" * 999


class Household:
    """A pipe, its two ends, and what is logged."""

    def __init__(self, path: str = "/state/events.jsonl") -> None:
        self.logged: list[str] = []
        self.streams = Streams(Calls())
        self.poller = Poller()
        self.pipe = EventPipe(path, self.streams, self.poller, self.log)

    def log(self, level: str, event: str, **fields: object) -> None:
        del level, fields
        self.logged.append(event)

    @property
    def stream(self) -> Stream:
        (stream,) = self.streams._open.values()
        return stream

    def read_all(self) -> bytes:
        """Read as a scribe does, until nothing more comes."""
        os.set_blocking(self.stream.descriptor, False)
        pieces: list[bytes] = []
        while True:
            try:
                piece = os.read(self.stream.descriptor, 1 << 20)
            except BlockingIOError:
                return b"".join(pieces)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            self.poller.wait(0)

    def close(self) -> None:
        self.read_all()
        self.pipe.close()
        for number in list(self.streams._open):
            self.streams.done(number)
        self.poller.close()


@pytest.fixture
def house() -> Iterator[Household]:
    made = Household()
    yield made
    made.close()


def test_the_scribe_is_told_of_a_bounded_file(house: Household) -> None:
    """As of any log: path, size, how many full ones."""
    entry = house.stream.entry
    assert entry["path"] == "/state/events.jsonl"
    assert (entry["max_size"], entry["backups"]) == (4 << 20, 4)


def test_lines_arrive_in_order_also_when_the_pipe_is_full(house: Household) -> None:
    """Three megabytes before anybody reads."""
    lines = [f"{number} {LINE}" for number in range(3000)]
    for line in lines:
        house.pipe.take([line])
    assert house.read_all().decode().splitlines() == lines
    assert house.logged == []


def test_what_no_disk_takes_is_left_out_in_whole_lines(house: Household) -> None:
    """Memory has an end; it is told once, and when it is over."""
    lines = [f"{number} {LINE}" for number in range(12_000)]
    house.pipe.take(lines)
    house.pipe.take(["more"])
    assert house.logged == ["events.lost"]

    found = house.read_all().decode().splitlines()

    assert found == lines[: len(found)]
    assert len(found) * 1000 > events._WAITING_BYTES
    assert house.logged == ["events.lost", "events.resumed"]
    house.pipe.take(["again"])
    assert house.read_all() == b"again\n"


def test_what_waits_at_the_end_is_still_passed_on(house: Household) -> None:
    """The pipe is closed behind the last line, and not before."""
    lines = [f"{number} {LINE}" for number in range(3000)]
    house.pipe.take(lines)
    house.pipe.close()
    house.pipe.take(["too late"])

    found = house.read_all()

    assert found.decode().splitlines() == lines
    assert os.read(house.stream.descriptor, 1) == b"", "its end"


def test_without_a_path_there_is_no_journal() -> None:
    """A keeper without a state folder keeps none."""
    house = Household("")
    house.pipe.take(["x"])
    assert not house.streams._open
    house.pipe.close()
    house.poller.close()
