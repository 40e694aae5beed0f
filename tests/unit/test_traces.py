"""The file by which the next `run` finds what a killed main process left: any content of it."""

import errno
import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisord_lite.base.errors import PermissionRefusedError
from supervisord_lite.cli import traces_file
from supervisord_lite.cli.left_found import Trace, trace_of
from supervisord_lite.cli.traces_file import new_file, places_of, read_traces, remove_file
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.traces import RECORD_BYTES, Traces, record, records
from supervisord_lite.keeper.trees import process

RUN = {"what": "run", "key": ["web", 2, 7], "name": "web-2", "cgroup": None, "pipes": [5]}
MARKER = "0123456789abcdef" * 2


class Refusing(Calls):
    """A memory that is full."""

    @staticmethod
    def pwrite(*_args: object) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture
def state(tmp_path: Path) -> str:
    (tmp_path / "state").mkdir()
    return str(tmp_path / "state")


@pytest.fixture
def made(state: str) -> Iterator[tuple[int, str]]:
    descriptor, path = new_file("/proc", state, ())
    yield descriptor, path
    os.close(descriptor)
    Path(path).unlink(missing_ok=True)


def lines(descriptor: int) -> list[dict[str, object]]:
    found, damaged = records(os.pread(descriptor, 1 << 20, 0))
    assert damaged == 0
    return found[1:]


def test_what_is_written_down_is_read(made: tuple[int, str], state: str) -> None:
    """A run, while it has no pid, and when it has one; and it is nobody's when it is over."""
    descriptor, path = made
    traces = Traces(Calls(), descriptor)
    traces.note(MARKER, **RUN)
    ((asked,), why) = read_traces(path, state)
    assert (asked.slot, asked.run, asked.pid, asked.marker) == (("web", 2), 7, 0, MARKER)
    assert (asked.pipes, asked.name, why) == ((5,), "web-2", "")
    traces.born(MARKER, 4123)
    ((born,), _) = read_traces(path, state)
    assert born.pid == 4123
    assert 0 < born.from_ns == asked.from_ns <= born.to_ns
    traces.own("scribe", 77, 1)
    assert [each.what for each in read_traces(path, state)[0]] == ["run", "scribe"]
    traces.gone(MARKER)
    traces.gone("scribe")
    traces.gone("scribe")
    assert read_traces(path, state) == ([], "")


def test_places_are_used_again_and_a_successor_goes_on(made: tuple[int, str]) -> None:
    """The file grows with what lives at the same time, also behind a keeper that was replaced."""
    descriptor, _ = made
    traces = Traces(Calls(), descriptor)
    for number in range(100):
        traces.note(str(number), **RUN)
        traces.born(str(number), number + 1)
        if number >= 10:
            traces.gone(str(number - 10))
    packed = json.loads(json.dumps(traces.pack(lambda number: number)))
    assert packed["descriptor"] == descriptor
    traces = Traces(Calls(), -1, packed)
    traces.note("more", **RUN)
    assert len(lines(descriptor)) == 11
    assert os.fstat(descriptor).st_size <= 64 * RECORD_BYTES
    for number in range(90, 100):
        traces.gone(str(number))
    traces.gone("more")
    assert lines(descriptor) == []


def test_what_run_has_written_is_not_written_over(made: tuple[int, str]) -> None:
    """Those lines are about whom nobody could end."""
    descriptor, _ = made
    for number in (1, 2):
        os.pwrite(descriptor, record(RUN, number, 1, 1), number * RECORD_BYTES)
    traces = Traces(Calls(), descriptor)
    traces.note(MARKER, **RUN)
    traces.gone(MARKER)
    traces.note(MARKER, **RUN)
    assert [line["pid"] for line in lines(descriptor)] == [1, 2, 0]


def test_a_memory_that_is_full_is_told_once_and_stops_nobody(made: tuple[int, str]) -> None:
    """Nothing is raised."""
    told: list[str] = []
    traces = Traces(Refusing(), made[0])
    traces.when_failed = told.append
    traces.note(MARKER, **RUN)
    traces.born(MARKER, 1)
    traces.own("scribe", 1, 1)
    traces.gone(MARKER)
    assert told == ["No space left on device"]
    without = Traces(Refusing(), -1)
    without.note(MARKER, **RUN)
    without.own("scribe", 1, 1)
    without.born(MARKER, 1)
    without.gone(MARKER)


def test_nothing_is_left_of_a_keeper_that_lives(made: tuple[int, str], state: str) -> None:
    """By pid and time of birth: neither who ended nor another one of its pid is that one."""
    descriptor, path = made
    Traces(Calls(), descriptor).note(MARKER, **RUN)
    with subprocess.Popen(["sleep", "1000"]) as other:
        found = process(Calls(), other.pid)
        assert found is not None
        head = records(os.pread(descriptor, RECORD_BYTES, 0))[0][0]
        about = {name: head[name] for name in ("v", "boot_id", "pids", "of", "in")}
        tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        born_ns = found.started * tick_ns
        os.pwrite(descriptor, record(about, other.pid, born_ns, born_ns), 0)
        with pytest.raises(PermissionRefusedError, match=f"pid {other.pid} is a daemon that lives"):
            read_traces(path, state)
        earlier_ns = born_ns - tick_ns
        os.pwrite(descriptor, record(about, other.pid, earlier_ns, earlier_ns), 0)
        assert len(read_traces(path, state)[0]) == 1
        os.pwrite(descriptor, record(about, other.pid, born_ns, born_ns), 0)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert len(read_traces(path, state)[0]) == 1


def test_whose_it_is_is_said_without_a_guess() -> None:
    """Where only a cgroup is left, nobody says how many there are of that pool."""
    said = {"what": "probe", "marker": MARKER, "key": ["web", 1, 7]}
    bare, called = trace_of(said), trace_of({**said, "name": "web"})
    assert bare is not None
    assert called is not None
    assert (bare.name, called.name) == ("a probe of instance 1 of web", "a probe of web")


@pytest.mark.parametrize("length", [100, 700, 2000])
def test_a_line_has_its_length_whatever_stands_in_it(length: int) -> None:
    """What cannot fit is left out: marker, pid and times never are."""
    about = {**RUN, "marker": MARKER, "cgroup": "/c" * length, "key": ["w" * length, 1, 1]}
    data = record(about, 4_000_000, 1 << 62, 1 << 62)
    assert len(data) == RECORD_BYTES
    ((line,), damaged) = records(data)
    assert (line["pid"], line["from"], line["marker"], damaged) == (4_000_000, 1 << 62, MARKER, 0)
    assert (line["key"] == []) == (length >= 1000)


def test_no_content_breaks_it_or_is_believed_too_much(made: tuple[int, str], state: str) -> None:
    """Whoever may write the file may write anything."""
    descriptor, path = made
    Traces(Calls(), descriptor).note(MARKER, **RUN)
    sound = os.pread(descriptor, 8 * RECORD_BYTES, 0)
    seed = random.randrange(1 << 32)
    sys.stderr.write(f"seed {seed}\n")
    rng = random.Random(seed)
    for _ in range(2000):
        data = bytearray(sound)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(2 * RECORD_BYTES)] = rng.randrange(256)
        os.pwrite(descriptor, data, 0)
        try:
            found, _ = read_traces(path, state)
        except PermissionRefusedError:
            continue  # by chance it names a process that lives, which keeps us from everything
        assert all(isinstance(each, Trace) for each in found)
    for line in (b"[[[" * 300, b"7", b'{"what":"run"}', b"\xff" * 900, b"[" * 1023):
        os.pwrite(descriptor, sound[:RECORD_BYTES] + line.ljust(RECORD_BYTES), 0)
        found, why = read_traces(path, state)
        assert found == []
        assert "1 line of it cannot be read" in why


@pytest.mark.parametrize(
    "said",
    [
        {"what": "init"},
        {"what": "run", "marker": ""},
        {"what": "run", "marker": "*" * 32},
        {"what": "run", "marker": MARKER, "pid": -1},
        {"what": "run", "marker": MARKER, "pid": True},
        {"what": "run", "marker": MARKER, "from": 1e9},
        {"what": "run", "marker": MARKER, "pipes": ["x"]},
        {"what": "run", "marker": MARKER, "cgroup": 7},
        {"what": "run", "marker": MARKER, "name": 7},
        {"what": "supervisor", "pid": "1"},
        {"what": ["run"], "marker": MARKER},
    ],
)
def test_a_line_that_makes_no_sense_is_no_trace(said: dict[str, object]) -> None:
    """An empty marker above all, for whoever has none would have that."""
    assert trace_of(said) is None


def test_of_another_boot_or_other_numbers_of_pids_nothing_is_here(
    made: tuple[int, str], state: str
) -> None:
    """No process of then is one of now; that is in order, and not told."""
    descriptor, path = made
    Traces(Calls(), descriptor).note(MARKER, **RUN)
    assert len(read_traces(path, state)[0]) == 1
    head = records(os.pread(descriptor, RECORD_BYTES, 0))[0][0]
    for name in ("boot_id", "pids", "of"):
        other = {**head, name: "other"}
        os.pwrite(descriptor, json.dumps(other).encode().ljust(RECORD_BYTES), 0)
        assert read_traces(path, state) == ([], "")
    os.pwrite(descriptor, json.dumps({**head, "v": 99}).encode().ljust(RECORD_BYTES), 0)
    found, why = read_traces(path, state)
    assert (found, "not of this version" in why) == ([], True)


def test_only_a_file_of_our_own_is_read(made: tuple[int, str], state: str, tmp_path: Path) -> None:
    """No link, no pipe, none that others may write; that one is gone is in order."""
    path = Path(made[1])
    assert read_traces("", state) == ([], "")
    assert read_traces(str(tmp_path / "none"), state) == ([], "")
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    path.chmod(0o666)
    for each in (tmp_path / "link", tmp_path / "pipe", path, tmp_path):
        found, why = read_traces(str(each), state)
        assert found == []
        assert why.startswith(str(each))


def test_a_name_that_somebody_has_taken_costs_only_the_name(
    state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a folder for all anybody may take it; the lock says where the file is then."""
    folder = Path("/dev/shm") / f"{tmp_path.name}.{os.getpid()}"
    folder.mkdir()
    monkeypatch.setattr(traces_file, "_SHARED_MEMORY", str(folder))
    taken = Path(places_of("/proc", state)[1])
    (taken / "theirs").mkdir(parents=True)  # what cannot give way
    descriptor, path = new_file("/proc", state, ())
    try:
        assert path != str(taken)
        assert Path(path).parent == folder
        Traces(Calls(), descriptor).note(MARKER, **RUN)
        assert [each.marker for each in read_traces(path, state)[0]] == [MARKER]
    finally:
        os.close(descriptor)
        shutil.rmtree(folder)


def test_a_memory_without_room_is_not_the_only_one(
    made: tuple[int, str], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is none in the runtime folder, the shared one is taken."""
    real, tried = os.posix_fallocate, []

    def refuse_first(descriptor: int, offset: int, size: int) -> None:
        tried.append(descriptor)
        if len(tried) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", refuse_first)
    descriptor, path = new_file("/dev/shm", state, ())
    os.close(descriptor)
    assert (len(tried), path) == (2, made[1])
    assert not Path("/dev/shm/traces").exists()


def test_what_was_there_gives_way_and_nothing_else_is_removed(
    made: tuple[int, str], state: str, tmp_path: Path
) -> None:
    """A new file takes the place of the old one; a path in the lock is no right to remove it."""
    descriptor, path = new_file("/proc", state, ())
    os.close(descriptor)
    assert path == made[1]
    (tmp_path / "precious").touch()
    remove_file(str(tmp_path / "precious"))
    assert (tmp_path / "precious").exists()
    (tmp_path / "traces").touch()
    remove_file(str(tmp_path / "traces"))
    assert not (tmp_path / "traces").exists()
