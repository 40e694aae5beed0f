"""`python -m tests.bench`: what the daemon costs, beside a floor and its peers.

Every figure is meant to be read as a ratio inside one call. Run it alone on a quiet machine.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import workloads
from tests.bench.bench import Bench, Plan, machine
from tests.bench.contender import Contender
from tests.bench.floor import Floor
from tests.bench.native import build
from tests.bench.ours import Ours
from tests.bench.peers import PySupervisor, Runit
from tests.bench.report import Writer, summarize, table

_BUSY_LOAD = 0.5
_SIZES = {"start": (100, 1000), "restart": (200,), "logs": (256,), "idle": (100, 500)}


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME,…", help=f"of {','.join(_SIZES)}")
    parser.add_argument("--size", metavar="NAME=N,…", action="append", default=[],
                        help="other sizes for one workload")  # fmt: skip
    parser.add_argument("--repetitions", metavar="N", type=int, default=5)
    parser.add_argument("--idle-seconds", metavar="S", type=float, default=20.0)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every run as a line")
    parser.add_argument("--folder", metavar="PATH", type=Path, default=Path(tempfile.gettempdir()),
                        help="where the runs live: the file system of the logs")  # fmt: skip
    parser.add_argument("--peer", metavar="supervisor=VENV", action="append", default=[],
                        help="a peer; runit takes part where it is installed")  # fmt: skip
    parser.add_argument("--alone", action="store_true", help="ours and the floor only")
    arguments = parser.parse_args(words)
    arguments.sizes = dict(_SIZES)
    for text in arguments.size:
        name, _, numbers = text.partition("=")
        try:
            arguments.sizes[name] = tuple(map(int, numbers.split(",")))
        except ValueError:
            parser.error(f"--size: {text!r} is not NAME=N,…")
    arguments.only = arguments.only.split(",") if arguments.only else list(_SIZES)
    unknown = {*arguments.only, *arguments.sizes} - _SIZES.keys()
    if unknown:
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(_SIZES)}")
    peers = [text.partition("=") for text in arguments.peer]
    if any(name != "supervisor" or not path for name, _, path in peers):
        parser.error("--peer: write supervisor=VENV")
    arguments.venvs = [Path(path).absolute() for _, _, path in peers]
    return arguments


def _contenders(arguments: argparse.Namespace) -> list[type[Contender]]:
    contenders: list[type[Contender]] = [Floor, Ours]
    if arguments.alone:
        return contenders
    if Runit.is_installed():
        contenders.append(Runit)
    for venv in arguments.venvs:
        PySupervisor.venv = venv
        contenders.append(PySupervisor)
    return contenders


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 when any contender could not do its work, else 0."""
    arguments = _arguments(words)
    measures = {
        "start": workloads.start,
        "restart": workloads.restart,
        "logs": workloads.logs,
        "idle": workloads.idle(arguments.idle_seconds),
    }
    plans = [Plan(name, measures[name], arguments.sizes[name]) for name in arguments.only]
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="sdl-bench-", dir=arguments.folder)
            )
        )
        path = arguments.json
        writer = Writer(stack.enter_context(path.open("w")) if path else None)
        natives = build(folder)
        facts = machine(natives, folder)
        writer.write("machine", facts)
        bench = Bench(_contenders(arguments), natives, folder, writer)
        bench.measure(plans, arguments.repetitions)
        summaries = summarize(bench.runs)
        for summary in summaries:
            writer.write("summary", summary)
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print("\n".join(_remarks(bench, facts)))
    print(table(summaries))
    return 1 if bench.failures else 0


def _remarks(bench: Bench, facts: dict[str, object]) -> Iterator[str]:
    """Yield what must be known to read the table."""
    if facts["natives"] == "Python":
        yield "no C compiler: the commands and the floor are Python, so ratios are too kind"
    if float(str(facts["load"])) > _BUSY_LOAD:
        yield "the machine was busy before the first run: do not trust what has a wide spread"
    if any(run.facts.get("cgroup_each") for run in bench.runs):
        yield "ours: each command in a cgroup of its own"
    yield from (f"FAILED: {failure}" for failure in bench.failures)


if __name__ == "__main__":
    sys.exit(main())
