"""What the daemon as a whole is doing, and what systemd is told of it."""

import json
from typing import Any

import pytest

from supervisord_lite.config.spec import Spec
from supervisord_lite.core import events
from supervisord_lite.core.policy import Rung
from supervisord_lite.core.states import Running, Stopped
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.outbox import Slot
from tests.support.by_hand import HandClock
from tests.support.supervisor import a_fleet, a_spec


class Bench:
    """A daemon's state over a fleet, whose workers the test moves."""

    def __init__(self, *specs: Spec, saved: str | None = None) -> None:
        self.fleet, self.outbox, self.sent = a_fleet(*specs)
        clock = self.fleet._clock
        assert isinstance(clock, HandClock)
        self.clock = clock
        self.lines: list[str] = []
        self.daemon = DaemonState(self.fleet, self.outbox, saved, self._log)

    def _log(self, level: str, event: str, **fields: object) -> None:
        self.lines.append(f"{level} {event} {fields}")

    def tell(self, *, anew: bool = False) -> list[str]:
        """Return what systemd is told in this turn."""
        del self.sent[:]
        self.daemon.tell(anew=anew)
        self.fleet.flush()
        words: list[str] = []
        for message in self.sent:
            words += message.get("notify", "").split("\n")
        return [word for word in words if word]

    def saved(self) -> dict[str, Any]:
        """Return the latest record sent."""
        self.fleet.flush()
        texts = [m["save"]["daemon"] for m in self.sent if "daemon" in m.get("save", {})]
        record: dict[str, Any] = json.loads(texts[-1])
        return record

    def spawned(self, slot: Slot) -> None:
        run = self.fleet.workers[slot].run
        self.fleet.feed(slot, events.Spawned(run, pid=1000 + run))

    def exited(self, slot: Slot, code: int) -> None:
        run = self.fleet.workers[slot].run
        self.fleet.feed(slot, events.Exited(run, code, None, emptied=True))

    def up(self, slot: Slot) -> None:
        self.spawned(slot)
        self.clock.s += 1.0
        self.fleet.fire_due(self.clock.s)
        assert isinstance(self.fleet.workers[slot].state, Running)


WEB = ("web", 1)


def test_ready_is_said_once_all_are_ready() -> None:
    """Not before the last one, and not twice."""
    bench = Bench(a_spec("web", 2))
    bench.daemon.begin()
    assert "READY=1" not in bench.tell()
    bench.up(("web", 1))
    assert bench.daemon.word == "starting"
    assert "READY=1" not in bench.tell()
    bench.up(("web", 2))

    assert bench.tell() == ["READY=1", "STATUS=2 running"]
    assert bench.daemon.word == "running"
    assert bench.tell() == []
    assert any("daemon.ready" in line for line in bench.lines)


@pytest.mark.parametrize(
    ("policy", "code", "text"),
    [
        ({"max_restarts": 1}, 1, "STATUS=1 tripped: web"),
        ({"restart": "never"}, 1, "STATUS=1 exited"),
        ({"restart": "on-failure"}, 0, "STATUS=1 exited"),
    ],
)
def test_who_has_given_up_does_not_hold_up_readiness(
    policy: dict[str, Any], code: int, text: str
) -> None:
    """Finished, or tripped: the daemon is as ready as it will be."""
    bench = Bench(a_spec("web", **policy))
    bench.daemon.begin()
    bench.spawned(WEB)
    bench.exited(WEB, code)

    assert bench.tell() == ["READY=1", text]


def test_one_that_fails_and_tries_again_is_waited_for() -> None:
    """systemd is asked for enough time for what comes next."""
    bench = Bench(a_spec("web", start_timeout_s=50.0))
    bench.daemon.begin()
    bench.spawned(WEB)
    bench.exited(WEB, 1)

    words = bench.tell()

    assert words == ["STATUS=1 backoff", "EXTEND_TIMEOUT_USEC=80000000"]


def test_what_does_not_start_by_itself_is_not_started() -> None:
    """Nor waited for."""
    bench = Bench(a_spec("web", autostart=False))
    bench.daemon.begin()

    assert bench.tell() == ["READY=1", "STATUS=1 stopped"]
    assert bench.fleet.workers[WEB].run == 0


def test_no_workers_at_all_are_ready() -> None:
    """An empty file is a daemon without work."""
    bench = Bench()
    bench.daemon.begin()

    assert bench.tell() == ["READY=1", "STATUS=no workers"]


def test_ready_is_not_taken_back() -> None:
    """A worker that fails later changes STATUS alone."""
    bench = Bench(a_spec("web"))
    bench.daemon.begin()
    bench.up(WEB)
    bench.tell()
    bench.exited(WEB, 1)

    assert bench.tell() == ["STATUS=1 backoff"]
    assert bench.daemon.word == "running"


def test_a_new_supervisor_says_ready_again() -> None:
    """A unit that fell silent in the middle of something would stay in it otherwise."""
    saved = json.dumps({"booted": True, "ready": True})
    bench = Bench(a_spec("web"), saved=saved)

    assert bench.tell(anew=True) == ["READY=1", "STATUS=1 stopped"]
    assert bench.tell() == []


def test_before_the_first_ready_a_new_supervisor_does_not_say_it() -> None:
    """A death during the boot is no reason to call it done."""
    bench = Bench(a_spec("web"), saved=json.dumps({"booted": False}))
    bench.daemon.begin()

    assert "READY=1" not in bench.tell(anew=True)


def test_the_status_text_counts_and_names() -> None:
    """In a fixed order, the worst last, with the first names."""
    bench = Bench(
        a_spec("web", 2), a_spec("bad", 5, max_restarts=1), a_spec("off", autostart=False)
    )
    bench.daemon.begin()
    bench.up(("web", 1))
    for index in range(1, 6):
        bench.spawned(("bad", index))
        bench.exited(("bad", index), 1)

    (status,) = [word for word in bench.tell() if word.startswith("STATUS=")]

    assert status == "STATUS=1 running, 1 starting, 1 stopped, 5 tripped: bad-1 bad-2 bad-3"


def test_a_stop_asks_for_the_time_of_the_longest_ladder() -> None:
    """All rungs of the slowest worker, and a margin."""
    ladder = (Rung(2, 5.0), Rung(15, 20.0))
    bench = Bench(a_spec("web", 2, stop_ladder=ladder), a_spec("fast"))
    bench.daemon.begin()
    for slot in list(bench.fleet.workers):
        bench.up(slot)
    bench.tell()

    bench.daemon.signalled("SIGTERM", 1)

    words = bench.tell()
    assert words[:2] == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=55000000"]
    assert words[2] == "STATUS=stopping: 3 of 3 left: web-1 web-2 fast"
    assert bench.daemon.word == "stopping"
    assert not bench.daemon.is_over(bench.clock.s)
    for slot in list(bench.fleet.workers):
        bench.exited(slot, 0)
    assert bench.daemon.is_over(bench.clock.s)


def test_the_second_signal_is_at_once() -> None:
    """SIGTERM again kills every tree."""
    bench = Bench(a_spec("web"))
    bench.daemon.begin()
    bench.up(WEB)
    bench.daemon.signalled("SIGTERM", 1)
    bench.fleet.flush()
    del bench.sent[:]

    bench.daemon.signalled("SIGINT", 2)
    bench.fleet.flush()

    assert bench.daemon.at_once
    assert [r["do"] for m in bench.sent for r in m.get("do", ())] == ["kill"]


def test_a_signal_counts_once() -> None:
    """The same fact told again is not the second signal."""
    bench = Bench(a_spec("web"))
    bench.daemon.begin()
    bench.up(WEB)
    bench.daemon.signalled("SIGTERM", 4)
    bench.daemon.signalled("SIGTERM", 4)

    assert bench.daemon.is_stopping
    assert not bench.daemon.at_once
    saved = bench.saved()
    assert (saved["stopping"], saved["at_once"], saved["seen"]) == (True, False, 4)


def test_a_stop_goes_on_after_a_crash() -> None:
    """The record says it, and systemd hears it again."""
    saved = json.dumps({"booted": True, "ready": True, "stopping": True, "seen": 4})
    bench = Bench(a_spec("web"), saved=saved)
    bench.fleet.feed(WEB, events.StartRequested())
    bench.up(WEB)
    del bench.sent[:]

    bench.daemon.begin()

    assert bench.tell(anew=True)[-1].startswith("STATUS=stopping: 1 of 1 left")
    assert any(m.get("do") for m in bench.sent)


def test_a_stop_before_anything_was_started_is_over_at_once() -> None:
    """Nothing is started first."""
    bench = Bench(a_spec("web"))
    bench.daemon.signalled("SIGTERM", 1)
    bench.daemon.begin()

    assert bench.daemon.is_over(bench.clock.s)
    assert bench.fleet.workers[WEB].state == Stopped()
    assert bench.fleet.workers[WEB].run == 0


def test_a_signal_without_meaning_is_logged() -> None:
    """It is no stop."""
    bench = Bench(a_spec("web"))
    bench.daemon.signalled("SIGPWR", 1)

    assert not bench.daemon.is_stopping
    assert any("SIGPWR" in line for line in bench.lines)
