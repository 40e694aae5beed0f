"""The floor of Python workers: a warm interpreter that forks.    warm_floor.py BIRTHS NAME..."""

# mypy: disable-error-code="import-not-found"

import gc
import os
import signal
import sys

import stack
from stamp import sleep, stamp

assert stack
alive: dict[int, str] = {}


def fork(name: str) -> None:
    """Start a worker."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stamp(sys.argv[1], name)
        sleep()
    alive[pid] = name


def end(_number: int, _frame: object) -> None:
    """End all of them, and itself."""
    for pid in alive:
        os.kill(pid, signal.SIGTERM)
    os._exit(0)


gc.collect()
gc.freeze()
signal.signal(signal.SIGTERM, end)
for each in sys.argv[2:]:
    fork(each)
while True:
    fork(alive.pop(os.wait()[0]))
