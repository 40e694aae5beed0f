"""The state of SIZE commands: by what people type, and over the socket."""

import statistics
import time

from tests.bench.contender import Contender
from tests.bench.workloads.common import LIVED_S, Figures, bring_up, sleepers

_COMMANDS = 5
_QUESTIONS = 20


def status(contender: Contender, size: int) -> Figures:
    """Measure a whole command, from its start to its end, and one question of each kind."""
    bring_up(contender, sleepers(contender, size), quiet_s=LIVED_S)
    command = contender.status_command()
    took_ms = []
    for _ in range(_COMMANDS):
        begun_s = time.perf_counter()
        said = contender.call(command)
        took_ms.append((time.perf_counter() - begun_s) * 1e3)
        assert said.count("\n") >= size, f"{said.count(chr(10))} lines of {size}: {said[:300]}"
    figures = {"command_ms": statistics.median(took_ms)}
    if asked_s := contender.ask(_QUESTIONS):
        figures["raw_ms"] = statistics.median(asked_s) * 1e3
    if asked_s := contender.ask_states(_QUESTIONS):
        figures["states_ms"] = statistics.median(asked_s) * 1e3
    return figures
