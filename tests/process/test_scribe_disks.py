"""Disks that are full, read-only or frozen: production goes on, and what is lost is counted."""

from __future__ import annotations

import json
import os
import select
import shutil
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.scribe import Keeper, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.root]
NEEDED = ("mount", "umount", "fsfreeze", "mkfs.ext4", "losetup")


@pytest.fixture(autouse=True)
def tools() -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing or NEEDED)}")


def run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder))
    yield folder
    run("umount", "--lazy", str(folder))


@pytest.fixture
def real_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that can be frozen."""
    folder, image = tmp_path / "real", tmp_path / "image"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    run("mkfs.ext4", "-q", str(image))
    try:
        run("mount", "-o", "loop", str(image), str(folder))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs a loop device: {error.stderr!r}")
    yield folder
    run("umount", "--lazy", str(folder))


def say(writer: int, data: bytes, timeout_s: float = 20.0) -> None:
    """Write as a worker does, but not for ever."""
    os.set_blocking(writer, False)
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    deadline_s = time.monotonic() + timeout_s
    while data:
        assert poll.poll(1000) or time.monotonic() < deadline_s, "the worker is blocked"
        try:
            data = data[os.write(writer, data) :]
        except BlockingIOError:
            assert time.monotonic() < deadline_s, "the worker is blocked"


def until_resumed(keeper: Keeper, writer: int, path: Path) -> bytes:
    """Say lines until the log goes on; return them."""
    said = b""
    poll = select.poll()
    while keeper.last("resumed", path) is None:
        line = b"again %d\n" % len(said)
        say(writer, line)
        said += line
        poll.poll(50)
        keeper.receive()
    return said


def lines_of(count: int, first: int = 0) -> bytes:
    return b"".join(b"line %d %s\n" % (place, b"x" * 60) for place in range(first, first + count))


def check_whole_lines(stored: bytes, said: bytes) -> None:
    missing = iter(said.splitlines(keepends=True))
    for line in stored.splitlines(keepends=True):
        assert line in missing, line[:80]


def test_a_full_disk_stops_nobody_and_the_loss_is_exact(small_disk: Path) -> None:
    """ENOSPC: bytes said = bytes stored + bytes dropped; logging goes on when there is room."""
    path, filler = small_disk / "w.log", small_disk / "filler"
    filler.write_bytes(b"f" * 700_000)
    with Keeper() as keeper:
        number, writer = keeper.attach(path)
        said = lines_of(20_000)
        say(writer, said)
        keeper.wait_for(said="trouble", path=str(path), reason="No space left on device")
        filler.unlink()
        said += until_resumed(keeper, writer, path)
        os.close(writer)
        keeper.wait_for(said="done", stream=number)
        assert keeper.finish() == 0
        dropped = keeper.last("dropped", path)
    assert dropped is not None
    stored = whole(path)
    assert len(stored) > 300_000
    assert len(stored) + dropped["bytes"] == len(said)
    assert stored.count(b"\n") + dropped["lines"] == said.count(b"\n")
    check_whole_lines(stored, said)


def test_a_full_disk_and_kills_together_keep_the_count(small_disk: Path) -> None:
    """What a dead scribe had counted as lost is not forgotten."""
    path = small_disk / "w.log"
    with Keeper() as keeper:
        number, writer = keeper.attach(path, max_size=300_000, backups=100)
        said = b""
        for place in range(30):
            part = lines_of(1000, place * 1000)
            say(writer, part)
            said += part
            keeper.kill()
        os.close(writer)
        keeper.wait_for(said="done", stream=number)
        assert keeper.finish() == 0
        totals = [message["bytes"] for message in keeper.said if message["said"] == "dropped"]
    assert totals == sorted(totals)
    assert len(whole(path)) + totals[-1] == len(said)
    check_whole_lines(whole(path), said)


def test_a_disk_that_becomes_read_only_is_told_and_comes_back(small_disk: Path) -> None:
    """EROFS: told once, counted, and logging goes on after the remount."""
    path = small_disk / "w.log"
    run("mount", "-o", "remount,ro", str(small_disk))
    with Keeper() as keeper:
        _, writer = keeper.attach(path)
        say(writer, b"lost\n" * 1000)
        keeper.wait_for(said="trouble", path=str(path), reason="Read-only file system")
        keeper.wait_for(said="dropped", path=str(path), bytes=5000, lines=1000)
        run("mount", "-o", "remount,rw", str(small_disk))
        said = until_resumed(keeper, writer, path)
        os.close(writer)
        keeper.wait_for(said="done", stream=1)
        dropped = keeper.last("dropped", path)
    assert dropped is not None
    assert len(path.read_bytes()) + dropped["bytes"] == 5000 + len(said)


def test_a_frozen_disk_stops_no_worker_and_no_answer(real_disk: Path) -> None:
    """fsfreeze: workers write on, the keeper is answered, and after the thaw logging goes on."""
    path = real_disk / "w.log"
    with Keeper() as keeper:
        number, writer = keeper.attach(path, max_size=2_000_000, backups=100)
        said = lines_of(1000)
        say(writer, said)
        keeper.ping()
        run("fsfreeze", "--freeze", str(real_disk))
        try:
            part = lines_of(100_000, 1000) + b"half a li"
            say(writer, part)
            said += part
            # The median, because the machine may be busy with other tests.
            assert statistics.median(keeper.ping() for _ in range(21)) < 0.1
            other, second = keeper.attach(real_disk / "other.log")
            say(second, lines_of(10_000))
            keeper.wait_for(said="dropped", path=str(real_disk / "other.log"))
            assert statistics.median(keeper.ping() for _ in range(21)) < 0.1
        finally:
            run("fsfreeze", "--unfreeze", str(real_disk))
        part = b"ne\n"
        poll = select.poll()
        while True:
            # Nobody announces that the writing thread is back.
            say(writer, part)
            said += part
            poll.poll(50)
            if whole(path).endswith(part):
                break
            part = b"again %d\n" % len(said)
        part = lines_of(1000, 200_000)
        say(writer, part)
        said += part
        os.close(writer)
        os.close(second)
        keeper.wait_for(said="done", stream=number)
        keeper.wait_for(said="done", stream=other)
        assert keeper.finish() == 0
        dropped = keeper.last("dropped", path)
        dropped_other = keeper.last("dropped", real_disk / "other.log")
    assert dropped is not None
    assert dropped_other is not None
    stored = whole(path)
    assert stored.endswith(part), "logging goes on, and loses nothing more"
    assert len(stored) + dropped["bytes"] == len(said)
    assert stored.count(b"\n") + dropped["lines"] == said.count(b"\n")
    check_whole_lines(stored, said)
    assert len(whole(real_disk / "other.log")) + dropped_other["bytes"] == len(lines_of(10_000))


@pytest.mark.parametrize("form", ["raw", "stamped", "json"])
def test_lines_in_every_form_are_whole_after_a_thaw(real_disk: Path, form: str) -> None:
    """Kills on a frozen disk included: each line is there in its form, or counted."""
    path = real_disk / "w.log"
    with Keeper() as keeper:
        number, writer = keeper.attach(path, max_size=200_000, backups=1000, form=form)
        said = lines_of(1000)
        say(writer, said)
        run("fsfreeze", "--freeze", str(real_disk))
        try:
            part = lines_of(20_000, 1000) + b"half a li"
            say(writer, part)
            said += part
            keeper.wait_for(said="dropped", path=str(path))
        finally:
            run("fsfreeze", "--unfreeze", str(real_disk))
        keeper.kill()
        part = b"ne\n" + lines_of(3000, 100_000) + b"last words"
        say(writer, part)
        said += part
        keeper.kill()
        os.close(writer)
        keeper.wait_for(said="done", stream=number)
        assert keeper.finish() == 0
        dropped = keeper.last("dropped", path)
    assert dropped is not None
    stored = whole(path)
    assert form == "raw" or stored.endswith(b"\n")
    lines = stored.decode().splitlines()
    found = (
        lines
        if form == "raw"
        else (
            [json.loads(line)["line"] for line in lines]
            if form == "json"
            else [line.split(" stdout ", 1)[1] for line in lines]
        )
    )
    texts = said.decode().splitlines()
    missing = iter(texts)
    assert all(line in missing for line in found)
    assert found[-1] == "last words"
    assert len(found) + dropped["lines"] == len(texts)


def test_workers_that_end_while_the_disk_is_frozen_are_let_go(real_disk: Path) -> None:
    """A crash loop during a frozen disk: every run's pipe is closed, none piles up."""
    path = real_disk / "w.log"
    with Keeper() as keeper:
        number, writer = keeper.attach(path)
        say(writer, b"before\n")
        keeper.ping()
        run("fsfreeze", "--freeze", str(real_disk))
        said = b"before\n"
        try:
            for place in range(150):
                part = b"run %d\n" % place * 20
                say(writer, part)
                said += part
                os.close(writer)
                keeper.retire(number)
                number, writer = keeper.attach(path)
            keeper.wait_for(said="done", stream=80)
        finally:
            run("fsfreeze", "--unfreeze", str(real_disk))
        os.close(writer)
        keeper.wait_for(said="done", stream=number)
        assert keeper.finish() == 0
        dropped = keeper.last("dropped", path)
    assert dropped is not None
    assert len(whole(path)) + dropped["bytes"] == len(said)
    check_whole_lines(whole(path), said)


def test_a_scribe_killed_on_a_frozen_disk_keeps_the_count(real_disk: Path) -> None:
    """SIGKILL waits for the thaw; the next scribe goes on with what was counted until then."""
    path = real_disk / "w.log"
    with Keeper() as keeper:
        number, writer = keeper.attach(path, max_size=100_000, backups=100)
        said = lines_of(1000)
        say(writer, said)
        run("fsfreeze", "--freeze", str(real_disk))
        try:
            part = lines_of(20_000, 1000) + b"half a li"
            say(writer, part)
            said += part
            keeper.wait_for(said="dropped", path=str(path))
            assert keeper.process is not None
            keeper.process.kill()
        finally:
            run("fsfreeze", "--unfreeze", str(real_disk))
        keeper.kill()
        part = b"ne\n" + lines_of(1000, 200_000)
        say(writer, part)
        said += part
        os.close(writer)
        keeper.wait_for(said="done", stream=number)
        assert keeper.finish() == 0
        dropped = keeper.last("dropped", path)
    assert dropped is not None
    stored = whole(path)
    assert len(stored) + dropped["bytes"] == len(said)
    assert stored.count(b"\n") + dropped["lines"] == said.count(b"\n")
    check_whole_lines(stored, said)
