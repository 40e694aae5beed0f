"""SIZE commands that exit at once, under the policy that a contender has by itself."""

import time
from dataclasses import replace

from tests.bench.contender import Contender
from tests.bench.cost import cost
from tests.bench.workloads.common import BIRTHS_S, Figures, Workload, a_command


def storm(seconds: float) -> Workload:
    """Return the workload that looks for so many seconds from the first births on."""

    def measure(contender: Contender, size: int) -> Figures:
        commands = [a_command(contender, index, "exit") for index in range(size)]
        contender.start([replace(command, as_shipped=True) for command in commands])
        births = contender.births
        births.wait_names([command.name for command in commands], timeout_s=BIRTHS_S)
        own = contender.lasting()
        before = cost(own)
        number, begun_s = len(births.every), time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - begun_s
        spent = cost(own).since(before)
        births.read()
        contender.check_lives()
        return {
            "cpu_percent": 100 * spent.cpu_s / took_s,
            "births": float(len(births.every) - number),
        }

    return measure
