"""The event journal as a disk gives it back: found by the child, printed by `events` and `why`."""

import json
import random  # noqa: TID251  # seeded, and the seed is printed
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from supervisord_lite.cli import snapshot
from supervisord_lite.cli.events import line_of, missing_between, name_user
from supervisord_lite.cli.story import Story, lines_of
from supervisord_lite.control import interface
from supervisord_lite.control.calls import Peer
from supervisord_lite.scribe import reading_child
from tests.fuzz import seen
from tests.fuzz.call_targets import House
from tests.fuzz.mutate import of_json, packed, unpacked
from tests.fuzz.target import JSON_BITS, Target

_NOW = datetime(2023, 11, 14, 22, 20, tzinfo=UTC)
_SLOTS = [["web", 1], ["db", 1], ["rank", 2]]
_QUESTIONS: tuple[dict[str, Any], ...] = (
    {"until": "", "most": 50, "events": [], "names": [], "after": None, "since": None},
    {"until": "0-9", "most": 3, "events": ["worker.*"], "names": ["web"], "after": "0-2",
     "since": "2023-11-14T22:15:00.000Z"},
    {"until": "0-5", "most": 60, "slots": _SLOTS},
    {"until": "", "most": 2, "slots": _SLOTS},
)  # fmt: skip
_WEB = {"name": "web-1", "pool": "web", "instance": 1}
_MORE: tuple[dict[str, Any], ...] = (
    {**_WEB, "event": "worker.failed", "run": 2, "pid": 7, "signal": "SIGSEGV", "ran_s": 0.25,
     "failure": 5, "of": 5, "attempt": 5, "next": "tripped", "reason": "unknown"},
    {**_WEB, "event": "worker.tripped", "failures": 5, "window_s": 600.0},
    {**_WEB, "event": "worker.tripped", "failures": 1, "window_s": 600.0, "reason": "hopeless"},
    {**_WEB, "event": "worker.started", "run": 3, "pid": 9, "by": "schedule", "by_uid": 0,
     "by_pid": 5, "by_verb": "restart"},
    {**_WEB, "event": "worker.recycled", "run": 3, "pid": 9, "reason": "memory", "ran_s": 3600},
    {**_WEB, "event": "worker.cleared", "left": 2, "killed": "17 sh, 18 sleep"},
    {**_WEB, "event": "worker.signalled", "run": 3, "signal": "SIGUSR1", "by_uid": 1003},
    {**_WEB, "event": "worker.waiting", "for": "requires db"},
    {**_WEB, "event": "worker.reset", "reason": "changed"},
    {**_WEB, "event": "worker.unusable", "reason": "KeyError('x')"},
    {**_WEB, "event": "worker.rejected", "run": 4, "reason": "spawn failed (exec): no such file"},
    {**_WEB, "event": "worker.exited", "run": 2, "code": 0, "ran_s": 5.0, "next": "restart",
     "in_s": 1.5, "traceback": "Traceback\n  File"},
    {"event": "job.missed", "name": "job", "pool": "job", "instance": 1, "planned":
     "2023-11-14T22:15:00.000Z", "next": "start"},
    {"event": "job.skipped", "name": "job", "pool": "job", "instance": 1, "planned": "x",
     "reason": "it still runs"},
    {"event": "daemon.stopping", "why": "SIGTERM", "by_uid": 0},
    {"event": "daemon.upgraded", "from": "1", "to": "2", "by": "SIGUSR2"},
    {"event": "upgrade.failed", "from": "1", "reason": "it died"},
    {"event": "config.reloaded", "generation": 3}, {"event": "supervisor.adopted", "runs": 2},
    {"event": "daemon.stopped", "code": 75}, {"event": "pool.scaled", "pool": "web", "new": 3},
)  # fmt: skip


@cache
def _events() -> tuple[dict[str, Any], ...]:
    """Return events as they stand in the journal."""
    found = [json.loads(line) for message in seen.told() for line in message.get("events", ())]
    for number, event in enumerate(_MORE, start=len(found) + 1):
        found.append({"id": f"0-{number}", "at": "2023-11-14T22:16:00.000Z", **event})
    return tuple(found)


@cache
def _answers() -> tuple[dict[str, Any], ...]:
    """Return what a daemon answers to Why, in several states."""
    house = House(Peer(1, 0, 0))
    found = []
    ask = {"method": f"{interface.MANAGER}.Why", "parameters": {"names": ["all"]}}
    try:
        for number in (2, 1, 5, 0, 9, 1, 17, 16):
            house.happen(number)
            answers = house.ask(json.dumps(ask).encode())
            assert answers
            found.append(answers[0]["parameters"])
    finally:
        house.close()
    return tuple(found)


def _files(rng: random.Random) -> bytes:
    """Return the files of one journal, the newest first."""
    make = of_json(_events(), JSON_BITS)
    files = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        good = [json.dumps(rng.choice(_events())).encode() for _ in range(rng.randrange(8))]
        lines = [make(rng) if rng.random() < 0.4 else line for line in good]
        files.append(b"\n".join(lines) + rng.choice((b"\n", b"\n", b"", b'{"id":"0-')))
    return packed(files)


class _Folder:
    def __init__(self) -> None:
        self._path = ""

    def filled(self, files: list[bytes]) -> str:
        """Return the path of a journal with these files."""
        if not self._path:
            self._path = tempfile.mkdtemp(dir="/dev/shm", prefix="sdl-fuzz.")
        path = f"{self._path}/events.jsonl"
        for number in range(4):
            file = Path(path if number == 0 else f"{path}.{9 - number}")
            if number < len(files):
                file.write_bytes(files[number])
            else:
                file.unlink(missing_ok=True)
        return path

    def end(self) -> None:
        if self._path:
            shutil.rmtree(self._path)
            self._path = ""


_FOLDER = _Folder()


def _journal(data: bytes) -> None:
    """What is found are whole events in order; each is a line for people, and part of a story."""
    path = _FOLDER.filled(unpacked(data)[:3])
    question = _QUESTIONS[len(data) % len(_QUESTIONS)]
    reading_child._newest_id(path)
    if question.get("slots"):
        found = reading_child.of_workers(path, {**question, "slots": map(tuple, _SLOTS)})
    else:
        found = reading_child.chosen(path, question)
        assert len(found) <= question["most"]
    events = [json.loads(line) for line in reversed(found)]
    before = ""
    for event in events:
        assert isinstance(event["id"], str)
        assert missing_between(before, event["id"]) >= 0
        before = event["id"]
        name_user(event)
        assert line_of(event, now=_NOW).isprintable()
    answers = _answers()
    answer = answers[len(data) % len(answers)]
    told = answer["workers"][len(data) % len(answer["workers"])]
    (shown,) = snapshot.snapshot({**answer, "workers": [told["worker"]]})["workers"]
    story = Story({**told, "worker": shown}, events, now=_NOW)
    words = [{"name": shown["name"], "lines": ["x\x1b[31m", "y"]}]
    for line in lines_of(story, words, [], command="sdl"):
        assert all(part.isprintable() for part in line.split("\n")), line


TARGETS = {"journal": Target(_files, _journal, few=500, end=_FOLDER.end)}
