"""What was saved: records, files of an earlier service, and all that a keeper hands over."""

import contextlib
import fcntl
import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import shutil
import socket
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.cli.carried import DAMAGED, carry_over, read_carried
from supervisord_lite.cli.last_escalation import read_last_escalation
from supervisord_lite.cli.plans import read_plans
from supervisord_lite.config.spec import to_json
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.records import RecordError, from_record, to_record
from supervisord_lite.keeper.entrance import try_out
from supervisord_lite.keeper.journal import Journal
from supervisord_lite.supervisor import slot_record
from supervisord_lite.supervisor.adoption import handover_of
from supervisord_lite.supervisor.loop import Supervisor
from tests.fuzz import seen
from tests.fuzz.mutate import Make, of_json, packed, unpacked
from tests.fuzz.target import JSON_BITS, Target
from tests.support.by_hand import HandClock, HandTimer
from tests.support.core import FixedRng
from tests.support.supervisor import a_spec

_COMPAT = Path(__file__).parents[1] / "compat"
_TOKEN, _BOOT = "0123456789abcdef", "5a5a5a5a-0000"
_RECORD: dict[str, Any] = {
    "v": 1, "pool": "web", "index": 1, "run": 3, "attempt": 2, "failures": [1.5, 2.0],
    "restarts": 2, "recycles": 0, "spent": 0, "recycle": "",
    "last_exit": {"code": 1, "signal": None, "reason": "exit 1", "at_s": 2.0, "ran_s": 0.5,
                  "pid": 7, "asked": False},
    "state": {"is": "stopped"},
}  # fmt: skip
_SPECS = (a_spec("web", 2), a_spec("db"))
_CARRIED = {
    "v": 1, "sizes": {"web": [3, 2]}, "specs": {spec.pool: to_json(spec) for spec in _SPECS},
    "records": [
        {**_RECORD, "state": {"is": "tripped", "at_s": 3.0}},
        {**_RECORD, "pool": "db", "state": {"is": "stopped", "by_hand": True}},
    ],
}  # fmt: skip


@cache
def _bases() -> tuple[dict[str, Any], ...]:
    """Return what keepers of before have handed over."""
    found = [json.loads((_COMPAT / f"handover_{n}.json").read_text()) for n in (1, 2)]
    return tuple(found)


def _records_of_all() -> list[dict[str, Any]]:
    texts = [t for b in _bases() for k, t in b["saves"].items() if k.startswith("worker/")]
    saved = [json.loads(text) for text in texts if not text.startswith('{"gone"')]
    return [_RECORD, *(each["worker"] for each in saved)]


# -- one record, one spec --------------------------------------------------------------------------


def _records(data: bytes) -> None:
    """A saved worker is read whole, and the same when it was written again, or refused."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(record, dict):
        return
    try:
        worker = from_record(record, Policy())
    except RecordError:
        return
    again = json.loads(json.dumps(to_record(worker)))
    assert from_record(again, Policy()) == worker


def _slots(data: bytes) -> None:
    """What is saved of a slot is read whole, or unusable in a way that the fleet knows."""
    slot = ("web", 1 + len(data) % 2)
    try:
        saved = slot_record.read(data.decode("utf-8", "replace"), Policy(), slot)
    except slot_record.DAMAGED:
        return  # told, and the slot stays stopped: see Fleet.restore
    text = slot_record.text_of(saved.worker, saved.twin, Policy(), seen=saved.seen, ends=[])
    assert slot_record.read(text, Policy(), slot) == saved
    assert (saved.worker.pool, saved.worker.index) == slot


# -- files of an earlier service -------------------------------------------------------------------


class _Folder:
    def __init__(self) -> None:
        self._path = ""

    def with_file(self, name: str, data: bytes) -> str:
        """Return the folder, in which such a file stands."""
        if not self._path:
            self._path = tempfile.mkdtemp(dir="/dev/shm", prefix="sdl-fuzz.")
        Path(self._path, name).write_bytes(data)
        return self._path

    def end(self) -> None:
        if self._path:
            shutil.rmtree(self._path)
            self._path = ""


_FOLDER = _Folder()


def _carried(data: bytes) -> None:
    """What a keeper has left is used, within the bounds of any file, or refused in a known way.

    Used, a supervisor begins with it as with any other save.
    """
    folder = _FOLDER.with_file("carry.json", data)
    try:
        found = read_carried(folder, _TOKEN, _BOOT)
        if found is None:
            assert not os.path.exists(f"{folder}/carry.json")
            return
        carried = carry_over(found, _SPECS)
        tries = found["tries"] + 1
    except DAMAGED:
        return  # told, and the file removed: see cli/run.py
    assert isinstance(tries, int | float)
    assert all(1 <= spec.pool_size <= 1024 for spec in carried.specs)
    for name, text in carried.saves.items():
        saved = json.loads(text)
        if name.startswith("worker/"):
            from_record(saved["worker"], Policy())
    saves = {f"spec/{spec.pool}": to_json(spec) for spec in carried.specs}
    pools = json.dumps([spec.pool for spec in carried.specs])
    base = {**_small(), "saves": {**_small()["saves"], **saves, "pools": pools, **carried.saves}}
    _adopted(base)


def _plans(data: bytes) -> None:
    """Plans are times that there can be, of jobs that want them; else the file is refused."""
    folder = _FOLDER.with_file("plans.json", data)
    kept, refused = None, ""
    try:
        kept = read_plans(folder, seen.specs())
    except ValueError as error:
        refused = str(error)
    assert not refused or "plans.json: " in refused
    for key, plan in json.loads(kept or "{}").items():
        assert key.startswith("job")
        assert 0 <= plan["settled_s"] < 1e12
    if kept:
        saves = {f"spec/{spec.pool}": to_json(spec) for spec in seen.specs()}
        pools = json.dumps([spec.pool for spec in seen.specs()])
        _adopted(
            {**_small(), "saves": {**_small()["saves"], **saves, "pools": pools, "plans": kept}}
        )


def _escalation(data: bytes) -> None:
    """The note of an escalation is shown as it is bounded, or there was none."""
    told = read_last_escalation(_FOLDER.with_file("last-escalation.json", data))
    if told is not None:
        assert all(len(str(value)) <= 500 for value in told.values())
        assert set(told) == {"at", "worker", "why", "exit_status", "is_recent"}


# -- the handover ----------------------------------------------------------------------------------


@cache
def _small() -> dict[str, Any]:
    saves = _bases()[0]["saves"]
    kept = {key: saves[key] for key in ("settings", "log", "daemon")}
    return {**_bases()[0], "saves": {**kept, "pools": "[]"}, "facts": [], "inventory": []}


def _adopted(said: dict[str, Any]) -> Supervisor:
    """Let a supervisor take over, and do all that it does in its first hours."""
    own, nobody = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    clock, timers = HandClock(), []

    def timer() -> HandTimer:
        timers.append(HandTimer())
        return timers[-1]

    supervisor: Supervisor | None = None
    with nobody, own, listener, open(os.devnull, "wb") as quiet:
        try:
            supervisor = Supervisor(
                own, listener, handover_of(said), clock=clock, rng=FixedRng(),
                journal=Journal(quiet.fileno(), "json", "error"), own_uid=os.getuid(),
                start_note=_nobody, start_bound_note=_nobody, start_loading=_nobody,
                start_reading=_nobody, start_sampling=_nobody, make_timer=timer,
            )  # fmt: skip
            supervisor._adopt()
            for span_s in (0.0, 1.0, 100.0, 10_000.0):
                clock.s += span_s
                supervisor._settle()
                while nobody.recv(1 << 18, socket.MSG_DONTWAIT):
                    pass
        except BlockingIOError:
            pass
        finally:
            if supervisor is not None:
                supervisor._poller._poll.close()
            for each in timers:
                each.close()
    assert supervisor is not None
    return supervisor


def _nobody(*_arguments: object, **_more: object) -> Any:
    raise OSError(1, "nobody can be started")


def _succession(data: bytes) -> None:
    """Another keeper goes on with a state, or refuses it in a way that the one before hears of.

    In a process of its own, for a state names descriptors, and they are all taken.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # There is one thread of ours; some library may have begun others.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _go_on(data, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, (status, said)
    assert said in (b"refused", b"packed")


def _go_on(data: bytes, writer: int) -> NoReturn:
    own = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 900)  # no state has so many
    try:
        memory = fcntl.fcntl(memory_file(data), fcntl.F_DUPFD_CLOEXEC, 900)
        try:
            packed_again = try_out(memory)
        except Exception:  # noqa: BLE001  # way_back.py
            os.write(own, b"refused")
        else:
            json.dumps(packed_again)
            os.write(own, b"packed")
        os._exit(0)
    except BaseException as error:  # noqa: BLE001  # nothing of a test may go on here
        os.write(own, repr(error).encode())
    finally:
        os._exit(1)


def _patches(rng: random.Random) -> bytes:
    """Return which handover it is, and what some of its saves hold instead."""
    number = rng.randrange(len(_bases()))
    saves = _bases()[number]["saves"]
    only_workers = rng.random() < 0.6
    keys = [key for key in saves if not only_workers or key.startswith("worker/")]
    parts = [bytes([number])]
    for _ in range(rng.choice((1, 1, 2, 3))):
        key = rng.choice(keys)
        parts += [key.encode(), _make_of(number, key)(rng)]
    return packed(parts)


@cache
def _make_of(number: int, key: str) -> Make:
    saves = _bases()[number]["saves"]
    alike = [text for other, text in saves.items() if other.split("/")[0] == key.split("/")[0]]
    seeds = []
    for text in (saves[key], *alike):
        with contextlib.suppress(ValueError):
            seeds.append(json.loads(text))
    return of_json(seeds or ["text info"], JSON_BITS)


def _handover(data: bytes) -> None:
    """A damaged record is that of one slot, and all others go on; other saves may be refused."""
    first, *parts = unpacked(data) or [b"\0"]
    number = first[0] % len(_bases()) if first else 0
    said = {**_bases()[number], "saves": dict(_bases()[number]["saves"])}
    names = [part.decode("utf-8", "replace") for part in parts[::2]]
    for name, text in zip(names, parts[1::2], strict=False):
        said["saves"][name] = text.decode("utf-8", "replace")
    only_workers = all(name in _bases()[number]["saves"] for name in names) and all(
        name.startswith("worker/") for name in names
    )
    try:
        supervisor = _adopted(said)
    except (*DAMAGED, AssertionError):
        assert not only_workers
        return  # a dry start says no to it
    slots = {f"worker/{pool}/{index}" for pool, index in supervisor._fleet.unusable}
    if only_workers:
        assert slots <= set(names), "a record that was good"


_ESCALATED = {
    "at": "2026-01-01T00:00:00.000Z", "worker": "db", "why": "5 failures", "exit_status": 75,
    "workers": [{"name": "db", "last_lines": ["x"]}],
}  # fmt: skip
_PLANNED = {"v": 1, "plans": {"job/1": {"plan": "*/5 * * * *", "settled_s": 1.7e9}, "x/1": {}}}
_OF_FILE = {"token": _TOKEN, "boot_id": _BOOT, "tries": 1}
_BITS = (*JSON_BITS, b'"state":{"is":"running"}', b"-1", b"1.5", b'"backoff"', b'"by_hand":true')

TARGETS = {
    "records": Target(of_json(_records_of_all(), _BITS), _records),
    "slots": Target(
        of_json(
            [json.loads(text) for base in _bases() for key, text in base["saves"].items()
             if key.startswith("worker/")],
            _BITS,
        ),
        _slots,
    ),
    "carried": Target(
        of_json([{**_CARRIED, **_OF_FILE}, {**_CARRIED, **_OF_FILE, "specs": {}}], _BITS), _carried,
        few=700, end=_FOLDER.end,
    ),
    "plans": Target(of_json([_PLANNED], _BITS), _plans, few=700, end=_FOLDER.end),
    "escalation": Target(of_json([_ESCALATED], _BITS), _escalation, end=_FOLDER.end),
    "succession": Target(
        of_json([json.loads((_COMPAT / "keeper_1.json").read_text())], JSON_BITS), _succession,
        few=60,
    ),
    "handover": Target(_patches, _handover, few=200),
}  # fmt: skip
