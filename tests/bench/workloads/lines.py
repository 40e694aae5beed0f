"""SIZE commands that write 1000 lines of 100 bytes each second: what it costs to keep them."""

import os
import signal

from tests.bench.contender import Contender
from tests.bench.cost import cost
from tests.bench.workloads.common import Figures, Workload, a_command, bring_up
from tests.bench.written import check_lines, wait_written

_PER_S = 1000


def lines(seconds: float) -> Workload:
    """Return the workload that goes on for so many seconds."""

    def measure(contender: Contender, size: int) -> Figures:
        each = int(seconds * _PER_S)
        mode = ("pace", str(each), str(_PER_S))
        commands = [a_command(contender, index, *mode, logged=True) for index in range(size)]
        bring_up(contender, commands)
        own = contender.own()
        before = cost(own)
        for command in commands:
            os.kill(contender.births.latest(command.name).pid, signal.SIGUSR1)
        wait_written(contender, [command.name for command in commands], each, every_s=0.05)
        spent = cost(own).since(before)
        for command in commands:
            check_lines(contender.log_files(command.name), each)
        return {"cpu_s": spent.cpu_s, "cpu_us_per_line": spent.cpu_s * 1e6 / (each * size)}

    return measure
