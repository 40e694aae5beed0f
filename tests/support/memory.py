"""What is in the memory of another process, for those who look for what must not be there."""

from collections.abc import Iterator
from pathlib import Path


def memory_of(pid: int) -> Iterator[tuple[str, bytes]]:
    """Yield a name and the content of each writable part of a process's memory; needs root."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if not rights.startswith("rw") or "[v" in line:
                continue
            start, end = (int(word, 16) for word in span.split("-"))
            try:
                memory.seek(start)
                yield f"memory {pid} {span}", memory.read(end - start)
            except (OSError, ValueError):
                continue


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
