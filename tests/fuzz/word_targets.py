"""What workers say, wherever it is shown: through a real supervisor to a terminal."""

import json
import random  # noqa: TID251  # seeded, and the seed is printed
from datetime import UTC, datetime
from typing import Any

from supervisord_lite.cli import snapshot, table
from supervisord_lite.cli.detail import detail
from supervisord_lite.cli.events import line_of
from supervisord_lite.cli.story import Story, lines_of
from supervisord_lite.control import interface
from supervisord_lite.control.calls import Peer
from supervisord_lite.supervisor.metrics import metrics_text
from supervisord_lite.wire import channel
from tests.fuzz.call_targets import House
from tests.fuzz.mutate import of_bytes, packed, unpacked
from tests.fuzz.target import Target

_PACKETS = 12
_NOW = datetime(2023, 11, 14, 22, 20, tzinfo=UTC)
_TEXTS = (
    b"listening on 0.0.0.0:80", b"ValueError: caf\xc3\xa9", b"\x1b]0;owned\x07\x1b[2J",
    b"a\nb\r\nc",
    b'"quoted" \\ {"json": 1}', b"Traceback (most recent call last):\n  File x\nKeyError: 1",
)  # fmt: skip
_BITS = (
    b"\0", b"\n", b"\x1b[31m", b"\xff", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xae",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x92\xa9" * 100, b"x" * 2000, b"%i", b"${HOME}", b'"', b"\\", b"\t", b" " * 90, b"=",
    b"\xcc\x81" * 50, b"out of memory", b"spawn failed (exec): ", b"***",
)  # fmt: skip
_text = of_bytes(_TEXTS, _BITS)


def _life(rng: random.Random) -> bytes:
    """Return what the workers of one daemon say: how it comes to be known, and the words."""
    return packed([bytes([rng.randrange(256)]) + _text(rng) for _ in range(_PACKETS)])


def _words(data: bytes) -> None:
    """Whatever a worker says, all answers are whole, and nothing but lines reaches a terminal."""
    house = House(Peer(1, 0, 0))
    told: list[str] = []
    obey = house.daemon.keeper.obey

    def heard(message: dict[str, Any]) -> None:
        told.extend(message.get("events", ()))
        obey(message)

    house.daemon.keeper.obey = heard  # type: ignore[method-assign]
    try:
        for packet in unpacked(data):
            _comes(house, packet[0] if packet else 0, packet[1:].decode("utf-8", "replace"))
            house.daemon.settle()
            assert not house.faults, house.faults
        _shown(house, [json.loads(line) for line in told])
    finally:
        house.close()


def _comes(house: House, kind: int, text: str) -> None:
    """Let the supervisor hear of some words, as the keeper bounds them."""
    keeper, now_s = house.daemon.keeper, house.daemon.clock.s
    live = keeper.live()
    run = live[kind // 8 % len(live)] if live else None
    message: dict[str, Any] = {}
    match kind % 8:
        case 0 | 1 if run is not None:
            words = {"status": text[:300], "state": ("", "reloading")[kind % 2], "runs": "17"}
            message = {"words": [*run.key, words]}
        case 2 if run is not None:
            story = {"words": " ".join(text.split())[:1000], "traceback": text}
            keeper.table.note_reaped(run)
            keeper.table.fact("exited", now_s, run.key, code=1, signal=None, emptied=False, **story)
            keeper.table.fact("emptied", now_s, run.key, killed=[f"9 {text[:15]}"])
            keeper.table.note_emptied(run, keeper.table.last)
        case 3:
            failed = {"stage": text[:100], "reason": text[:1000], "missing": False}
            keeper.failing.append({**failed, "hopeless": kind % 16 == 3})
        case 4 if run is not None:
            keeper.table.fact("judged", now_s, run.key, reason=text[:300])
        case 5:
            said = {"reason": text[:1000], "stage": "preload", "lines": [text[:500]] * 5}
            message = {"servers": {"1": {"state": ("failed", "ended")[kind // 8 % 2], **said}}}
        case 6:
            message = {"trouble": {text[:200]: text[:300]}, "dropped": {text[:200]: [5, 1]}}
        case _:
            house.daemon.pass_s(5.0)
    if message:
        house.daemon._channel.send(channel.encode(message))


def _shown(house: House, events: list[dict[str, Any]]) -> None:
    """Show all of it in each way there is."""
    status = _asked(house, "Status")
    supervisor = house.daemon.supervisor
    metrics_text(supervisor._status.whole(list(supervisor._fleet.workers))).encode()
    shown = snapshot.snapshot(status)
    lines = table.table(shown["workers"], every_instance=True, columns_max=80, in_colour=False)
    lines += [*table.problems(shown, "sdl"), *table.wrong_lines(shown["workers"])]
    lines.append(table.totals(shown))
    for worker in shown["workers"]:
        lines += detail(worker, "sdl", shown["supervisor"])
    lines += [line_of(event, now=_NOW) for event in events]
    answer = _asked(house, "Why")
    workers = snapshot.snapshot({**answer, "workers": [t["worker"] for t in answer["workers"]]})
    for told, worker in zip(answer["workers"], workers["workers"], strict=True):
        story = Story({**told, "worker": worker}, events, now=_NOW)
        lines += lines_of(story, [{"name": worker["name"], "lines": ["x"]}], [], command="sdl")
    for line in lines:
        assert all(part.isprintable() for part in line.split("\n")), line


def _asked(house: House, method: str) -> dict[str, Any]:
    ask = {"method": f"{interface.MANAGER}.{method}", "parameters": {"names": ["all"]}}
    (answer,) = house.ask(json.dumps(ask).encode()) or [{}]
    found: dict[str, Any] = answer["parameters"]
    return found


TARGETS = {"words": Target(_life, _words, few=360, each=_PACKETS)}
