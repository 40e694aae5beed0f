"""The order of the runs: contenders alternate inside each repetition, each time another first."""

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from supervisord_lite import __version__
from tests.bench.contender import Contender
from tests.bench.native import Natives
from tests.bench.report import Run, Writer
from tests.bench.workloads import Workload


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    name: str
    measure: Workload
    sizes: tuple[int, ...]


class Bench:
    """All runs of one call.

    Attributes:
        runs: Those that went well.
        failures: A sentence for each that did not.
    """

    def __init__(
        self, contenders: Sequence[type[Contender]], natives: Natives, folder: Path, writer: Writer
    ) -> None:
        """Prepare.

        Args:
            contenders: Who takes part.
            natives: The child and the floor.
            folder: Where the runs live, and so the file system of the logs.
            writer: Takes every run at once.
        """
        self._contenders = contenders
        self._natives = natives
        self._folder = folder
        self._writer = writer
        self.runs: list[Run] = []
        self.failures: list[str] = []

    def measure(self, plans: Iterable[Plan], repetitions: int) -> None:
        """Do every workload of every size so many times."""
        for plan in plans:
            for size in plan.sizes:
                left = list(self._contenders)
                for repetition in range(repetitions):
                    turn = repetition % max(1, len(left))
                    for contender in left[turn:] + left[:turn]:
                        if not self._run(plan, size, repetition, contender):
                            # It would fail again, after a long wait.
                            left.remove(contender)

    def _run(self, plan: Plan, size: int, repetition: int, kind: type[Contender]) -> bool:
        where = f"{plan.name} {size} {kind.name}"
        print(f"{where} ({repetition + 1})", file=sys.stderr, flush=True)
        try:
            with kind(self._natives, self._folder) as contender:
                try:
                    figures = plan.measure(contender, size)
                    facts = contender.facts()
                except BaseException as error:
                    error.add_note(f"output: {contender.output()[-2000:]}")
                    raise
        except (AssertionError, OSError, psutil.Error) as error:
            text = "\n".join([f"{where}: {error}", *getattr(error, "__notes__", [])])
            self.failures.append(text)
            self._writer.write("failure", {"contender": kind.name, "text": text})
            return False
        run = Run(plan.name, size, kind.name, repetition, figures, facts)
        self.runs.append(run)
        self._writer.write("run", run)
        return True


def machine(natives: Natives, folder: Path) -> dict[str, object]:
    """Return what the figures depend on, beside the code."""
    mounts = [
        mount for mount in psutil.disk_partitions(all=True)
        if folder.resolve().is_relative_to(mount.mountpoint)
    ]  # fmt: skip
    return {
        "version": __version__,
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "natives": natives.kind,
        "file_system": max(mounts, key=lambda mount: len(mount.mountpoint)).fstype,
        "load": os.getloadavg()[0],
        "root": os.geteuid() == 0,
    }
