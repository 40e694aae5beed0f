"""The scribe is killed again and again while workers write: nothing is lost, doubled or cut."""

from __future__ import annotations

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import select
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from supervisord_lite.scribe.memory import IDLE
from tests.support.scribe import Keeper, segments, whole

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 200
#: Bursts that fill the pipe again and again, then a breath.
FLOOD = """
import os, random, sys, time
rng = random.Random(sys.argv[1]); n = 0; over = []
import signal; signal.signal(signal.SIGTERM, lambda *_: over.append(1))
while not over:
    for _ in range(rng.randrange(1, 40)):
        block = b""
        for _ in range(rng.randrange(1, 120)):
            block += b"%d %s\\n" % (n, b"x" * rng.randrange(0, 200)); n += 1
        while block:
            block = block[os.write(1, block[: rng.randrange(1, 9000)]) :]
    time.sleep(rng.random() * 0.4)
os.write(1, b"end %d\\n" % n)
"""
#: Lines of 2 to 8 bytes, one write each, sometimes in two.
TRICKLE = """
import os, random, sys, time
rng = random.Random(sys.argv[1]); n = 0; over = []
import signal; signal.signal(signal.SIGTERM, lambda *_: over.append(1))
while not over:
    line = b"%d\\n" % n; n += 1
    cut = rng.randrange(0, len(line) + 1)
    for part in (line[:cut], line[cut:]):
        if part: os.write(1, part)
    if rng.random() < 0.3: time.sleep(rng.random() * 0.003)
os.write(1, b"end %d\\n" % n)
"""


@pytest.mark.process
@pytest.mark.slow
def test_two_hundred_kills_under_flood_lose_nothing(tmp_path: Path) -> None:
    """kill -9 of the log process, 200 times: every line is there once, whole, and in order."""
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    rng = random.Random(seed)
    pause = select.poll()
    workers: list[tuple[Path, int, subprocess.Popen[bytes]]] = []
    found: list[int] = []
    with Keeper() as keeper:
        try:
            for place in range(8):
                path = tmp_path / f"w-{place}.log"
                script, max_size = (FLOOD, 150_000) if place < 5 else (TRICKLE, 3000)
                number, writer = keeper.attach(path, max_size=max_size, backups=100_000)
                arguments = [sys.executable, "-I", "-S", "-c", script, f"{seed}-{place}"]
                workers.append((path, number, subprocess.Popen(arguments, stdout=writer)))
                os.close(writer)
            for _ in range(KILLS):
                pause.poll(rng.uniform(30, 100))
                found.append(keeper.kill())
            for _, _, worker in workers:
                worker.terminate()
            for path, number, worker in workers:
                assert worker.wait(20) == 0, path
                keeper.retire(number)
            for _, number, _ in workers:
                keeper.wait_for(said="done", stream=number)
        finally:
            for _, _, worker in workers:
                worker.kill()
                worker.wait()
        assert keeper.finish() == 0
        assert not [message for message in keeper.said if message["said"] == "dropped"]
    sys.stdout.write(f"phases at the kills: {sorted(found)}\n")
    assert len([phase for phase in found if phase != IDLE]) >= 5, "kills must meet work"
    rotations = 0
    for path, _, _ in workers:
        lines = whole(path).split(b"\n")
        assert lines.pop() == b""
        end = lines.pop()
        numbers = [int(line.split(b" ", 1)[0]) for line in lines]
        assert numbers == list(range(len(numbers))), path
        assert end == b"end %d" % len(numbers), path
        files = segments(path)
        rotations += len(files) - 1
        assert all(file.read_bytes().endswith(b"\n") for file in files), path
    assert rotations > 40, "the kills must meet rotations"


def test_a_scribe_that_makes_room_leaves_nothing_behind(tmp_path: Path) -> None:
    """In good order also what goes to the daemon's own output is whole: half lines, and floods."""
    reader, output = os.pipe()
    passed: list[bytes] = []
    listener = threading.Thread(
        target=lambda: passed.extend(iter(lambda: os.read(reader, 65536), b""))
    )
    listener.start()
    path = tmp_path / "w.log"
    said = b""
    with Keeper(stderr=output) as keeper:
        _, to_file = keeper.attach(path, max_size=20_000, backups=1000)
        _, to_output = keeper.attach(None, fd=2)
        for turn in range(12):
            lines = b"".join(b"%d.%d %s\n" % (turn, i, b"x" * (i % 70)) for i in range(300))
            cut = len(lines) - turn * 3
            for pipe in (to_file, to_output):
                os.write(pipe, lines[:cut])
            keeper.ping()
            assert keeper.leave() == IDLE
            for pipe in (to_file, to_output):
                os.write(pipe, lines[cut:])
            said += lines
        for pipe in (to_file, to_output):
            os.close(pipe)
        assert keeper.finish() == 0
    os.close(output)
    listener.join()
    os.close(reader)
    assert whole(path) == said
    assert b"".join(passed) == said
