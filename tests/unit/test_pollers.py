"""What the resident processes sleep in."""

import errno
import os
import select
from collections.abc import Callable
from typing import Any

import pytest

from supervisord_lite.base.calls import Calls
from supervisord_lite.base.patient_epoll import PatientEpoll
from supervisord_lite.keeper.poller import Poller as KeeperPoller
from supervisord_lite.supervisor.poller import Poller as SupervisorPoller


def keeper_waits(descriptor: int, heard: list[int]) -> Callable[[float], object]:
    poller = KeeperPoller()
    poller.watch(descriptor, select.EPOLLIN, heard.append)
    return poller.wait


def supervisor_waits(descriptor: int, heard: list[int]) -> Callable[[float], object]:
    poller = SupervisorPoller()
    poller.watch(descriptor, readable=lambda: heard.append(descriptor))
    return poller.wait


@pytest.mark.parametrize("watching", [keeper_waits, supervisor_waits])
def test_a_time_that_is_years_away_is_slept_for(
    watching: Callable[[int, list[int]], Callable[[float], object]],
) -> None:
    """The kernel counts some weeks at most, and refuses more; both loops outlive that."""
    reading, writing = os.pipe()
    heard: list[int] = []
    wait = watching(reading, heard)
    os.close(writing)
    wait(1e9)
    assert heard
    os.close(reading)


class Refusing(Calls):
    """A kernel that has no memory to watch anything, so many times."""

    def __init__(self, times: int, number: int = errno.ENOMEM) -> None:
        self.left = times
        self.number = number
        self.epoll_add: Any = self._add

    def _add(self, own: select.epoll, descriptor: Any, mask: int = 0) -> None:
        if self.left:
            self.left -= 1
            raise OSError(self.number, os.strerror(self.number))
        own.register(descriptor, mask)


def test_what_cannot_be_watched_is_asked_for_again() -> None:
    """Nothing is lost by it, and nobody sleeps for long meanwhile."""
    calls = Refusing(3)
    own = PatientEpoll(calls)
    reading, writing = os.pipe()
    os.write(writing, b"x")
    own.add(reading, select.EPOLLOUT)
    own.change(reading, select.EPOLLIN)
    assert own.wait(-1) == []
    assert own.wait(1000.0) == []
    assert own.wait(-1) == [(reading, select.EPOLLIN)]
    own.remove(reading)
    assert own.wait(0) == []
    own.close()
    os.close(reading)
    os.close(writing)


def test_what_was_never_watched_can_be_forgotten() -> None:
    """Its descriptor may be closed then, and be another one's."""
    own = PatientEpoll(Refusing(1))
    reading, writing = os.pipe()
    own.add(reading, select.EPOLLIN)
    own.remove(reading)
    os.close(reading)
    os.close(writing)
    assert own.wait(0) == []
    own.close()


def test_a_mistake_of_ours_is_told() -> None:
    """Only what passes is waited for."""
    own = PatientEpoll(Refusing(1, errno.EBADF))
    with pytest.raises(OSError, match="Bad file descriptor"):
        own.add(0, select.EPOLLIN)
    own.close()
