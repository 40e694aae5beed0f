"""Events of which there may be storms, and who is told of events."""

from collections.abc import Mapping

from supervisord_lite.base.record import replace
from supervisord_lite.control.calls import Peer
from supervisord_lite.supervisor.coalesced import EVERY_S, Coalesced
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.listeners import Listeners
from supervisord_lite.supervisor.logs import Logs
from supervisord_lite.supervisor.storms import Storms
from tests.support.by_hand import HandClock
from tests.support.supervisor import a_fleet, a_spec

EVE = Peer(7, 1005, 1)


def test_the_first_is_told_at_once_and_the_rest_as_a_sum() -> None:
    """A hundred in a minute are two; afterwards it begins anew."""
    clock, told = HandClock(), list[Mapping[str, object]]()
    storm = Coalesced(clock, told.append)
    for number in range(100):
        storm.add("eve", {"pid": number})
    assert told == [{"pid": 0, "count": 1}]
    due_s = storm.deadline_s
    assert due_s == clock.s + EVERY_S
    clock.s += EVERY_S
    storm.expire(clock.s)
    assert told[1:] == [{"pid": 99, "count": 99}]
    clock.s += EVERY_S
    storm.expire(clock.s)
    assert not storm._kinds
    storm.add("eve", {"pid": 1})
    assert told[2:] == [{"pid": 1, "count": 1}]


def test_there_is_an_end_to_what_is_told_apart() -> None:
    """Strangers under a thousand names cost no more memory, and not a line each."""
    clock, told = HandClock(), list[Mapping[str, object]]()
    storm = Coalesced(clock, told.append, most_kinds=10)
    for number in range(1000):
        storm.add(number, {"uid": number})
    assert len(told) == 11
    assert len(storm._kinds) == 11
    clock.s += EVERY_S
    storm.expire(clock.s)
    assert told[-1] == {"uid": 999, "count": 989}


class House:
    """Real events of a fleet without processes."""

    def __init__(self) -> None:
        pager = replace(a_spec("pager", 2), events=("worker.*", "control.denied", "log.*"))
        self.fleet, self.outbox, self.sent = a_fleet(a_spec("web"), pager)
        self.clock = HandClock()
        self.logged: list[str] = []
        self.events = Events(self.fleet, self.outbox, {}, self.clock, self._log)
        self.logs = Logs({"/log/old": [5, 1]}, {})
        self.storms = Storms(self.fleet, self.events, self.clock, self.logs)
        self.listeners = Listeners(self.fleet, self.outbox, self.events)

    def _log(self, level: str, event: str, **fields: object) -> None:
        del level, fields
        self.logged.append(event)

    def flush(self) -> list[list[object]]:
        """Send everything; return what listeners are told."""
        self.listeners.tell()
        del self.sent[:]
        self.fleet.flush()
        return [line for message in self.sent for line in message.get("feed", ())]


def test_a_denied_call_is_an_event_and_a_storm_of_them_two() -> None:
    """With who it was and what was wanted; nobody has asked for the event itself."""
    house = House()
    house.events.peer = EVE
    for _ in range(50):
        house.storms.denied(EVE, "Stop", "web")
    house.storms.refused(EVE)
    assert house.events.peer is EVE
    house.flush()
    told = [line for message in house.sent for line in message.get("events", ())]
    assert len(told) == 2
    assert '"uid":1005,"pid":7,"verb":"Stop","pool":"web","count":1' in told[0]
    assert "verb" not in told[1]
    assert "by_uid" not in told[0]
    house.clock.s += EVERY_S
    house.storms.expire(house.clock.s)
    assert house.logged == ["control.denied"] * 3


def test_what_a_log_lost_is_told_of_its_worker() -> None:
    """Bytes and lines since it was told last, and why; what was lost before us is not news."""
    house = House()
    house.logs.take({"trouble": {"/log/web": "No space left on device"}})
    house.storms._places, house.storms._known = {"/log/web": ("web", 1)}, house.fleet.specs
    house.logs.take({"dropped": {"/log/web": [100, 2], "/log/old": [5, 1]}})
    house.logs.take({"dropped": {"/log/web": [150, 3]}})
    house.clock.s += EVERY_S
    house.storms.expire(house.clock.s)
    house.flush()
    told = [line for message in house.sent for line in message.get("events", ())]
    assert ['"bytes":100,"lines":2' in told[0], '"bytes":50,"lines":1' in told[1]] == [True, True]
    assert '"name":"web"' in told[0]
    assert "No space left" in told[0]
    assert len(told) == 2


def test_a_listener_hears_what_it_asked_for_and_nothing_of_itself() -> None:
    """Each instance of it; the line is the journal's own."""
    house = House()
    house.flush()
    house.events.note_worker(("web", 1), "worker.failed", reason="exit 1")
    house.events.note_worker(("pager", 2), "worker.failed", reason="exit 1")
    house.events.note("config.reloaded")
    found = house.flush()
    lines = [line for message in house.sent for line in message.get("events", ())]
    (line,) = [line for line in lines if '"name":"web"' in line]
    assert found == [["pager", 1, line], ["pager", 2, line]]


def test_the_keeper_is_told_who_listens_once_and_when_it_changes() -> None:
    """A new supervisor says it anew."""
    house = House()
    house.listeners.tell()
    house.fleet.flush()
    said = [message["listeners"] for message in house.sent if "listeners" in message]
    assert said == [[["pager", 1, "pager-1"], ["pager", 2, "pager-2"]]]
    assert house.flush() == []
    assert not any("listeners" in message for message in house.sent)
    house.fleet.reconfigure([a_spec("web"), replace(a_spec("pager"), events=("*",))])
    house.listeners.tell()
    house.fleet.flush()
    assert house.sent[-1]["listeners"][0] == ["pager", 1, "pager"]
