"""Stands in for a pool of queue workers: warm stop by SIGTERM, at once by SIGQUIT.

It grows by what the file GROW holds (MiB), so that a test can make it too large.
"""

import os
import signal
import sys
import threading
from pathlib import Path

stopping = threading.Event()
for number in (signal.SIGTERM, signal.SIGQUIT):
    signal.signal(number, lambda *_: stopping.set())
name, port = sys.argv[1], int(os.environ["METRICS_PORT"])
level = os.environ.get("LOG_LEVEL", "none")
sys.stdout.write(f"{name} listens for metrics on {port}, {level}\n")
sys.stdout.flush()
held = b""
while not stopping.wait(0.05):
    wanted = Path(f"../../jobs/grow-{name}")
    if not held and wanted.exists():
        held = b"x" * (int(wanted.read_text()) << 20)
