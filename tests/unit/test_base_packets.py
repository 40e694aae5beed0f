"""The channel between the daemon's processes, with a peer that dies, dawdles or floods."""

import errno
import os
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from supervisord_lite.base.calls import Calls
from supervisord_lite.base.memory_files import memory_content, memory_file
from supervisord_lite.base.packets import PacketSocket

LARGEST = 65536
Pair = tuple[PacketSocket, PacketSocket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ends = PacketSocket(left, LARGEST), PacketSocket(right, LARGEST)
    yield ends
    for end in ends:
        end.close()


def texts(end: PacketSocket) -> list[bytes]:
    return [data for data, _ in end.receive()]


def test_packets_stay_apart_and_in_order(pair: Pair) -> None:
    """What is sent as one arrives as one."""
    left, right = pair
    for text in (b"one", b"two", b"x" * LARGEST):
        left.send(text)

    assert texts(right) == [b"one", b"two", b"x" * LARGEST]
    assert right.receive() == []
    assert not right.ended


def test_what_a_dead_peer_had_said_is_read_to_the_end(pair: Pair) -> None:
    """It died with our words unread, so the first receive is a reset; its own words follow."""
    left, right = pair
    right.send(b"never read")
    left.send(b"one")
    left.send(b"two")
    left.close()

    assert texts(right) == [b"one", b"two"]
    assert right.ended
    assert right.receive() == []


def test_many_words_of_a_dead_peer_are_read_page_by_page(pair: Pair) -> None:
    """More than one call takes is no end."""
    left, right = pair
    for number in range(100):
        left.send(b"%d" % number)
    left.close()

    found = []
    while packets := texts(right):
        found += packets

    assert found == [b"%d" % number for number in range(100)]
    assert right.ended


def test_a_full_socket_queues_and_nothing_is_lost(pair: Pair) -> None:
    """Whoever sends never waits; what did not fit goes out when the peer has read."""
    left, right = pair
    sent = [b"%05d" % number + b"x" * 10_000 for number in range(100)]
    for text in sent:
        left.send(text)
    assert left.is_blocked

    found: list[bytes] = []
    while len(found) < 100:
        found += texts(right)
        left.flush()

    assert found == sent
    assert not left.is_blocked


def test_packets_for_a_dead_peer_are_dropped(pair: Pair) -> None:
    """Its death is told by reading; writing to it is no error."""
    left, right = pair
    right.close()

    left.send(b"one")
    left.send(b"two")

    assert not left.is_blocked
    assert left.receive() == []
    assert left.ended


def test_a_queue_for_a_peer_that_dies_is_dropped(pair: Pair) -> None:
    """Nothing waits for ever."""
    left, right = pair
    while not left.is_blocked:
        left.send(b"x" * 10_000)
    right.close()

    left.flush()

    assert not left.is_blocked


def test_descriptors_arrive_close_on_exec(pair: Pair) -> None:
    """They travel with their packet, and no child inherits them by accident."""
    left, right = pair
    reader, writer = os.pipe()
    left.send(b"two", [reader, writer])
    left.send(b"none")

    (first, (got_reader, got_writer)), second = right.receive()

    assert (first, second) == (b"two", (b"none", []))
    assert not os.get_inheritable(got_reader)
    os.write(got_writer, b"through")
    assert os.read(reader, 100) == b"through"
    for descriptor in (reader, writer, got_reader, got_writer):
        os.close(descriptor)


def test_an_end_without_words_is_an_end(pair: Pair) -> None:
    """A peer that leaves in silence is told apart from one that is silent."""
    left, right = pair
    assert right.receive() == []
    assert not right.ended
    left.close()

    assert right.receive() == []
    assert right.ended


class RefusingCalls(Calls):
    """A kernel whose first answers to a send, and to a receive, are refusals."""

    def __init__(self, number: int, sends: int = 0, receives: int = 0) -> None:
        self._number = number
        self._left = {"sendmsg": sends, "recvmsg": receives}
        self.sendmsg: Any = partial(self._refuse, "sendmsg")
        self.recvmsg: Any = partial(self._refuse, "recvmsg")

    def _refuse(self, kind: str, own: socket.socket, *arguments: Any) -> Any:
        if self._left[kind]:
            self._left[kind] -= 1
            raise OSError(self._number, os.strerror(self._number))
        return getattr(own, kind)(*arguments)


@pytest.mark.parametrize("number", [errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM])
def test_a_shortage_delays_and_drops_nothing(number: int) -> None:
    """No memory, or too many descriptors in flight: the packets wait for their turn."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left = PacketSocket(ours, LARGEST, RefusingCalls(number, sends=2))
    right = PacketSocket(theirs, LARGEST)

    left.send(b"one")
    left.send(b"two")
    assert left.is_blocked
    left.flush()

    assert texts(right) == [b"one", b"two"]
    left.close()
    right.close()


def test_the_last_words_of_a_dead_peer_are_heard_in_a_shortage() -> None:
    """Whoever reads them reads once: what is refused for a moment is asked for again at once."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left = PacketSocket(ours, LARGEST)
    right = PacketSocket(theirs, LARGEST, RefusingCalls(errno.ENOMEM, receives=3))
    left.send(b"one")
    left.send(b"two")
    left.close()

    assert texts(right) == [b"one", b"two"]
    right.close()


def test_a_shortage_that_lasts_is_no_end() -> None:
    """Who asks again later hears everything."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left = PacketSocket(ours, LARGEST)
    right = PacketSocket(theirs, LARGEST, RefusingCalls(errno.ENOMEM, receives=6))
    left.send(b"one")

    assert right.receive() == []
    assert not right.ended
    assert texts(right) == [b"one"]
    left.close()
    right.close()


def test_descriptors_that_are_owned_are_closed_when_they_have_left(pair: Pair) -> None:
    """Nobody has to remember them: sent, dropped with a dead peer, or given up unsent."""
    left, right = pair
    files = [memory_file(b"x" * 300_000) for _ in range(3)]
    left.send(b"take it", files[:1], owned=True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(files[0])
    ((_, received),) = right.receive()
    assert memory_content(received[0]) == b"x" * 300_000
    os.close(received[0])

    while not left.is_blocked:
        left.send(b"x" * LARGEST)
    left.send(b"later", files[1:2], owned=True)
    os.fstat(files[1])
    right.close()
    left.flush()
    left.send(b"nobody hears", files[2:], owned=True)
    for file in files[1:]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)
