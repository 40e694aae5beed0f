"""Real log files: rotation, what other people do to them, and what workers write."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.scribe import WAIT_S, Keeper, segments, whole
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.process


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    with Keeper(stderr=subprocess.DEVNULL) as made:
        yield made


def holds(path: Path, data: bytes) -> None:
    """Wait until the log holds exactly *data*."""
    wait_until(
        lambda: whole(path) == data,
        what=f"{path} holds what was said",
        timeout_s=WAIT_S,
        on_timeout=lambda: repr(whole(path)[-200:]),
    )


def test_a_full_file_gets_the_next_number_and_the_oldest_goes(
    keeper: Keeper, tmp_path: Path
) -> None:
    """`max_size` and `backups`: no file is too long, no line is cut, the newest files stay."""
    path = tmp_path / "w.log"
    for name in ("w.log.7", "w.log.20240101", "w.log.old", "w.log.08"):
        (tmp_path / name).write_bytes(b"there before\n")
    number, writer = keeper.attach(path, max_size=1000, backups=3)
    lines = [b"line %d\n" % place for place in range(1000)]
    for line in lines:
        os.write(writer, line)
    os.close(writer)
    keeper.wait_for(said="done", stream=number)
    others = {"w.log.20240101", "w.log.08"}
    kept = [int(file.suffix[1:]) for file in segments(path)[:-1] if file.name not in others]
    assert len(kept) == 3
    assert kept[0] > 8, "numbers go on after the one that was there"
    assert kept == list(range(kept[0], kept[0] + 3))
    for name in ("w.log.20240101", "w.log.old", "w.log.08"):
        assert (tmp_path / name).exists(), "a name that is not ours is left alone"
    files = [tmp_path / f"w.log.{place}" for place in kept] + [path]
    stored = b"".join(file.read_bytes() for file in files)
    assert b"".join(lines).endswith(stored)
    for file in files:
        assert file.stat().st_size <= 1000 + len(lines[-1])
        assert file.read_bytes().endswith(b"\n")


def test_a_file_that_is_removed_renamed_or_loses_its_folder_comes_back(
    keeper: Keeper, tmp_path: Path
) -> None:
    """`rm`, `mv` and `rm -r` under a running worker: the next line is in a new file."""
    path = tmp_path / "deep" / "er" / "w.log"
    _, writer = keeper.attach(path)
    os.write(writer, b"one\n")
    holds(path, b"one\n")
    path.unlink()
    os.write(writer, b"two\n")
    holds(path, b"two\n")
    path.rename(path.with_name("w.old"))
    os.write(writer, b"three\n")
    holds(path, b"three\n")
    assert path.with_name("w.old").read_bytes() == b"two\n"
    shutil.rmtree(tmp_path / "deep")
    os.write(writer, b"four\n")
    holds(path, b"four\n")
    assert [oct(folder.stat().st_mode)[-3:] for folder in path.parents[:2]] == ["750", "750"]
    path.write_bytes(b"")  # logrotate's copytruncate
    os.write(writer, b"five\n")
    holds(path, b"five\n")
    assert path.stat().st_mode & 0o777 == 0o640
    os.close(writer)


@pytest.mark.parametrize("kind", ["folder", "symlink", "fifo"])
def test_what_is_not_a_file_is_refused_and_the_loss_is_told(
    keeper: Keeper, tmp_path: Path, kind: str
) -> None:
    """A directory, a link or a FIFO in the place of a log: production goes on, and is counted."""
    path = tmp_path / "w.log"
    if kind == "folder":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    _, writer = keeper.attach(path)
    os.write(writer, b"lost\n" * 20_000)
    reason = keeper.wait_for(said="trouble", path=str(path))["reason"]
    assert (
        reason
        == {
            "folder": "Is a directory",
            "symlink": "Is a symbolic link",
            "fifo": "Not a regular file",
        }[kind]
    )
    keeper.wait_for(said="dropped", path=str(path), bytes=100_000, lines=20_000)
    assert not (tmp_path / "elsewhere").exists()
    if kind == "folder":
        path.rmdir()
    else:
        path.unlink()
    # Asked once a second, when there is something to write.
    poll = select.poll()
    said = 0
    while keeper.last("resumed", path) is None:
        os.write(writer, b"again\n")
        said += 1
        poll.poll(50)
        keeper.receive()
    os.close(writer)
    keeper.wait_for(said="done", stream=1)
    dropped = keeper.last("dropped", path)
    assert dropped is not None
    assert whole(path).count(b"again\n") + dropped["lines"] == said + 20_000
    assert len([message for message in keeper.said if message["said"] == "trouble"]) == 1


def test_reopen_closes_the_old_file(keeper: Keeper, tmp_path: Path) -> None:
    """SIGUSR1 after logrotate: the old file is let go at once, not at the next line."""
    path = tmp_path / "w.log"
    _, writer = keeper.attach(path)
    os.write(writer, b"one\n")
    holds(path, b"one\n")
    path.rename(tmp_path / "w.log.old")
    keeper.tell({"do": "reopen"})
    folder = f"/proc/{keeper.pid}/fd"

    def is_open() -> bool:
        return any("w.log.old" in os.readlink(f"{folder}/{name}") for name in os.listdir(folder))

    keeper.ping()
    wait_until(lambda: not is_open(), what="the old file is closed")
    os.write(writer, b"two\n")
    holds(path, b"two\n")
    os.close(writer)


def test_any_bytes_are_stored_unchanged(keeper: Keeper, tmp_path: Path) -> None:
    """NUL, invalid UTF-8, a line of 10 MB: the checksum of the log is that of the output."""
    path = tmp_path / "w.log"
    number, writer = keeper.attach(path)
    expected = hashlib.sha256()
    for data in (os.urandom(3_000_000), b"x" * 10_000_000, b"\n", os.urandom(99)):
        expected.update(data)
        left = data
        while left:
            left = left[os.write(writer, left[:50_001]) :]
    os.close(writer)
    keeper.wait_for(said="done", stream=number)
    assert hashlib.sha256(path.read_bytes()).digest() == expected.digest()


def test_an_endless_line_cannot_grow_a_file_without_bound(keeper: Keeper, tmp_path: Path) -> None:
    """10 MB without a newline: cut into files at most 64 KiB longer than `max_size`."""
    path = tmp_path / "w.log"
    number, writer = keeper.attach(path, max_size=1_000_000, backups=100)
    left = b"before\n" + b"x" * 10_000_000 + b"\nafter\n"
    data = left
    while left:
        left = left[os.write(writer, left[:65536]) :]
    os.close(writer)
    keeper.wait_for(said="done", stream=number)
    assert whole(path) == data
    assert max(file.stat().st_size for file in segments(path)) <= 1_000_000 + 65536


def test_last_words_arrive_before_the_next_runs_first(keeper: Keeper, tmp_path: Path) -> None:
    """A worker's last 50 KB stand in the log before the first line of its next life."""
    path = tmp_path / "w.log"
    first, one = keeper.attach(path)
    second, two = keeper.attach(path)
    os.write(two, b"hello from the second life\n")
    words = b"".join(b"last words %d\n" % place for place in range(3000))
    os.write(one, words)
    os.close(one)
    keeper.retire(first)
    os.close(two)
    keeper.retire(second)
    keeper.wait_for(said="done", stream=second)
    said = [message["stream"] for message in keeper.said if message["said"] == "done"]
    assert said == [first, second]
    assert path.read_bytes() == words + b"hello from the second life\n"


def test_a_grandchild_that_keeps_the_pipe_is_waited_for_two_seconds(
    keeper: Keeper, tmp_path: Path
) -> None:
    """A process left behind cannot hold back the next run's log, not even by shouting."""
    path = tmp_path / "w.log"
    number, writer = keeper.attach(path)
    shout = "import os\nwhile 1: os.write(1, b'shout\\n' * 1000)"
    grandchild = subprocess.Popen([sys.executable, "-I", "-S", "-c", shout], stdout=writer)
    try:
        quiet_number, quiet = keeper.attach(tmp_path / "quiet.log")
        os.write(quiet, b"last words")
        keeper.retire(number, quiet_number)
        keeper.wait_for(said="done", stream=number)
        keeper.wait_for(said="done", stream=quiet_number)
        os.close(quiet)
        os.close(writer)
        assert (tmp_path / "quiet.log").read_bytes() == b"last words"
        # Our keeper has closed its end as well, so the grandchild meets a broken pipe.
        assert grandchild.wait(20) != 0
    finally:
        grandchild.kill()
        grandchild.wait()


def test_finish_writes_what_is_there_and_ends(keeper: Keeper, tmp_path: Path) -> None:
    """The daemon's end: every log is complete, and the process ends with 0."""
    numbers = []
    for place in range(40):
        number, writer = keeper.attach(tmp_path / f"w-{place}.log")
        os.write(writer, b"all I have to say\n" * 100)
        os.close(writer)
        numbers.append(number)
    assert keeper.finish() == 0
    assert keeper.done == set(numbers)
    for place in range(40):
        assert (tmp_path / f"w-{place}.log").read_bytes() == b"all I have to say\n" * 100


def test_when_the_keeper_dies_what_is_readable_is_written(tmp_path: Path) -> None:
    """A daemon that is killed leaves the workers' last words in their logs."""
    path = tmp_path / "w.log"
    with Keeper() as keeper:
        _, writer = keeper.attach(path)
        os.write(writer, b"early\n")
        holds(path, b"early\n")
        os.write(writer, b"late\n" * 5000)
        keeper.channel.close()
        assert keeper.process is not None
        assert keeper.process.wait(20) == 0
        os.close(writer)
    assert path.read_bytes() == b"early\n" + b"late\n" * 5000


def test_junk_on_the_channel_changes_nothing(keeper: Keeper, tmp_path: Path) -> None:
    """Messages that nobody understands are skipped."""
    path = tmp_path / "w.log"
    _, writer = keeper.attach(path)
    keeper.channel.send(b"\xff\x00 not JSON")
    keeper.channel.send(b"[1, 2]")
    keeper.tell({"do": "dance"}, [writer])
    os.write(writer, b"still here\n")
    keeper.ping()
    holds(path, b"still here\n")
    os.close(writer)


def test_the_idle_scribe_sleeps(keeper: Keeper, tmp_path: Path) -> None:
    """With nothing to do there is no tick: no thread of the process wakes up."""
    path = tmp_path / "w.log"
    _, writer = keeper.attach(path)
    os.write(writer, b"one\n")
    holds(path, b"one\n")

    def switches() -> int:
        total = 0
        for thread in os.listdir(f"/proc/{keeper.pid}/task"):
            with open(f"/proc/{keeper.pid}/task/{thread}/status") as status:
                total += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
        return total

    quiet = select.poll()
    seen = -1
    for _ in range(20):
        before, seen = seen, switches()
        if before == seen:
            return
        quiet.poll(1100)  # two looks of the second thread, and then it sleeps
    pytest.fail("the process never rests")


def test_output_that_is_inherited_arrives_in_whole_lines() -> None:
    """log.stdout = "inherit": many workers on one pipe, and no line inside another."""
    reader, writer = os.pipe()
    with Keeper(stderr=writer) as keeper:
        os.close(writer)
        pipes = [keeper.attach(None, fd=2) for _ in range(4)]
        received = b""
        lines = set()
        for turn in range(300):
            for number, pipe in pipes:
                line = b"%d.%d %s\n" % (number, turn, b"x" * (turn % 70))
                lines.add(line)
                os.write(pipe, line[:4])
                os.write(pipe, line[4:])
        for number, pipe in pipes:
            os.write(pipe, b"unended %d" % number)
            os.close(pipe)
            lines.add(b"unended %d\n" % number)
        size = sum(map(len, lines))
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        while len(received) < size:
            assert poll.poll(20_000), f"{len(received)} of {size} bytes came"
            received += os.read(reader, 65536)
        assert set(received.splitlines(keepends=True)) == lines
        assert keeper.finish() == 0
    os.close(reader)


def test_a_terminal_that_stands_still_stops_no_log(tmp_path: Path) -> None:
    """Ctrl-S on the daemon's terminal: files go on, and a flood is dropped and counted."""
    reader, writer = os.pipe()
    with Keeper(stderr=writer) as keeper:
        os.close(writer)
        _, loud = keeper.attach(None, fd=2)
        path = tmp_path / "w.log"
        _, quiet = keeper.attach(path)
        os.set_blocking(loud, False)
        poll = select.poll()
        poll.register(loud, select.POLLOUT)
        while keeper.last("dropped", "stderr") is None:
            poll.poll(100)
            with contextlib.suppress(BlockingIOError):
                os.write(loud, b"loud\n" * 100)
            keeper.receive()
        os.write(quiet, b"quiet\n")
        holds(path, b"quiet\n")
        os.close(quiet)
        os.close(loud)
    os.close(reader)
