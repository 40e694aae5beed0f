"""The order of the runs: contenders alternate inside each repetition, each time another first."""

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from tests.bench.contender import Contender
from tests.bench.contenders.floor import AnsweringFloor, Floor
from tests.bench.native import Natives
from tests.bench.plans import Plan
from tests.bench.runs import Miss, Run, Writer

#: From then on whatever is left is done once: a whole run ends within a quarter of an hour.
_ONCE_AFTER_S = 600.0
#: The floor of an adoption is another one.
_FLOORS = {"adoption": AnsweringFloor}
_OF_PYTHON = ("python-start", "python-restart")


class Bench:
    """All runs of one call.

    Attributes:
        runs: Those that went well.
        misses: Who took no part in what, and why: absent, abstaining or failed.
    """

    def __init__(
        self,
        contenders: Sequence[type[Contender]],
        natives: Natives,
        folder: Path,
        writer: Writer,
        *,
        patience: float = 1.0,
    ) -> None:
        """Prepare.

        Args:
            contenders: Who takes part.
            natives: The child and the floor.
            folder: Where the runs live, and so the file system of the logs.
            writer: Takes every run at once.
            patience: Of the contenders.
        """
        self._contenders = contenders
        self._natives = natives
        self._folder = folder
        self._writer = writer
        self._patience = patience
        self.runs: list[Run] = []
        self.misses: list[Miss] = []

    def measure(self, plans: Iterable[Plan]) -> None:
        """Do every workload of every size, each contender as often as its time allows."""
        once_at_s = time.monotonic() + _ONCE_AFTER_S
        for plan in plans:
            kinds = [kind for kind in self._contenders if self._takes_part(kind, plan.name)]
            for size in plan.sizes:
                self._measure_size(plan, size, kinds, once_at_s)

    def _measure_size(
        self, plan: Plan, size: int, kinds: Sequence[type[Contender]], once_at_s: float
    ) -> None:
        left = list(kinds)
        spent_s = dict.fromkeys(kinds, 0.0)
        for repetition in range(plan.repetitions):
            if repetition and time.monotonic() > once_at_s:
                return
            turn = repetition % max(1, len(left))
            for kind in left[turn:] + left[:turn]:
                begun_s = time.monotonic()
                is_well = self._run(plan, size, repetition, kind)
                took_s = time.monotonic() - begun_s
                spent_s[kind] += took_s
                # Who has failed would fail again, after a long wait.
                if not is_well or spent_s[kind] + took_s > plan.budget_s:
                    left.remove(kind)

    def _takes_part(self, kind: type[Contender], workload: str) -> bool:
        reason = kind.abstains.get(workload, "")
        if issubclass(kind, Floor) and workload not in _OF_PYTHON and not self._natives.floor:
            reason = "there is no C compiler"
        if reason:
            self._miss(Miss("abstains", kind.name, workload, 0, reason))
        return not reason

    def absent(self, kind: type[Contender], reason: str) -> None:
        """Note somebody who is not installed."""
        self._miss(Miss("absent", kind.name, "", 0, reason))

    def _miss(self, miss: Miss) -> None:
        self.misses.append(miss)
        self._writer.write("miss", miss)

    def _run(self, plan: Plan, size: int, repetition: int, kind: type[Contender]) -> bool:
        if issubclass(kind, Floor):
            kind = _FLOORS.get(plan.name, kind)
        print(f"{plan.name} {size} {kind.name} ({repetition + 1})", file=sys.stderr, flush=True)
        try:
            with kind(self._natives, self._folder, patience=self._patience) as contender:
                try:
                    figures = plan.measure(contender, size)
                    facts = contender.facts()
                except BaseException as error:
                    error.add_note(f"output: {contender.output()[-2000:]}")
                    raise
        except (AssertionError, OSError, psutil.Error, subprocess.SubprocessError) as error:
            text = "\n".join([str(error), *getattr(error, "__notes__", [])])
            self._miss(Miss("failed", kind.name, plan.name, size, text))
            return False
        run = Run(plan.name, size, kind.name, repetition, figures, facts)
        self.runs.append(run)
        self._writer.write("run", run)
        return True
