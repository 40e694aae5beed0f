"""Whoever answers is killed by SIGKILL while SIZE commands run: until it answers again."""

import os
import signal
import statistics
import time

from tests.bench.contender import Contender
from tests.bench.workloads.common import LIVED_S, Figures, bring_up, sleepers
from tests.support.wait import wait_until

_KILLS = 5
_LOOK_EVERY_S = 0.001
_PAUSE_S = 0.3


def adoption(contender: Contender, size: int) -> Figures:
    """Measure from the kill to the next answer; no command is started again."""
    bring_up(contender, sleepers(contender, size), quiet_s=LIVED_S)
    wait_until(lambda: _answers(contender), what="a first answer", timeout_s=20)
    born = {birth.pid for birth in contender.births.every if birth.name[0] == "b"}
    took_ms = []
    for _ in range(_KILLS):
        pid = contender.control_pid()
        begun_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: _answers(contender), what="an answer", timeout_s=20, every_s=_LOOK_EVERY_S
        )
        took_ms.append((time.monotonic() - begun_s) * 1e3)
        contender.pause(_PAUSE_S)
    contender.births.read()
    again = {birth.pid for birth in contender.births.every if birth.name[0] == "b"} - born
    assert not again, f"{len(again)} commands were started again"
    return {"p50_ms": statistics.median(took_ms), "max_ms": max(took_ms)}


def _answers(contender: Contender) -> bool:
    try:
        return bool(contender.ask(1))
    except OSError:
        return False
