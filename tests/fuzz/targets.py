"""What reads bytes of others, each with good inputs, and what is promised of its answers."""

import json
import random  # noqa: TID251  # seeded by the input
from collections.abc import Callable
from typing import Any, NamedTuple

from supervisord_lite.cli.carried import DAMAGED, carry_over
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.source import Source
from supervisord_lite.config.spec import to_json
from supervisord_lite.config.syntax import parse
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.records import RecordError, from_record, to_record
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.fork_words import asked_for, understood
from supervisord_lite.keeper.last_words import LastWords
from supervisord_lite.keeper.spawn import StageError
from supervisord_lite.keeper.table import Run, Table
from supervisord_lite.keeper.voices import Voice, Voices
from supervisord_lite.scribe.forms import JSON, RAW_BYTES, Chunk, closing
from supervisord_lite.wire import channel, varlink
from supervisord_lite.wire.errors import WireError
from supervisord_lite.wire.http_request import BadRequestError, read_request
from tests.fuzz.test_locate_load import judge
from tests.fuzz.test_locate_mutations import INCLUDED, MAIN, hold_places_to_tomllib
from tests.support.supervisor import a_spec

#: Pieces of JSON that are more than they look like.
JSON_BITS = (
    b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b":", b",", b"null", b"true",
    b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 400, b"[" * 2000, b"\0", b"\xff", b"\xc3",
    b'"fork":1,', b" ", b"0", b"1", b"7", b'{"a":', b'"' + b"x" * 300 + b'"',
)  # fmt: skip
TOML_BITS = (
    b'"', b"'", b'"""', b"'''", b"[", b"]", b"[[", b"]]", b"{", b"}", b"=", b".", b",", b"#",
    b"\n", b"\r\n", b"\r", b"\t", b"\\", b"\\u0000", b"${N}", b"%i", b"true", b"nan", b"1e9",
    b"0x", b"1979-05-27", b"\xc3\xa9", b"\0", b"\x7f", b"\xef\xbb\xbf", b"[worker.web]\n",
    b"a.b = 1\n", b"x = {\n", b"9" * 5000, b"[" * 200,
)  # fmt: skip


class Target(NamedTuple):
    """One reader.

    Attributes:
        seeds: Good inputs.
        bits: What is put into them.
        judge: Takes an input; raises what must never be raised.
    """

    seeds: tuple[bytes, ...]
    bits: tuple[bytes, ...]
    judge: Callable[[bytes], None]


def _cut(data: bytes, most: int = 1 << 20) -> list[bytes]:
    """Return *data* in pieces, always the same for the same data."""
    rng = random.Random(data)
    pieces, at = [], 0
    while at < len(data):
        size = min(most, rng.choice((1, 2, 3, 17, 300, 5000)))
        pieces.append(data[at : at + size])
        at += size
    return pieces


# -- what comes over sockets -----------------------------------------------------------------------


def _varlink(data: bytes) -> None:
    """Messages are objects, or there is a `WireError`; cutting changes nothing."""
    outcomes: list[object] = []
    for pieces in ([data], _cut(data)):
        reader = varlink.Reader(max_message_bytes=2000)
        try:
            outcomes.append([each for piece in pieces for each in reader.feed(piece)])
        except WireError:
            outcomes.append(None)
    assert repr(outcomes[0]) == repr(outcomes[1])


def _channel(data: bytes) -> None:
    """A packet is an object or a `WireError`, and an object can be sent on as it is."""
    try:
        message = channel.decode(data)
    except WireError:
        return
    try:
        again = channel.encode_whole(message)
    except WireError:
        return  # NaN, which Python's JSON reads and we never write
    assert repr(channel.decode_whole(again)) == repr(message)


def _hello(data: bytes) -> None:
    """What a fork says chooses among its own limits, or is a failed start."""
    request = {"nice": 3, "rlimits": [["core", 10], ["nofile", 20]]}
    said = understood(data)
    if isinstance(said, StageError):
        channel.encode(said.pack())
        return
    left = asked_for(request, said["left"])
    assert left["nice"] in (0, 3)
    assert all(value in (10, 20) for _, value in left["rlimits"])


def _notify(data: bytes) -> None:
    """Few facts, short words, and all of it fits into messages."""
    table, news = Table({}), list[dict[str, Any]]()
    voices = Voices(Calls(), table, lambda *_: None, lambda _: None, news.append)
    voice = Voice(-1, folder="/run/x/w/web.1.1")
    voice.run = run = Run(("web", 1, 1), 100, "marker", None)
    voices._take(voice, data)
    assert len(table.facts) <= 3
    assert all(len(text) <= 300 for text in run.words.values())
    words = LastWords(run.last_words or "")
    channel.encode({**words.crash, "facts": list(table.facts), "words": run.words})


def _http(data: bytes) -> None:
    """A request, none yet, or a refusal with a status."""
    try:
        request = read_request(data)
    except BadRequestError as refused:
        status = refused.status
    else:
        status = 400
        assert request is None or request.path.startswith("/")
    assert 400 <= status < 600


# -- files -----------------------------------------------------------------------------------------


def _toml(data: bytes) -> None:
    """A document, or errors whose places are in the text."""
    text = data.decode("utf-8", "replace")
    source = Source("x.toml", text)
    try:
        parse(source)
    except ConfigurationError as error:
        lines = source.text.split("\n")
        for problem in error.problems:
            _check_place(problem, lines)


def _check_place(problem: Problem, lines: list[str]) -> None:
    assert problem.message
    assert 1 <= problem.line <= len(lines)
    assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1


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


def _carried(data: bytes) -> None:
    """What a keeper has left is used, within the bounds of any file, or refused in a known way."""
    try:
        found = json.loads(data)
        carried = carry_over(found, _SPECS)
    except DAMAGED:
        return  # told, and the file removed: see cli/run.py
    assert all(1 <= spec.pool_size <= 1024 for spec in carried.specs)
    for name, text in carried.saves.items():
        saved = json.loads(text)
        if name.startswith("worker/"):
            from_record(saved["worker"], Policy())


def _lines(data: bytes) -> None:
    """Each line of a log as JSON is JSON, and all of them together are what was written."""
    out, held, line_bytes = bytearray(), b"", 0
    for piece in _cut(data, RAW_BYTES):
        chunk = Chunk(JSON, "stdout", "2026-01-01T00:00:00.000Z")
        is_begun = bool(out) and not out.endswith(b"\n")
        chunk.add(held + piece, is_begun=is_begun, line_bytes=line_bytes)
        out, held = out + chunk.out, chunk.held
        line_bytes = len(out) - out.rfind(b"\n") - 1
    if held and (not out or out.endswith(b"\n")):
        return  # nothing but the beginning of a character: whoever closes the file begins the line
    if out and not out.endswith(b"\n"):
        out += closing(JSON, held)
    said = [json.loads(line) for line in bytes(out).splitlines()]
    text = "".join(each["line"] + ("" if each.get("partial") else "\n") for each in said)
    assert text == _as_shown(data)


def _as_shown(data: bytes) -> str:
    lines = data.split(b"\n")
    ends = lines if lines[-1] else lines[:-1]
    return "".join(line.decode("utf-8", "backslashreplace") + "\n" for line in ends)


_RECORD = {
    "v": 1, "pool": "web", "index": 1, "run": 3, "attempt": 2, "failures": [1.5, 2.0],
    "restarts": 2, "recycles": 0, "spent": 0, "recycle": "",
    "last_exit": None, "state": {"is": "stopped"},
}  # fmt: skip

_SPECS = (a_spec("web", 2), a_spec("db"))
_CARRIED = {
    "v": 1, "sizes": {"web": [3, 2]}, "specs": {spec.pool: to_json(spec) for spec in _SPECS},
    "records": [
        {**_RECORD, "state": {"is": "tripped", "at_s": 3.0}},
        {**_RECORD, "pool": "db", "state": {"is": "stopped", "by_hand": True}},
    ],
}  # fmt: skip

TARGETS = {
    "varlink": Target(
        (
            b'{"method":"io.supervisordlite.Manager.Status","parameters":{"names":["web-1"]}}\0',
            b'{"method":"org.varlink.service.GetInfo","more":true}\0{"method":"x.Y"}\0',
        ),
        JSON_BITS,
        _varlink,
    ),
    "channel": Target(
        (
            b'{"applied":3,"saves":{"web/1":"{}"},"requests":[{"do":"kill","pool":"a","index":1}]}',
            b'{"facts":[{"n":1,"fact":"exited","at_s":1.5,"code":0}],"words":{"a":"\\udcff"}}',
        ),
        JSON_BITS,
        _channel,
    ),
    "hello": Target(
        (
            b'{"hello":{"is_marked":true,"left":{"nice":0,"rlimits":[[4,10],[7,null]]}}}',
            b'{"failed":{"stage":"exec","reason":"x","missing":false,"hopeless":true}}',
        ),
        JSON_BITS,
        _hello,
    ),
    "notify": Target(
        (
            b"READY=1\nSTATUS=up\nWATCHDOG=1\nX_RUNS=17\nEXTEND_TIMEOUT_USEC=500000\nSTOPPING=1",
            b'X_SUPERVISORD_LITE_END={"words":"ValueError: x","traceback":"Traceback\\n  File"}',
            b'X_SUPERVISORD_LITE_END={"stage":"target","reason":"x","hopeless":true}\nRELOADING=1',
        ),
        (*JSON_BITS, b"=", b"\n", b"READY=1\n", b"WATCHDOG=trigger\n", b"STATUS=", b"\xd9\xa3",
         b"X" * 1000, b"STATUS=" + b"\xf0\x9f\x92\xa9" * 500),
        _notify,
    ),
    "http": Target(
        (b"GET /metrics?a=%41 HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD http://x/livez HTTP/1.0\n\n"),
        (b" ", b"\r", b"\n", b"%", b"%4", b"?", b"#", b"://", b"\0", b"\xff", b"A" * 5000),
        _http,
    ),
    "toml": Target((MAIN.encode(), INCLUDED.encode()), TOML_BITS, _toml),
    "positions": Target((MAIN.encode(), INCLUDED.encode()), TOML_BITS, hold_places_to_tomllib),
    "loader": Target((MAIN.encode(), INCLUDED.encode()), TOML_BITS, judge),
    "records": Target(
        (
            json.dumps(_RECORD).encode(),
            json.dumps({**_RECORD, "settled_s": 3.5, "is_owed": True}).encode(),
        ),
        (*JSON_BITS, b'"state":{"is":"running"}', b"-1", b"1.5", b'"backoff"', b'"tripped"'),
        _records,
    ),
    "carried": Target(
        (json.dumps(_CARRIED).encode(), json.dumps({**_CARRIED, "specs": {}}).encode()),
        (*JSON_BITS, b"1e9", b"-3", b"0", b"1025", b'"web"', b'"by_hand":true'),
        _carried,
    ),
    "lines": Target(
        (
            b"one\ntwo \xe2\x82\xac\n\x1b[31mred\x1b[0m\n",
            b"a" * 3000 + b"\n" + b'{"at":"x"}\n',
            b"\xf0\x9f\x92\xa9" * 300,
        ),
        (b"\n", b"\r", b"\0", b"\\", b'"', b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f",
         b"x" * 50000),
        _lines,
    ),
}  # fmt: skip
