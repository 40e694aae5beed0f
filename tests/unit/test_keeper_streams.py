"""Who holds the pipes between workers and the scribe, and what a scribe is told."""

import os
from collections.abc import Iterator

import pytest

from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.streams import Streams
from supervisord_lite.wire import channel


@pytest.fixture
def streams() -> Iterator[Streams]:
    made = Streams(Calls())
    yield made
    for number in list(made._open):
        made.done(number)


def create(streams: Streams, name: str = "web", path: str = "/log") -> int:
    """Make a stream without a writer; return its number."""
    stream, writer = streams.create({"name": name, "path": path})
    os.close(writer)
    number: int = stream.entry["stream"]
    return number


def attached(streams: Streams) -> list[int]:
    return [
        entry["stream"]
        for message, _ in streams.pages()
        for entry in message["streams"]
        if message["do"] == "attach"
    ]


def test_a_stream_is_told_once_with_its_descriptor(streams: Streams) -> None:
    """The entry and the read end travel together."""
    stream, writer = streams.create({"name": "web", "path": "/log"})
    os.close(writer)

    assert streams.pages() == [({"do": "attach", "streams": [stream.entry]}, [stream.descriptor])]
    assert streams.pages() == []


def test_the_other_end_alone_keeps_a_pipe_open(streams: Streams) -> None:
    """Once the writers are gone the reader sees the end, though it is held here."""
    stream, writer = streams.create({})
    os.write(writer, b"last words")
    os.close(writer)

    assert os.read(stream.descriptor, 100) == b"last words"
    assert os.read(stream.descriptor, 100) == b""


def test_a_pipe_is_closed_when_the_scribe_is_done(streams: Streams) -> None:
    """Not before: a scribe may die with bytes unread."""
    stream, writer = streams.create({})
    os.close(writer)
    streams.retire(stream)
    os.fstat(stream.descriptor)

    streams.done(stream.entry["stream"])
    streams.done(stream.entry["stream"])  # said twice, meant once

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(stream.descriptor)


def test_a_new_scribe_is_told_everything_that_is_open(streams: Streams) -> None:
    """In the order made, retired ones included, those done left out."""
    numbers = [create(streams) for _ in range(3)]
    streams.retire(streams._open[numbers[1]])
    streams.pages()
    streams.done(numbers[0])

    streams.restart()

    (attach, descriptors), (retire, none) = streams.pages()
    assert [entry["stream"] for entry in attach["streams"]] == numbers[1:]
    assert len(descriptors) == 2
    assert retire == {"do": "retire", "streams": [numbers[1]]}
    assert none == []


def test_retiring_is_told_after_attaching(streams: Streams) -> None:
    """A worker that ended before the scribe heard of it is attached first."""
    number = create(streams)
    streams.retire(streams._open[number])
    streams.retire(streams._open[number])

    messages = [message for message, _ in streams.pages()]

    assert [message["do"] for message in messages] == ["attach", "retire"]
    assert messages[1]["streams"] == [number]


def test_a_discarded_stream_was_never_there(streams: Streams) -> None:
    """When its process could not be started, the scribe never hears of it."""
    stream, writer = streams.create({})
    os.close(writer)

    streams.discard(stream)

    assert streams.pages() == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(stream.descriptor)


def test_many_streams_are_told_in_pages(streams: Streams) -> None:
    """No message carries more descriptors than the kernel passes on."""
    numbers = [create(streams) for _ in range(40)]
    pages = streams.pages()

    assert all(len(descriptors) <= channel.MAX_DESCRIPTORS for _, descriptors in pages)
    told = [entry["stream"] for message, _ in pages for entry in message["streams"]]
    assert told == numbers


@pytest.mark.parametrize("path", ["/" + "x" * 9000, "/" + "\udcff" * 4000, '/"' * 2000])
def test_long_paths_fit_into_messages(streams: Streams, path: str) -> None:
    """However paths look when they are written as JSON."""
    numbers = [create(streams, path=path) for _ in range(20)]

    pages = streams.pages()

    for message, _ in pages:
        channel.encode(message)
    assert [entry["stream"] for message, _ in pages for entry in message["streams"]] == numbers
