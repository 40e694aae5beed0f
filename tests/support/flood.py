"""Writers with numbered lines, and the proof that every line arrived once, whole and in order."""

import re
import sys
from pathlib import Path

#: Writes "NAME NUMBER dots" lines of changing length, in bursts, until SIGTERM; then says how many.
WRITER = r"""
import os, random, signal, sys, time
name, burst, pause_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
rng = random.Random(name)
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
number = 0
while not ending:
    lines = []
    for _ in range(rng.randrange(1, burst + 1)):
        lines.append(b"%s %d %s\n" % (name.encode(), number, b"." * rng.randrange(0, 160)))
        number += 1
    data = b"".join(lines)
    while data:
        data = data[os.write(1, data):]
    time.sleep(pause_s)
data = b"%s end %d\n" % (name.encode(), number)
while data:
    data = data[os.write(1, data):]
"""


def writer_command(script: Path, name: str, *, burst: int = 50, pause_s: float = 0.005) -> str:
    """Return the `command = […]` line of a writer; *script* must hold `WRITER`."""
    words = [sys.executable, "-I", "-S", str(script), name, str(burst), str(pause_s)]
    listed = ", ".join(f'"{word}"' for word in words)
    return f"command = [{listed}]\n"


def segments(path: Path) -> list[Path]:
    """Return a log and its rotated predecessors, oldest first (a higher number is newer)."""
    rotated = [
        (int(found[1]), each)
        for each in path.parent.iterdir()
        if (found := re.fullmatch(re.escape(path.name) + r"\.(\d+)", each.name))
    ]
    return [each for _, each in sorted(rotated)] + ([path] if path.exists() else [])


def has_ended(path: Path) -> bool:
    """Return whether the writer's last words have arrived in its log."""
    return path.exists() and b" end " in path.read_bytes()[-400:]


def check_lines(path: Path, name: str) -> int:
    """Assert that every line arrived exactly once, whole and in order; return how many."""
    expected = 0
    end = None
    for segment in segments(path):
        data = segment.read_bytes()
        assert data.endswith(b"\n") or not data, f"{segment} ends in the middle of a line"
        for line in data.splitlines():
            words = line.decode().split(" ")
            assert words[0] == name, f"{segment}: {line!r}"
            assert end is None, f"{segment}: {line!r} after the end"
            if words[1] == "end":
                end = int(words[2])
                continue
            assert int(words[1]) == expected, f"{segment}: {line!r}, expected number {expected}"
            assert set(words[2]) <= {"."}, f"{segment}: {line!r} is cut"
            expected += 1
    assert end == expected, f"{path}: {expected} lines of {end}"
    return expected
