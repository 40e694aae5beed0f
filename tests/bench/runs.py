"""Runs as records, and as lines of JSON that can be read again."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True)
class Run:
    """One workload, done once by one contender."""

    workload: str
    size: int
    contender: str
    repetition: int
    figures: dict[str, float]
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Miss:
    """A contender without figures.

    Attributes:
        kind: "absent" (not installed), "abstains" (it cannot do that), "failed".
        workload: Empty: all of them.
        size: Of the workload that failed; else 0.
        reason: For people; its first line is enough for a table.
    """

    kind: str
    contender: str
    workload: str
    size: int
    reason: str

    @property
    def sentence(self) -> str:
        """Return it in one line."""
        where = f"{self.workload} {self.size or ''}".strip()
        what = " ".join(filter(None, [self.contender, self.kind, where and f"({where})"]))
        return f"{what}: {self.reason.partition(chr(10))[0]}"


@dataclass(frozen=True)
class Record:
    """All that one call has measured.

    Attributes:
        machine: What the figures depend on.
        versions: Of those that took part, by their name.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    runs: list[Run]
    misses: list[Miss]


class Writer:
    """Lines of JSON, each an object with one key that says what it is; written as they come."""

    def __init__(self, file: TextIO | None) -> None:
        """Write into *file*, or nowhere."""
        self._file = file

    def write(self, kind: str, value: Run | Miss | dict[str, Any]) -> None:
        """Write one line: machine, versions, run or miss."""
        if self._file is not None:
            data = value if isinstance(value, dict) else asdict(value)
            self._file.write(json.dumps({kind: data}) + "\n")
            self._file.flush()


def read(path: Path) -> Record:
    """Return what a Writer has written.

    Raises:
        ValueError: That is no such file.
        OSError: It cannot be read.
    """
    record = Record({}, {}, [], [])
    for line in path.read_text().splitlines():
        for kind, data in json.loads(line).items():
            match kind:
                case "machine":
                    record.machine.update(data)
                case "versions":
                    record.versions.update(data)
                case "run":
                    record.runs.append(Run(**data))
                case "miss":
                    record.misses.append(Miss(**data))
                case _:
                    message = f"{path}: what is a {kind!r}?"
                    raise ValueError(message)
    return record


def with_derived(runs: Iterable[Run]) -> list[Run]:
    """Return *runs*, those of idle with what a further command costs in memory.

    That is the difference between the largest and the smallest size of the same repetition.
    """
    runs = list(runs)
    smallest: dict[tuple[str, int], Run] = {}
    for run in runs:
        key = (run.contender, run.repetition)
        if run.workload == "idle" and (key not in smallest or run.size < smallest[key].size):
            smallest[key] = run
    return [_derived(run, smallest.get((run.contender, run.repetition))) for run in runs]


def _derived(run: Run, base: Run | None) -> Run:
    if run.workload != "idle" or base is None or base.size == run.size:
        return run
    if "pss_mib" not in run.figures or "pss_mib" not in base.figures:
        return run
    more_kib = 1024 * (run.figures["pss_mib"] - base.figures["pss_mib"])
    figures = run.figures | {"pss_kib_each": more_kib / (run.size - base.size)}
    return Run(run.workload, run.size, run.contender, run.repetition, figures, run.facts)
