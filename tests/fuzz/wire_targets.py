"""What reads sockets: framing, messages, HTTP; and what is written for the journal."""

import json

from supervisord_lite.wire import channel, journald, varlink
from supervisord_lite.wire.errors import WireError
from supervisord_lite.wire.http_probe import Answer
from supervisord_lite.wire.http_request import BadRequestError, HttpRequest, answer, read_request
from tests.fuzz.mutate import cut, of_bytes, of_json
from tests.fuzz.target import JSON_BITS, Target

_MOST_BYTES = 2000
_HTTP_BITS = (
    b" ", b"\r", b"\n", b"\r\n\r\n", b"%", b"%4", b"%00", b"?", b"#", b"&", b"=", b"+", b"://",
    b"\0", b"\xff", b"A" * 5000, b"HTTP/1.1", b"/", b"GET ", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n",
    b"Content-Length: ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"7", b"-1",
    b"ffffffffffffffff\r\n", b"9" * 30, b";x=y", b"100 ", b"204", b"304", b"\xc2\xb2",
)  # fmt: skip


def _varlink(data: bytes) -> None:
    """Messages are the objects between the NUL bytes, or the stream is refused; however cut."""
    expected = _objects(data)
    for pieces in ([data], cut(data)):
        reader = varlink.Reader(max_message_bytes=_MOST_BYTES)
        try:
            found = [each for piece in pieces for each in reader.feed(piece)]
        except WireError:
            assert expected is None
            continue
        assert repr(found) == repr(expected)
        assert reader.pending == (not data.endswith(b"\0") and bool(data))
    for message in expected or ():
        try:
            again = varlink.encode_parameters(message)
        except WireError:
            continue  # an infinity: 1e999
        assert repr(varlink.Reader().feed(again + b"\0")) == repr([message])


def _objects(data: bytes) -> list[dict[str, object]] | None:
    """Return what a reader finds; None: it refuses. In another way than the product does it."""
    *messages, rest = data.split(b"\0")
    if any(len(each) > _MOST_BYTES for each in (*messages, rest)):
        return None
    try:
        found = [json.loads(str(each, "utf-8"), parse_constant=_refuse) for each in messages]
    except (ValueError, RecursionError):
        return None
    return found if all(type(each) is dict for each in found) else None


def _refuse(name: str) -> None:
    raise ValueError(name)


def _channel(data: bytes) -> None:
    """A packet is an object or a `WireError`, and an object can be sent on as it is."""
    try:
        message = channel.decode(data)
    except WireError:
        return
    try:
        again = channel.encode_whole(message)
    except WireError:
        assert b"e" in data.lower()  # an infinity: 1e999
        return
    assert repr(channel.decode_whole(again)) == repr(message)


def _request(data: bytes) -> None:
    """A request, none yet, or a refusal; once it is a request, more bytes change nothing."""
    whole, status = _read(data)
    assert 400 <= status < 600
    for end in range(len(data)):
        if data[end : end + 1] == b"\n" or end == len(data) // 2:
            part, _ = _read(data[:end])
            assert part is None or part == whole
    if whole is not None:
        assert whole.path.startswith("/")
        assert whole.method in ("GET", "HEAD")
    head, _, body = answer(status, "text/plain", b"x").partition(b"\r\n\r\n")
    assert (head[:9], body) == (b"HTTP/1.1 ", b"x")


def _read(data: bytes) -> tuple[HttpRequest | None, int]:
    try:
        return read_request(data), 400
    except BadRequestError as refused:
        return None, refused.status


def _answer(data: bytes) -> None:
    """An answer is good or bad in a few printable words, and the same however it was cut."""
    problems = []
    for pieces in ([data], cut(data)):
        said = Answer()
        for piece in pieces:
            said.feed(piece)
        said.end()
        assert said.is_over
        assert said.problem.isprintable()
        assert len(said.problem) < 200
        problems.append(not said.problem)
    assert problems[0] == problems[1]


def _journald(data: bytes) -> None:
    """An entry says what was given, byte by byte, and nothing that a worker could add to it."""
    name, _, line = data.partition(b"\n")
    pairs = {"SYSLOG_IDENTIFIER": name.decode("utf-8", "surrogateescape"), "RUN": "7"}
    has_prefix, is_partial = len(data) % 2 == 0, len(data) % 3 == 0
    entry = journald.entry(
        journald.fields(pairs), line, has_prefix=has_prefix, is_partial=is_partial
    )
    fields = _fields_of(entry)
    named, run, priority, *partial, message = fields
    assert (named, run) == ((b"SYSLOG_IDENTIFIER", name), (b"RUN", b"7"))
    assert partial == ([(b"PARTIAL", b"1")] if is_partial else [])
    assert message[0] == b"MESSAGE"
    level = priority[1].decode()
    is_taken_off = message[1] != line
    assert line == (b"<%s>" % level.encode() if is_taken_off else b"") + message[1]
    assert has_prefix or not is_taken_off
    assert priority[0] == b"PRIORITY"
    assert level in "01234567"
    assert is_taken_off or level == "6"


def _fields_of(entry: bytes) -> list[tuple[bytes, bytes]]:
    """Read an entry as journald does. Source: systemd.io/JOURNAL_NATIVE_PROTOCOL."""
    fields, at = [], 0
    while at < len(entry):
        end = entry.index(b"\n", at)
        name, equals, value = entry[at:end].partition(b"=")
        if equals:
            at = end + 1
        else:
            size = int.from_bytes(entry[end + 1 : end + 9], "little")
            value = entry[end + 9 : end + 9 + size]
            at = end + 9 + size
            assert entry[at : at + 1] == b"\n"
            at += 1
        fields.append((name, value))
    return fields


_REQUESTS = (
    b'{"method":"io.supervisordlite.Manager.Status","parameters":{"names":["web-1"]}}\0',
    b'{"method":"org.varlink.service.GetInfo","more":true}\0{"method":"x.Y"}\0',
    b'{"method":"io.supervisordlite.Manager.Scale","parameters":{"sizes":{"web":3}}}\0',
    b'{"method":"x.Y","parameters":{"\\u00e9":[1.5,-0,null,{"a":{}}]},"oneway":true}\0{',
)
_MESSAGES = (
    {"applied": 3, "save": {"worker/web/1": '{"v":1}'}, "do": [{"do": "kill", "pool": "a"}]},
    {"facts": [{"n": 1, "fact": "exited", "at_s": 1.5, "code": 0}], "words": {"a": "\udcff"}},
)
_ASKED = (
    b"GET /metrics?a=%41&b=c+d HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD http://x/livez HTTP/1.0\n\n",
    b"\r\nGET /readyz?%zz#y HTTP/1.1\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
)
_ANSWERED = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\n\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 No Content\r\nServer: x\r\n\r\n",
    b"HTTP/1.1 302 Found\nLocation: /\n\nuntil the end",
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 70000\r\n\r\n" + b"x" * 7000,
)
_SAID = (
    b"web-1\n<3>it burns", b"web\n<8>no level\0", b"caf\xc3\xa9\n<", b"x\n<6>MESSAGE=\nPRIORITY=0",
)  # fmt: skip
_SAID_BITS = (
    b"\n", b"\0", b"=", b"<0>", b"<", b">", b"MESSAGE\n\x01\0\0\0\0\0\0\0x\n", b"\xff", b"7",
    b"x" * 5000, b"PRIORITY=0\n",
)  # fmt: skip

TARGETS = {
    "varlink": Target(of_bytes(_REQUESTS, JSON_BITS), _varlink),
    "channel": Target(of_json(_MESSAGES, JSON_BITS), _channel),
    "http": Target(of_bytes(_ASKED, _HTTP_BITS), _request),
    "answer": Target(of_bytes(_ANSWERED, _HTTP_BITS), _answer),
    "journald": Target(of_bytes(_SAID, _SAID_BITS), _journald),
}
