"""A thousand damaged files: an answer or errors with places, and never anything else.

The files are good ones in which something was deleted, doubled, swapped or put in, as editors,
merges and disks do it. The seed is printed; give it in SDL_SEED to see the same files again.
"""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_lite.config.errors import ConfigurationError, render
from supervisord_lite.config.load import judge
from supervisord_lite.config.locate import locate
from tests.fuzz.documents import INCLUDED, MAIN
from tests.fuzz.test_locate_tomllib import check

pytestmark = pytest.mark.slow

COUNT = 1000
BITS = (
    '"', "'", '"""', "'''", "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "#", "\n", "\r\n", "\r",
    " ", "\t", "\\", "\\u0000", "${", "${NOPE}", "${N", "%i", "%{00..}", "true", "nan", "-", "1e9",
    "0x", "1979-05-27", "é", "\x00", "\x7f", "\ufeff", "\u202e", "[worker.web]\n", "a.b = 1\n",
    "x = {\n", "include = 'main.toml'\n", "extends = 'web'\n", "9" * 5000, "[" * 200,
)  # fmt: skip


def cut(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text))
    return text[:start] + text[start + rng.choice((1, 1, 2, 5, 40)) :]


def double(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text))
    part = text[start : start + rng.choice((1, 3, 20, 200))]
    return text[:start] + part + text[start:]


def put_in(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text))
    return text[:start] + rng.choice(BITS) + text[start:]


def swap_lines(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return "\n".join(lines)


def drop_line(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    del lines[rng.randrange(len(lines))]
    return "\n".join(lines)


def swap_words(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    one, two = rng.randrange(len(words)), rng.randrange(len(words))
    words[one], words[two] = words[two], words[one]
    return " ".join(words)


def flip_bit(text: str, rng: random.Random) -> str:
    data = bytearray(text.encode("utf-8", "surrogateescape"))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data.decode("utf-8", "surrogateescape")


DAMAGES: tuple[Callable[[str, random.Random], str], ...] = (
    cut, double, put_in, put_in, swap_lines, drop_line, swap_words, flip_bit,
)  # fmt: skip


def damaged(text: str, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        text = rng.choice(DAMAGES)(text, rng) or "x"
    return text.encode("utf-8", "surrogateescape")


def lines_of(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").replace("\r\n", "\n").split("\n")


def hold_to_promises(folder: Path) -> bool:
    """Judge main.toml; return whether it is good. Errors must have places that are there."""
    try:
        judge("main.toml", environ={"HOME": "home", "N": "2"}, as_root=True)
    except ConfigurationError as error:
        problems = error.problems
    else:
        return True
    for problem in problems:
        lines = lines_of(folder / problem.file)
        assert problem.message
        assert 1 <= problem.line <= len(lines), problem
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, problem
    assert all(line.isprintable() for line in render(problems).split("\n"))
    return False


def hold_places_to_tomllib(data: bytes) -> None:
    """Where tomllib reads the text, every key and value of its tree has its place, and no other."""
    try:
        text = data.decode().replace("\r\n", "\n")
        if "\r\n" in text:
            return  # tomllib would read another text than this: refused before
        tree = tomllib.loads(text)
    except (ValueError, RecursionError):  # of digits, of encodings and of TOML
        return
    places = locate(text)
    assert check(text, places, tree, ()) == places.keys.keys()


def test_a_thousand_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a traceback, always a place, in the file that is included as well."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().getrandbits(32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    rng = random.Random(seed)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.env").write_text("X=1\n")
    (tmp_path / "home.toml").write_text("")
    main, included = tmp_path / "main.toml", tmp_path / "inc.toml"
    main.write_text(MAIN)
    included.write_text(INCLUDED)
    assert hold_to_promises(tmp_path), "undamaged"
    before = sorted(tmp_path.rglob("*"))
    good = 0
    for number in range(COUNT):
        which, text = (included, INCLUDED) if number % 4 == 0 else (main, MAIN)
        main.write_text(MAIN)
        included.write_text(INCLUDED)
        data = damaged(text, rng)
        which.write_bytes(data)
        try:
            good += hold_to_promises(tmp_path)
            hold_places_to_tomllib(data)
        except Exception:
            sys.stderr.write(f"file {number}: {which.name}: {data!r}\n")
            raise
    assert sorted(tmp_path.rglob("*")) == before, "judging has written something"
    assert COUNT // 50 < good < COUNT * 3 // 4, "the damage is either none or total"
