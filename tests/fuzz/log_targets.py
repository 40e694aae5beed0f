"""What takes logs apart and reads them: lines, rotation, marks, and `logs` over a folder."""

import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import shutil
import tempfile
import zlib
from pathlib import Path

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli.logfiles import LogFile
from supervisord_lite.cli.logspan import Wanted
from supervisord_lite.scribe import gzipped, marks, plan
from supervisord_lite.scribe.forms import JSON, LINE_BYTES, RAW_BYTES, STAMPED, Chunk, closing
from supervisord_lite.scribe.note_child import last_lines
from tests.fuzz.mutate import Make, cut, of_bytes, packed, unpacked
from tests.fuzz.target import Target

_AT = "2026-01-01T00:00:00.000Z"


# -- lines -----------------------------------------------------------------------------------------


def _lines(data: bytes) -> None:
    """All lines of a log together are what was written, however that was cut."""
    _lines_as_json(data)
    written = _written(STAMPED, data)
    begin = f"{_AT} stdout ".encode()
    text = b""
    for line in written.splitlines(keepends=True) if b"\r" not in data else ():
        assert line.startswith(begin)
        assert len(line) <= LINE_BYTES + RAW_BYTES + len(begin)
        text += line[len(begin) :]
    if b"\r" not in data and len(data) < LINE_BYTES // 2:
        assert text.rstrip(b"\n") == data.rstrip(b"\n")


def _written(form: int, data: bytes) -> bytes:
    out, held, line_bytes = bytearray(), b"", 0
    for piece in cut(data, RAW_BYTES):
        chunk = Chunk(form, "stdout", _AT)
        is_begun = bool(out) and not out.endswith(b"\n")
        chunk.add(held + piece, is_begun=is_begun, line_bytes=line_bytes)
        out, held = out + chunk.out, chunk.held
        line_bytes = len(out) - out.rfind(b"\n") - 1
    if held and (not out or out.endswith(b"\n")):
        return b""  # nothing but the beginning of a character: whoever closes the file begins it
    if out and not out.endswith(b"\n"):
        out += closing(form, held)
    return bytes(out)


def _lines_as_json(data: bytes) -> None:
    out = _written(JSON, data)
    if not out:
        return
    said = [json.loads(line) for line in out.split(b"\n")[:-1]]
    assert all((each["at"], each["stream"]) == (_AT, "stdout") for each in said)
    text = "".join(each["line"] + ("" if each.get("partial") else "\n") for each in said)
    assert text == _as_shown(data)


def _as_shown(data: bytes) -> str:
    lines = data.split(b"\n")
    ends = lines if lines[-1] else lines[:-1]
    return "".join(line.decode("utf-8", "backslashreplace") + "\n" for line in ends)


# -- rotation --------------------------------------------------------------------------------------


def _rotation(data: bytes) -> None:
    """Files together are what was written; none is cut inside a line but for an endless one."""
    size = 1 + int.from_bytes(data[:2], "big") % 5000
    files, line_start, has_aged = [b""], 0, False
    for number, piece in enumerate(cut(data, 1 << 16)):
        chunk = plan.Chunk(piece)
        chunk.end, chunk.max_size = len(piece), size
        chunk.offset, chunk.line_start = len(files[-1]), line_start
        chunk.is_old = (number + len(data)) % 7 == 0
        has_aged = has_aged or chunk.is_old
        for _ in range(len(piece) + 2):
            start, end = chunk.start, chunk.next_cut()
            assert start <= end <= chunk.end
            files[-1] += piece[start:end]
            chunk.advance(end)
            if end == chunk.end:
                break
            files.append(b"")
            chunk.next_file()
        assert chunk.start == chunk.end, "it never comes to an end"
        line_start = chunk.line_start
        assert chunk.offset == len(files[-1])
        assert line_start == files[-1].rfind(b"\n") + 1
    assert b"".join(files) == data
    for file in files[:-1]:
        last_bytes = len(file) - file.rfind(b"\n", 0, -1) - 1
        # An old one ends with its line where that ends in the chunk, however full it is.
        assert len(file) <= size + plan.OVERRUN_BYTES * (1 + has_aged)
        assert file, "an empty file"
        assert file.endswith(b"\n") or len(file) >= size + plan.OVERRUN_BYTES
        assert len(file) <= size or last_bytes >= len(file) - size


# -- marks -----------------------------------------------------------------------------------------


def _marks(data: bytes) -> None:
    """Each line is a mark or none; written again they are the same, and fewer when they must be."""
    found = marks.parse(data)
    again = b"".join(map(marks._text, found))
    read = marks.parse(again)
    assert [(m.file, m.offset) for m in read] == [(m.file, m.offset) for m in found]
    assert b"".join(map(marks._text, read)) == again
    few = marks.thinned(found, max(300, len(again) // 2))
    kept = iter(found)
    assert all(any(mark is each for each in kept) for mark in few), "another order"
    runs = list(dict.fromkeys(mark.run for mark in found))
    assert not runs or runs[-1] in [mark.run for mark in few]


# -- logs ------------------------------------------------------------------------------------------


class _Folder:
    """Where the files of one log stand: in memory."""

    def __init__(self) -> None:
        self._path = ""

    def fresh(self) -> str:
        """Return the path of the log in an empty folder."""
        if not self._path:
            self._path = tempfile.mkdtemp(dir="/dev/shm", prefix="sdl-fuzz.")
        for name in os.listdir(self._path):
            os.unlink(f"{self._path}/{name}")
        return f"{self._path}/x.log"

    def end(self) -> None:
        """Remove it."""
        if self._path:
            shutil.rmtree(self._path)
            self._path = ""


_FOLDER = _Folder()


def _logs(data: bytes) -> None:
    """The last lines are the last lines; what is asked for is a part of all; or it is refused."""
    path = _FOLDER.fresh()
    parts = [b"", b"", *unpacked(data)]
    rotated, current, noted = parts[2:-2], parts[-2], parts[-1]
    contents = [content for content in map(_content, rotated) if content is not None]
    is_known = len(contents) == len(rotated)
    for number, part in enumerate(rotated, start=1):
        _put(path, number, part)
    Path(path).write_bytes(current)
    Path(marks.marks_path(path)).write_bytes(_with_identities(noted, path, len(rotated)))
    whole = b"".join([*contents, current])
    count = len(data) % 9
    found = _tail(path, count)
    if is_known:
        lines = [line for each in (*contents, current) for line in _split(each)]
        assert found == b"".join(lines[max(0, len(lines) - count) :])
    for run, since_s in ((0, None), (-1, None), (7, None), (None, 1e9 + len(data)), (0, 1e9)):
        found = _part(path, Wanted(run, since_s), count or None)
        if is_known and found is not None and run is None:
            assert whole.endswith(found)
    for run in (None, 7, 8):
        assert all(isinstance(line, str) for line in last_lines(path, run))


def _content(part: bytes) -> bytes | None:
    """Return the plain bytes of a rotated file; None: it is none of ours."""
    return part[1:] if part[:1] != b"\x02" else None


def _put(path: str, number: int, part: bytes) -> None:
    """Write one rotated file: plain, compressed by us, or by nobody knows whom."""
    if part[:1] == b"\x01":
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = part[1:]
        text = gzipped.header(1, 1000 + number, len(body), 1_000_000_000)
        text += packer.compress(body) + packer.flush()
        Path(f"{path}.{number}.gz").write_bytes(text + gzipped.tail(zlib.crc32(body), len(body)))
    elif part[:1] == b"\x02":
        Path(f"{path}.{number}.gz").write_bytes(part[1:])
    else:
        Path(f"{path}.{number}").write_bytes(part[1:])


def _with_identities(noted: bytes, path: str, count: int) -> bytes:
    """Return marks in which 0:N is the Nth file there is."""
    for number in range(count + 1):
        file = path if number == count else f"{path}.{number + 1}"
        if os.path.exists(file):
            about = os.stat(file)
            noted = noted.replace(b" 0:%x " % number, b" %x:%x " % (about.st_dev, about.st_ino))
        else:
            noted = noted.replace(b" 0:%x " % number, b" 1:%x " % (1001 + number))
    return noted


def _tail(path: str, count: int) -> bytes | None:
    log = LogFile(path)
    try:
        found = b"".join(log.tail(count))
        with open(path, "ab") as file:
            file.write(b"more\n")
        assert b"".join(log.poll()) == b"more\n"
        os.truncate(path, os.path.getsize(path) - 5)
    except SupervisordLiteError:
        return None
    else:
        return found
    finally:
        log.close()


def _split(content: bytes) -> list[bytes]:
    """Return the lines of one file, each with its end."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _part(path: str, wanted: Wanted, count: int | None) -> bytes | None:
    log = LogFile(path)
    try:
        return b"".join(log.tail_of(wanted, count))
    except SupervisordLiteError:
        return None
    finally:
        log.close()


_TEXTS = (
    b"one\ntwo \xe2\x82\xac\n\x1b[31mred\x1b[0m\n", b'{"at":"x"}\n', b"\xf0\x9f\x92\xa9" * 30,
    b"a" * 300 + b"\n", b"\n\n", b"no end",
)  # fmt: skip
_TEXT_BITS = (
    b"\n", b"\r", b"\0", b"\\", b'"', b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f", b"x" * 2000,
    b"\n" * 50, b"\xed\xa0\x80", b"\x85", b"\xe2\x80\xa8",
)  # fmt: skip
_NOTED = (
    b"1000000000.000 - 0 0 7.01\n1000000001.000 1000000000.500 0:0 0 7.01\n6.0 - 0:1 3 0.5\n",
    b"1000000005.000 1000000004.000 0:0 20 8.89abcdef\n1000000006.000 - 0:1 3 0.5\n",
    b"1000000002.500 1000000002.000 0:1 10 1.aaaaaaaa\n1000000009.000 - 0:2 0 2.aaaaaaaa\n",
    b"1000000001.000 - 1:3e9 4 7.0123abcd\n1000000003.000 1000000002.000 1:3ea 0 1.aaaaaaaa\n",
)
_NOTED_BITS = (
    b" ", b"\n", b"-", b"0:0 ", b"0:1 ", b"0", b"9" * 30, b"9" * 5000, b"nan", b"inf", b"1e400",
    b"-5", b"\xff", b":", b"_", b"+1", b"1000000003.000", b"0x", b" 0 0 7.0123abcd\n", b"\0",
    b"7.0123abcd", b" 1_0 ", b"\xd9\xa3",
)  # fmt: skip
_text = of_bytes(_TEXTS, _TEXT_BITS)
_long_text = of_bytes((*_TEXTS, b"a" * 3000 + b"\n"), (*_TEXT_BITS, b"x" * 50_000))
_noted = of_bytes(_NOTED, _NOTED_BITS)
_packed = of_bytes(
    (gzipped.header(1, 1001, 5, 9) + zlib.compress(b"hello\n", 9)[2:-4] + gzipped.tail(0, 5),
     gzipped.header(1, 1001, 1 << 40, 9), gzipped.header(1, 2, 3, 4) + b"\x03\0", b"\x1f\x8b"),
    (b"\xff" * 8, b"\0", b"SL", b"\x1f\x8b\x08\x04", b"\x03\0", b"hello", b"\x7f" * 4),
)  # fmt: skip


def _folder_of(text: Make, noted: Make, compressed: Make) -> Make:
    def make(rng: random.Random) -> bytes:
        parts = []
        for _ in range(rng.choice((0, 1, 2, 2, 4))):
            kind = rng.choice((b"\0", b"\0", b"\x01", b"\x01", b"\x02"))
            parts.append(kind + (compressed(rng) if kind == b"\x02" else text(rng)))
        return packed([*parts, text(rng), noted(rng)])

    return make


TARGETS = {
    "lines": Target(_long_text, _lines),
    "rotation": Target(_long_text, _rotation),
    "marks": Target(_noted, _marks),
    "logs": Target(_folder_of(_text, _noted, _packed), _logs, few=700, end=_FOLDER.end),
}
