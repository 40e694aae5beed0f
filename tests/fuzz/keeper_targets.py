"""What the keeper hears: its supervisor, its scribe, forkservers, forks, workers, a dry start."""

import array
import contextlib
import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import socket
from functools import cache
from typing import Any

from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.fork_words import asked_for, understood
from supervisord_lite.keeper.last_words import LastWords
from supervisord_lite.keeper.reap import Ended
from supervisord_lite.keeper.spawn import StageError
from supervisord_lite.keeper.table import Run, Table
from supervisord_lite.keeper.trees import Process
from supervisord_lite.keeper.trial import Trial
from supervisord_lite.keeper.voices import Voice, Voices
from supervisord_lite.supervisor.sampling_child import slot_in
from supervisord_lite.wire import channel
from tests.fuzz import seen
from tests.fuzz.fake_world import World
from tests.fuzz.mutate import of_bytes, of_json, packed, unpacked
from tests.fuzz.target import JSON_BITS, Target
from tests.support.keeper import request

#: Of the packets in one life of a keeper.
_PACKETS = 40
_GONE = (None, 0, 1, 70, 75, 64, 2, 255)


# -- the supervisor, and all that happens around it ------------------------------------------------


@cache
def _said() -> Any:
    """Return what makes one message of a supervisor, damaged or not."""
    messages = list(seen.told())
    asked = [each for message in messages for each in message.get("do", ())]
    kinds = {each["do"]: each for each in asked}
    slot = {"pool": "web", "index": 1, "run": 1}
    spawn = next(each for each in asked if each["do"] == "spawn" and each["pool"] == "web")
    forked = next(each for each in asked if "server" in each)
    kinds.update(
        signal={**slot, "do": "signal", "signal": 15, "scope": "tree", "stop": True},
        probe={**spawn, "do": "probe", "number": 1, "timeout_s": 5.0, "argv": ["true"]},
        end_probe={**slot, "do": "end_probe"},
        beat={**slot, "do": "beat"},
        relog={**{k: spawn[k] for k in ("stdout", "stderr", "name")}, **slot, "do": "relog"},
        cancel={**slot, "do": "cancel", "pool": "rank"},
        kill={**slot, "do": "kill"},
        build={"do": "build", "server": forked["server"]},
    )
    spawns = [each for each in asked if each["do"] == "spawn"]
    seeds: list[dict[str, Any]] = [{"do": [each]} for each in (*kinds.values(), *spawns, *spawns)]
    seeds += [{k: v for k, v in message.items() if k != "do"} for message in messages]
    code = {"interpreter": "/usr/bin/python3", "resident": "/x/resident.py"}
    seeds += [
        {"pong": 1}, {"pong": 2, "wake_at_s": 1e6}, {"sockets": ["127.0.0.1:9"]}, {"servers": []},
        {"trial": {"id": "1.1", **code}}, {"replace": {**code, "keeper": True, "version": "9"}},
        {"replace": {**code, "keeper": False}}, {"listeners": [["ears", 1, "ears"]]},
        {"feed": [["ears", 1, '{"event":"x"}']] * 3}, {"applied": 3},
        {"save": {"worker/a/1": None}},
        {"save": {"spec/a": "{}", "by_hand": "{}"}, "events": ["{}"], "notify": "READY=1"},
    ]  # fmt: skip
    return of_json(seeds, JSON_BITS), seeds


def _life(rng: random.Random) -> bytes:
    """Return what one keeper meets: messages, ends of processes, words of others, time."""
    make, seeds = _said()
    packets = []
    for _ in range(_PACKETS):
        kind = rng.random()
        if kind < 0.2:
            event = rng.choice(("exit", "exit", "time", "scribe", "server", "greet", "supervisor"))
            number, code = rng.randrange(20), rng.choice(_GONE)
            words = _words(event, rng).decode("latin-1")
            packets.append(json.dumps({"!": [event, number, code, words]}).encode())
        elif kind < 0.45:  # good ones, so that there is something to be damaged
            packets.append(json.dumps(_of_run(rng.choice(seeds), rng)).encode())
        else:
            packets.append(make(rng))
    return packed(packets)


def _of_run(message: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    run = rng.randrange(1, 5)
    do = [{**each, "run": run} if "run" in each else each for each in message.get("do", ())]
    return {**message, "do": do} if do else message


def _words(event: str, rng: random.Random) -> bytes:
    makes = {"scribe": _of_scribe, "server": _of_server, "greet": _hellos}
    return makes[event](rng) if event in makes else b""


def _keeper(data: bytes) -> None:
    """Whatever is said to a keeper, it lives, does what is asked next, and loses no descriptor."""
    world = World()
    try:
        for packet in unpacked(data):
            _happens(world, packet)
            world.whole.turn()
            if world.whole.keeper._ending is not None:
                return
        _still_works(world)
    finally:
        world.end()


def _happens(world: World, packet: bytes) -> None:
    whole = world.whole
    if packet.startswith(b'{"!"'):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            event, number, code, words = json.loads(packet)["!"]
            _around(world, event, number, code, words.encode("latin-1"))
    elif "supervisor" in whole.calls.peers and packet:
        whole.calls.peers["supervisor"].send(packet[: channel.MAX_MESSAGE_BYTES])


def _around(world: World, event: str, number: int, code: int | None, words: bytes) -> None:
    """Let something happen that is not of the supervisor's doing."""
    whole, calls = world.whole, world.calls
    own = (whole.supervisor_pid, whole.keeper._scribe.pid)
    workers = [pid for pid in calls.living if pid not in own]
    if os.getpid() not in calls.living:
        calls.living[os.getpid()] = None
    servers = list(whole.keeper._runs.servers._by_run.values())
    if event == "exit" and workers:
        calls.ends(workers[number % len(workers)], code, 11 if code is None else None)
    elif event == "supervisor":
        calls.drop("supervisor")
        calls.ends(own[0], None, 9)
    elif event == "time":
        whole.late_s += 10.0 * number
    elif event == "scribe" and "scribe" in calls.peers and words:
        calls.peers["scribe"].send(words)
    elif event == "server" and servers:
        own_channel = servers[number % len(servers)].channel
        _as_peer(world, -1 if own_channel is None else own_channel.fileno(), words)
    elif event == "greet":
        gates = [gate for server in servers for gate in server.openings]
        _as_peer(world, gates[number % len(gates)] if gates else -1, words)


def _as_peer(world: World, ours: int, words: bytes) -> None:
    """Say something at the other end of a socket of the keeper; without a word, hang up."""
    other = world.calls.others.get(ours)
    if other is not None and words:
        other.send(words[:100_000])
    elif other is not None:
        world.calls.others.pop(ours).close()


def _still_works(world: World) -> None:
    """A start that is asked for now is one start, and what the keeper knows can be handed on."""
    whole = world.whole
    ask = request("still-there", "/bin/true", run=10**9)

    def asked() -> bool:
        if "supervisor" in whole.calls.peers:  # there may be another one in each turn
            whole.say(do=[ask])
        return bool(_facts(whole, "spawned"))

    whole.hurry_s = 0.01
    whole.until(asked, "it was started")
    assert len(_facts(whole, "spawned")) == 1
    json.loads(whole.keeper._table.handover())
    json.dumps(whole.keeper.pack(lambda number: number))


def _facts(whole: Any, kind: str) -> list[dict[str, Any]]:
    facts = whole.facts.values()
    return [each for each in facts if (each.get("pool"), each["fact"]) == ("still-there", kind)]


# -- others ----------------------------------------------------------------------------------------


def _hello(data: bytes) -> None:
    """What a fork says chooses among its own limits, or is a failed start."""
    asked = {"nice": 3, "rlimits": [["core", 10], ["nofile", 20]]}
    said = understood(data)
    if isinstance(said, StageError):
        channel.encode(said.pack())
        return
    left = asked_for(asked, said["left"])
    assert left["nice"] in (0, 3)
    assert all(value in (10, 20) for _, value in left["rlimits"])


def _notify(data: bytes) -> None:
    """Few facts, short words, no descriptor, and all of it fits into messages."""
    table, news = Table({}), list[dict[str, Any]]()
    voices = Voices(Calls(), table, lambda *_: None, lambda _: None, news.append)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        voice = Voice(ours.fileno(), folder="/run/x/w/web.1.1")
        voice.run = run = Run(("web", 1, 1), 100, "marker", None)
        rights = array.array("i", [theirs.fileno()] * (len(data) % 4))
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
        theirs.sendmsg([data], ancillary)
        free = os.dup(0)
        voices._hear(voice)
        os.close(free)
        again = os.dup(0)
        os.close(again)
        assert again == free, "a descriptor was let in"
    voices._news = {run: None}
    voices.tell()
    assert len(table.facts) <= 3
    assert all(len(text) <= 300 for text in run.words.values())
    words = LastWords(run.last_words or "")
    channel.encode({**words.crash, **words.story, "facts": list(table.facts), "news": news})
    if words.failure is not None:
        channel.encode({**words.failure.pack(), **words.story})


def _processes(data: bytes) -> None:
    """What a process calls itself says nothing of what it is; its environment is its own word."""
    name, _, environment = data.partition(b"\0")
    fields = "S 7 8 9 0 -1 4 0 0 0 0 11 12 0 0 20 0 1 0 777 0 50" + " 3" * 30
    stat = f"123 ({name.decode('utf-8', 'surrogateescape')}) {fields}\n"
    found = Process(123, stat)
    assert (found.parent, found.session, found.started, found.zombie) == (7, 9, 777, False)
    assert found.name == name.decode("utf-8", "surrogateescape")
    pool, index = slot_in(environment)
    json.dumps([pool, index])
    assert 0 <= index < 10**9


def _trial(data: bytes) -> None:
    """A dry start has said yes as a whole, or no with a reason; it fits into a message."""
    answer, _, errors = data.partition(b"\xff\xfe")
    trial = object.__new__(Trial)
    trial.name, trial._is_late, trial._pipes = "1.1", False, {}
    trial._answer, trial._errors = bytearray(answer[: 64 * 1024]), bytearray(errors[-8192:])
    told = trial.ended(Ended(1, len(data) % 5 and 1, None))
    channel.encode({"trial": told})
    assert told["ok"] == (not told["reason"])
    assert not told["ok"] or (told["protocol"] > 0 and told["version"])


_of_scribe = of_json(
    [
        {"said": "pong", "id": 1}, {"said": "done", "stream": 1}, {"said": "hung", "path": "/x",
         "reason": "y"}, {"said": "dropped", "path": "/x", "bytes": 5, "lines": 1},
        {"said": "trouble", "path": "/x", "reason": "No space left"},
        {"said": "resumed", "path": "/x"},
    ],
    JSON_BITS,
)  # fmt: skip
_of_server = of_json(
    [
        {"ready": {"rss_bytes": 5_000_000, "warnings": ["a thread"]}},
        {"failed": {"reason": "ImportError: x", "lines": ["Traceback", "  File", "\udcff" * 400]}},
    ],
    JSON_BITS,
)
_hellos = of_json(
    [
        {"hello": {"is_marked": True, "left": {"nice": 0, "rlimits": [[4, 10], [7, None]]}}},
        {"failed": {"stage": "exec", "reason": "x", "missing": False, "hopeless": True}},
    ],
    JSON_BITS,
)
_STATES = (
    b"READY=1\nSTATUS=up\nWATCHDOG=1\nX_RUNS=17\nEXTEND_TIMEOUT_USEC=500000\nSTOPPING=1",
    b'X_SUPERVISORD_LITE_END={"words":"ValueError: x","traceback":"Traceback\\n  File"}',
    b'X_SUPERVISORD_LITE_END={"stage":"target","reason":"x","hopeless":true}\nRELOADING=1',
)
_STATE_BITS = (
    *JSON_BITS, b"=", b"\n", b"READY=1\n", b"WATCHDOG=trigger\n", b"STATUS=", b"\xd9\xa3",
    b"X" * 1000, b"STATUS=" + b"\xf0\x9f\x92\xa9" * 500, b"FDSTORE=1\n", b"MAINPID=1\n",
    b"\xc2\xb2", b"X_RUNS=" + b"9" * 30, b'"traceback":"' + b"\\ud83d" * 9000 + b'",',
)  # fmt: skip
_TRIED = (
    b'{"version":"9.9","protocol":1,"succession":1,"unusable":{"web/1":"no"}}\n',
    b'warning: x\n{"reason":"it has no such Python"}\n\xff\xfe',
    b'\xff\xfeTraceback (most recent call last):\n  File "/x/y.py", line 3, in z\nKeyError: 1\n',
)
_TRIED_BITS = (*JSON_BITS, b"\xff\xfe", b'File "', b'", line ', b"\n", b"\x85", b"'", b"Traceback")

_PROCESSES = (
    b"a) S 1 2 (b\0PATH=/bin\0SUPERVISORD_LITE_POOL=web\0SUPERVISORD_LITE_INSTANCE=2\0",
    b"sh\0=\0A\0SUPERVISORD_LITE_INSTANCE=\0SUPERVISORD_LITE_POOL=w\xff\0",
)
_PROCESS_BITS = (
    b")",
    b"(",
    b" ",
    b"\n",
    b"\0",
    b"=",
    b"9" * 5000,
    b"\xc2\xb2",
    b"SUPERVISORD_LITE_",
)

TARGETS = {
    "processes": Target(of_bytes(_PROCESSES, _PROCESS_BITS), _processes),
    "keeper": Target(_life, _keeper, few=1600, each=_PACKETS),
    "hello": Target(_hellos, _hello),
    "notify": Target(of_bytes(_STATES, _STATE_BITS), _notify),
    "trial": Target(of_bytes(_TRIED, _TRIED_BITS), _trial),
}
