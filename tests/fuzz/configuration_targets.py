"""What reads configurations: TOML and its places, the whole loader, and what changes one value."""

import os
import re
import shutil
import socket
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supervisord_lite.config import zones
from supervisord_lite.config.effective import render_effective
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import judge
from supervisord_lite.config.rewrite import Edit, NotSavedError
from supervisord_lite.config.source import Source
from supervisord_lite.config.spec import (
    Spec,
    settings_from_json,
    spec_from_json,
    to_json,
)
from supervisord_lite.config.syntax import parse
from tests.fuzz import documents
from tests.fuzz.mutate import unpacked
from tests.fuzz.target import Target
from tests.fuzz.test_locate_mutations import hold_places_to_tomllib
from tests.fuzz.test_locate_tomllib import same

_ENVIRON = {"HOME": "home", "N": "2", "A": "", "CREDENTIALS_DIRECTORY": "/nowhere"}
#: What is refused though tomllib takes it.
_STRICTER = ("too deep: ", "a line ends in two carriage returns")
_NAMES = ("main.toml", "inc.toml", "some.env")


def _toml(data: bytes) -> None:
    """The tree that tomllib has, or errors with places; good is what is good for tomllib."""
    text = data.decode("utf-8", "replace")
    source = Source("x.toml", text)
    try:
        tree: object = tomllib.loads(source.text)
    except (ValueError, RecursionError):
        tree = None
    try:
        document = parse(source)
    except ConfigurationError as error:
        _check_problems(error, {"x.toml": source.text.split("\n")})
        is_refused = tree is None or error.problems[0].message.startswith(_STRICTER)
    else:
        is_refused = not same(document.tree, tree)
        assert not is_refused
        return
    assert is_refused


def _check_problems(error: ConfigurationError, lines: dict[str, list[str]]) -> None:
    """Hold errors to what is promised of them: what, where, and fit for a terminal."""
    for problem in (*error.problems, *error.warnings):
        assert problem.message
        _check_place(problem, lines)
    assert all(line.isprintable() for line in str(error).split("\n")), error


def _check_place(problem: Problem, lines: dict[str, list[str]]) -> None:
    if problem.line == 0:
        return  # about a file as a whole
    of_file = lines[os.path.basename(problem.file)]
    assert 1 <= problem.line <= len(of_file), problem
    line = of_file[problem.line - 1]
    assert 1 <= problem.column <= len(line) + 1, problem
    assert problem.length >= 1
    shown = problem.source.removesuffix("\ufffd")  # what cannot be read is not shown behind that
    assert shown in ("", line) or line.startswith(f"{shown}\ufffd"), problem


class _Folder:
    """Where the files of one input stand: in memory, and written only where they change."""

    def __init__(self) -> None:
        self._path = ""
        self._before: list[bytes | None] = []

    @contextmanager
    def of(self, data: bytes) -> Iterator[dict[str, list[str]]]:
        """Be in the folder with its files; return the lines of each."""
        if not self._path:
            self._path = tempfile.mkdtemp(dir="/dev/shm", prefix="sdl-fuzz.")
            self._before = [None] * len(_NAMES)
        parts: list[bytes | None] = [*unpacked(data), *[None] * len(_NAMES)]
        here = os.getcwd()
        os.chdir(self._path)
        try:
            for number, name in enumerate(_NAMES):
                self._put(number, name, parts[number])
            with _own_network():
                yield {name: _lines(part) for name, part in zip(_NAMES, parts, strict=False)}
        finally:
            os.chdir(here)

    def _put(self, number: int, name: str, part: bytes | None) -> None:
        if part != self._before[number]:
            if part is None:
                Path(name).unlink()
            else:
                Path(name).write_bytes(part)
            self._before[number] = part

    def changed(self) -> None:
        """Somebody else has changed the first file."""
        self._before[0] = Path(self._path, _NAMES[0]).read_bytes()

    def end(self) -> None:
        """Remove it."""
        if self._path:
            shutil.rmtree(self._path)
            self._path = ""


def _lines(data: bytes | None) -> list[str]:
    return (data or b"").decode(errors="replace").replace("\r\n", "\n").split("\n")


@contextmanager
def _own_network() -> Iterator[None]:
    """Look no host up: what is refused before the network is asked is refused here."""
    asked, module = socket.getaddrinfo, vars(socket)
    module["getaddrinfo"] = _look_up
    try:
        yield
    finally:
        module["getaddrinfo"] = asked


def _look_up(host: Any, port: Any, **_more: Any) -> Any:
    name = host.encode("idna")
    if b"\0" in name or len(name) > 20:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port or 0))]


_FOLDER = _Folder()


def _loader(data: bytes) -> None:
    """A configuration that survives its saving and its being written down, or errors."""
    with _FOLDER.of(data) as lines:
        try:
            judged = judge("main.toml", environ=_ENVIRON, as_root=True)
        except ConfigurationError as error:
            _check_problems(error, lines)
            return
        for problem in judged.warnings:
            _check_place(problem, lines)
        configuration = judged.configuration
        assert settings_from_json(to_json(configuration.settings)) == configuration.settings
        for spec in configuration.specs:
            _check_spec(spec)
        if len(data) % 10 == 0:
            tomllib.loads(render_effective(configuration))


def _check_spec(spec: Spec) -> None:
    """Hold one spec to what those who never see the file take for granted."""
    assert spec_from_json(to_json(spec)) == spec
    assert 1 <= spec.pool_size <= 1024
    launch = spec.launch
    assert bool(launch.argv) != (launch.python is not None)
    assert not any("\0" in word for word in launch.argv)
    assert os.path.isabs(launch.directory)
    assert all("\0" not in (value or "") for _, value in launch.environment)
    assert spec.policy.stop_ladder
    assert spec.policy.backoff.min_s <= spec.policy.backoff.max_s
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", spec.pool)


def _rewrite(data: bytes) -> None:
    """Another size in the file and nothing else, or the file stays as it is."""
    with _FOLDER.of(data):
        before = Path("main.toml").read_bytes()
        size = 2 + len(data) % 7
        sizes = {"web": size} if b"worker.web" in before else {"a": size}
        try:
            with Edit.of_sizes("main.toml", sizes, environ=_ENVIRON, as_root=True) as edit:
                edit.write()
        except NotSavedError:
            assert Path("main.toml").read_bytes() == before
            assert not [name for name in os.listdir() if name not in _NAMES]
            return
        finally:
            _FOLDER.changed()
        after = Path("main.toml").read_bytes()
        trees = [tomllib.loads(text.decode()) for text in (before, after)]
        for pool, number in sizes.items():
            assert trees[1]["worker"][pool].pop("pool_size") == number
            trees[0]["worker"][pool].pop("pool_size", None)
        assert same(trees[0], trees[1])
        assert before.count(b"\r") in (0, before.count(b"\n"))
        assert sorted(os.listdir()) == sorted(n for n in _NAMES if Path(n).exists())


def _end() -> None:
    _FOLDER.end()
    zones.zone_named.cache_clear()


TARGETS = {
    "toml": Target(documents.text, _toml, few=700),
    "positions": Target(documents.text, hold_places_to_tomllib, few=700),
    "loader": Target(documents.files, _loader, few=500, end=_end),
    "rewrite": Target(documents.files, _rewrite, few=300, end=_end),
}
