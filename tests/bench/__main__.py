"""`python -m tests.bench`: what the daemon costs, beside a floor and its peers.

Every figure is meant to be read as a ratio inside one call. Run it alone on a quiet machine:

    python -m tests.bench --install-peers FOLDER                  once
    python -m tests.bench --peers FOLDER --json FILE              a quarter of an hour
    python -m tests.bench --from FILE --readme README.md          the table of that run

The floor is the least that could do the work: a C program (floor.c), or a warm interpreter that
forks. Births are stamped by the children themselves (child.c), so that looking late never changes a
figure. Contenders take turns inside each repetition, each time another first; ratios are taken
inside one repetition. A contender that needs long is asked for fewer repetitions. Whoever does the
work wrongly has no figures, but a reason; so have those who are absent.
"""

import argparse
import compileall
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import supervisord_lite
from tests.bench import plans, readme, runs
from tests.bench.bench import Bench
from tests.bench.contender import Contender
from tests.bench.contenders import peer
from tests.bench.contenders.circus import Circus
from tests.bench.contenders.floor import Floor
from tests.bench.contenders.gunicorn import Gunicorn
from tests.bench.contenders.ours import Ours
from tests.bench.contenders.runit import Runit
from tests.bench.contenders.s6 import S6
from tests.bench.contenders.supervisor import Supervisor
from tests.bench.machine import machine
from tests.bench.native import build
from tests.bench.report import summarize, table
from tests.bench.sweep import FOLDER_PREFIX, sweep
from tests.support import leftovers

_BUSY_LOAD = 0.5
_PEERS: tuple[type[Contender], ...] = (Supervisor, Circus, Gunicorn, Runit, S6)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", metavar="NAME,…", help=f"of {','.join(plans.NAMES)}")
    parser.add_argument("--size", metavar="NAME=N,…", action="append", default=[],
                        help="other sizes for one workload")  # fmt: skip
    parser.add_argument("--repetitions", metavar="N", type=int, default=0,
                        help="just so many, whatever the time")  # fmt: skip
    parser.add_argument("--seconds", metavar="S", type=float, default=0.0,
                        help="how long those look on that do")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every run as a line")
    parser.add_argument("--folder", metavar="PATH", type=Path, default=Path(tempfile.gettempdir()),
                        help="where the runs live: the file system of the logs")  # fmt: skip
    parser.add_argument("--peers", metavar="FOLDER", type=Path,
                        help="where --install-peers has put them")  # fmt: skip
    parser.add_argument("--alone", action="store_true", help="ours and the floor only")
    parser.add_argument("--install-peers", metavar="FOLDER", type=Path,
                        help="install them there, and as root runit and s6")  # fmt: skip
    parser.add_argument("--from", dest="record", metavar="FILE", type=Path,
                        help="measure nothing: show what --json has written")  # fmt: skip
    parser.add_argument("--readme", metavar="FILE", type=Path,
                        help="write the table between its marks")  # fmt: skip
    arguments = parser.parse_args(words)
    arguments.sizes = {}
    for text in arguments.size:
        name, _, numbers = text.partition("=")
        try:
            arguments.sizes[name] = tuple(map(int, numbers.split(",")))
        except ValueError:
            parser.error(f"--size: {text!r} is not NAME=N,…")
    arguments.only = arguments.only.split(",") if arguments.only else list(plans.NAMES)
    unknown = {*arguments.only, *arguments.sizes} - set(plans.NAMES)
    if unknown:
        there_are = ", ".join(plans.NAMES)
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {there_are}")
    return arguments


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 when a contender could not do its work, else 0."""
    arguments = _arguments(words)
    if arguments.install_peers:
        peer.install(_PEERS, arguments.install_peers.absolute())
        return 0
    record = runs.read(arguments.record) if arguments.record else _measure(arguments)
    print("\n".join(_shown(record)))
    if arguments.readme:
        readme.write(arguments.readme, record)
    has_failed = any(miss.kind == "failed" for miss in record.misses)
    return 1 if has_failed and not arguments.record else 0


def _measure(arguments: argparse.Namespace) -> runs.Record:
    peer.VenvPeer.folder_of_peers = arguments.peers and arguments.peers.absolute()
    chosen = [
        plans.plan(name, sizes=arguments.sizes.get(name, ()), repetitions=arguments.repetitions,
                   seconds=arguments.seconds)
        for name in arguments.only
    ]  # fmt: skip
    for line in sweep(arguments.folder):
        print(line, file=sys.stderr)
    # As pip does for whoever installs it, and as it has done for the peers.
    compileall.compile_dir(Path(supervisord_lite.__file__).parent, quiet=1)
    begun_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        path = arguments.json
        writer = runs.Writer(stack.enter_context(path.open("w")) if path else None)
        stack.enter_context(_nothing_left(arguments.folder))
        folder = stack.enter_context(_own_folder(arguments.folder))
        natives = build(folder)
        facts = machine(natives, folder)
        facts["seconds"] = {plan.name: plan.seconds for plan in chosen if plan.seconds}
        writer.write("machine", facts)
        peers = () if arguments.alone else _PEERS
        here: list[type[Contender]] = [Floor, Ours, *(kind for kind in peers if not kind.missing())]
        versions = {kind.name: kind.version() for kind in here}
        writer.write("versions", versions)
        bench = Bench(here, natives, folder, writer)
        for kind in peers:
            if reason := kind.missing():
                bench.absent(kind, reason)
        bench.measure(chosen)
    print(f"took {(time.monotonic() - begun_s) / 60:.1f} minutes", file=sys.stderr)
    return runs.Record(facts, versions, bench.runs, bench.misses)


@contextlib.contextmanager
def _own_folder(parent: Path) -> Iterator[Path]:
    """Make a folder whose name tells `sweep` whose it is; remove it at the end."""
    prefix = f"{FOLDER_PREFIX}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
        yield Path(name)


@contextlib.contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Clear away at the end, and tell, what all others have failed to; cgroups too."""
    session = leftovers.Session(folder)
    try:
        yield
    finally:
        for line in session.end():
            print(f"was left, and is cleared away: {line}", file=sys.stderr)


def _shown(record: runs.Record) -> Iterator[str]:
    """Yield what people read."""
    yield ", ".join(f"{key} {value}" for key, value in record.machine.items())
    yield ", ".join(f"{name} {text}" for name, text in record.versions.items())
    if record.machine.get("natives") == "Python":
        yield "no C compiler: the commands are Python, and there is no floor for them"
    if float(record.machine.get("load", 0.0)) > _BUSY_LOAD:
        yield "the machine was busy before the first run: do not trust what has a wide spread"
    if any(run.facts.get("cgroup_each") for run in record.runs):
        yield "ours: each command in a cgroup of its own"
    yield from (miss.sentence for miss in record.misses)
    yield table(summarize(record.runs))


def _end(_number: int, _frame: object) -> None:
    """Turn SIGTERM into an end in which all that runs is cleared away."""
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
