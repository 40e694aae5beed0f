"""What listeners are told: in order, once, and nobody waits for them."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.feeds import MOST_WAITING, Feeds
from supervisord_lite.keeper.poller import Poller

SLOT = ("pager", 1)


class House:
    """Feeds, and a listener that reads when the test says so."""

    def __init__(self) -> None:
        self.poller = Poller()
        self.told: list[dict[str, Any]] = []
        self.feeds = Feeds(Calls(), self.poller.watch, self.poller.unwatch, self.told.append)
        self.stdin = -1
        self.run = 0

    def say(self, *lines: str) -> None:
        self.feeds.take([[*SLOT, line] for line in lines])

    def start(self) -> None:
        self.run += 1
        key = (*SLOT, self.run)
        self.stdin = os.dup(self.feeds.open(key, "pager"))
        self.feeds.begin(key)

    def read(self, count: int = 1 << 20) -> list[str]:
        """Read as much as there is, at most *count* bytes, turning the crank in between."""
        os.set_blocking(self.stdin, False)
        data = b""
        while len(data) < count:
            try:
                piece = os.read(self.stdin, min(4096, count - len(data)))
            except BlockingIOError:
                if not self.poller.wait(0):
                    break
                continue
            if not piece:
                break
            data += piece
        os.set_blocking(self.stdin, True)
        return data.decode().splitlines()

    def end(self) -> None:
        os.close(self.stdin)
        self.feeds.end((*SLOT, self.run))

    def close(self) -> None:
        self.feeds.close()
        self.poller.close()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def test_lines_arrive_in_order_and_before_anybody_runs_they_wait(house: House) -> None:
    """Also more than a pipe takes."""
    lines = [f"{number} {'x' * 900}" for number in range(500)]
    house.say(*lines[:200])
    house.start()
    house.say(*lines[200:])
    assert house.read() == lines
    assert house.told == []
    house.end()


def test_what_a_run_has_not_read_is_told_to_the_next(house: House) -> None:
    """A line of which only a part was read is told again as a whole; none is told twice."""
    lines = [f"{number} {'y' * 100}" for number in range(1000)]
    house.start()
    house.say(*lines)
    first = house.read(5000)
    assert first[-1] != lines[len(first) - 1], "a part of a line"
    house.end()

    house.start()
    assert house.read() == lines[len(first) - 1 :]
    house.end()
    house.start()
    assert house.read() == []
    house.end()


def test_the_oldest_go_and_their_number_is_told(house: House) -> None:
    """In their place stands one line; whoever reads knows where something is missing."""
    house.say(*(str(number) for number in range(MOST_WAITING + 250)))
    house.start()
    notice, *rest = house.read()
    assert {
        "event": "events.dropped", "name": "pager", "pool": "pager", "instance": 1, "count": 250,
    }.items() <= json.loads(notice).items()  # fmt: skip
    assert rest == [str(number) for number in range(250, MOST_WAITING + 250)]
    assert sum(each["unheard"][2] for each in house.told) == 250
    house.end()


def test_one_who_never_reads_costs_a_pipe_and_a_thousand_lines(house: House) -> None:
    """However much is told; what it gets then is the end, and how much is missing."""
    house.start()
    lines = [f"{number:06} {'z' * 93}" for number in range(20_000)]
    for line in lines:
        house.say(line)
    feed = house.feeds._feeds[SLOT]
    assert len(feed.waiting) <= MOST_WAITING + 1
    assert sum(len(line) for line, _ in feed.pipes[1].sent) <= 65536 + 101

    found = house.read()

    at = next(place for place, line in enumerate(found) if "events.dropped" in line)
    missing = json.loads(found[at])["count"]
    assert found[:at] == lines[:at]
    assert found[at + 1 :] == lines[at + missing :]
    assert len(found) - 1 + missing == 20_000
    house.end()


def test_lines_that_go_back_stand_before_what_is_missing(house: House) -> None:
    """A run that read nothing ends: the next one finds the same order."""
    house.start()
    lines = [f"{number:05} {'w' * 93}" for number in range(3000)]
    house.say(*lines)
    house.end()
    house.start()
    found = house.read()
    seen: list[str] = []
    missing = 0
    for line in found:
        if line.startswith("{"):
            missing += json.loads(line)["count"]
        else:
            assert line == lines[len(seen) + missing]
            seen.append(line)
    assert len(seen) + missing == 3000
    assert seen[-1] == lines[-1]
    house.end()


def test_who_listens_no_more_is_told_no_more(house: House) -> None:
    """What waits goes, and its stdin ends."""
    house.say("before")
    house.start()
    assert house.read() == ["before"]
    house.feeds.keep([])
    assert os.read(house.stdin, 1) == b""
    house.end()
    assert house.feeds._feeds == {}


def test_the_next_run_takes_over_while_the_one_before_still_lives(house: House) -> None:
    """The earlier one sees the end of its stdin; what it leaves goes to the later one."""
    house.start()
    earlier = house.stdin
    house.say("one")
    house.start()
    house.say("two")
    assert house.read() == ["two"]
    house.feeds.end((*SLOT, 1))
    assert house.read() == ["one"]
    assert os.read(earlier, 100) == b"one\n"
    os.close(earlier)
    house.end()
