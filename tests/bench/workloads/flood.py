"""SIZE MiB of lines of 100 bytes from one command into rotated files, as fast as they are taken."""

import os
import signal
import time

from tests.bench.contender import Contender
from tests.bench.cost import cost
from tests.bench.workloads.common import Figures, a_command, bring_up
from tests.bench.written import LINE_BYTES, check_lines, wait_written

_MIB = 1024 * 1024


def flood(contender: Contender, size: int) -> Figures:
    """Measure the way of a flood from a pipe into files; check every byte of it."""
    lines = size * _MIB // LINE_BYTES
    command = a_command(contender, 0, "flood", str(lines), logged=True)
    bring_up(contender, [command])
    own = contender.own()
    before = cost(own)
    os.kill(contender.births.latest(command.name).pid, signal.SIGUSR1)
    wait_written(contender, [command.name], lines)
    end_ns = time.monotonic_ns()
    spent = cost(own).since(before)
    contender.births.read()
    took_s = (end_ns - contender.births.latest(f"{command.name}.go").at_ns) / 1e9
    check_lines(contender.log_files(command.name), lines)
    return {
        "mb_per_s": lines * LINE_BYTES / 1e6 / took_s,
        "cpu_s": spent.cpu_s,
        "files": len(contender.log_files(command.name)),
    }
