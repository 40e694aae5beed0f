"""A soak: hundreds of workers, a fault every few tenths of a second, and what must always hold.

Theory of operation
===================

::

    schedule.py   what happens when; follows from the seed
    chaos.py      does it            ── orders go through ──▶ people.py, clients ──▶ clients.py
    watch.py      looks from outside, all the time: answers, pids, neighbours, no slot with two
    flat.py       descriptors, processes, files: as before after each round; memory: no slope
    judge.py      at the end: lines, events, starts
    programs.py   the workers, who write down themselves what they did

A soak has rounds. In each there is chaos for a while; then everything is undone (who was paused
goes on, disks have room), and what people want must be running within `SETTLE_S`. Then they order
what was in the beginning, and everything that can be counted must come back to what it was before
the first fault. At the end all are stopped, each line is looked for, and the daemon must end with 0
and leave nothing.

The first thing that must not be ends it: with the seed, the latest faults and what the daemon has
said; the folder of the daemon is kept where somebody wants it.

The time of day is not among the faults: a machine has one, and a namespace of the kernel can move
all clocks but that. Those who look at it are met by steps in tests of their own.
"""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak import judge
from tests.soak.chaos import Chaos
from tests.soak.flat import (
    GROWTH_BYTES,
    MIB,
    STATE_BYTES_PER_WORKER,
    Counts,
    Sampler,
    count,
    state_sizes,
)
from tests.soak.fleet import WORLD, Fleet, make_fleet
from tests.soak.people import Operator
from tests.soak.schedule import Fault, schedule
from tests.soak.watch import P99_S, Watch, p99
from tests.support.daemon import Daemon
from tests.support.disks import a_disk, a_small_disk, can_mount
from tests.support.wait import pass_time, wait_until

#: Within this time everything that people want runs again.
SETTLE_S = 30.0
#: And everything that is counted is what it was.
CALM_S = 30.0
_START_S = 60.0
#: Of each round, for faults; then comes the calm.
_CHAOS_SHARE = 0.75
_ROUND_S = 60.0
_TOLD_LINES = 40
#: Files of writers that were killed just now, and of one that is at it.
_UNFINISHED = 2


class InvariantBrokenError(AssertionError):
    """Something was not as it must be."""


@dataclass
class Report:
    """What came of it.

    Attributes:
        settled_s: How long it took after each round until all ran.
    """

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    settled_s: list[float] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return all of it, for people."""
        happened = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        answered = ", ".join(f"{name} {count}" for name, count in sorted(self.answers.items()))
        settled = ", ".join(f"{each:.1f}" for each in self.settled_s)
        return "\n".join(
            [
                f"seed {self.seed}: {self.faults.total()} faults: {happened}",
                f"orders: {answered}",
                f"all ran again after {settled} s",
                *self.lines,
            ]
        )


class _Daemon(Daemon):
    """One that is long-winded: of what it has said only the end is shown."""

    def _report(self, why: str) -> None:
        told = "\n".join(self.output().splitlines()[-_TOLD_LINES:])
        sys.stderr.write(f"--- {why}; the daemon's last words:\n{told}\n")


class Soak:
    """One daemon, from its start to its end."""

    def __init__(
        self, fleet: Fleet, *, seed: int, seconds: float, only: Collection[str] = (),
        keep: Path | None = None,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            fleet: The workers.
            seed: Of the faults.
            seconds: How long rounds last together; start and end come on top.
            only: Kinds of faults; all without any.
            keep: Where the folder of a daemon that failed is kept; None: nowhere.
        """
        self._fleet = fleet
        self._keep = keep
        rounds = max(2, round(seconds / _ROUND_S))
        chaos_s = seconds / rounds * _CHAOS_SHARE
        self._rounds = schedule(seed, rounds, chaos_s, fleet, only)
        self._daemon = _Daemon(fleet.text())
        self._world = self._daemon.folder / WORLD
        for name in ("locks", "said", "starts", "heard"):
            (self._world / name).mkdir(parents=True)
        self.report = Report(seed)

    def run(self) -> Report:
        """Run it; return what came of it.

        Raises:
            AssertionError: Something must not be; said on stderr, with the evidence.
        """
        with self._daemon, ExitStack() as stack:
            self._operator = Operator(self._daemon, self._fleet)
            stack.callback(self._operator.close)
            self._watch = Watch(self._daemon, self._fleet)
            stack.callback(self._watch.close)
            self._chaos = Chaos(self._daemon, self._fleet, self._operator, self._watch)
            stack.callback(self._chaos.undo_all)
            try:
                self._live()
            except BaseException:
                self._tell_of_failure()
                raise
        return self.report

    def _live(self) -> None:
        self._settle(_START_S)
        sampler = Sampler(self._daemon.keeper_pid)
        try:
            before = self._count()
            sizes = state_sizes(self._daemon.folder / "state")
            self.report.counts.append(before)
            for faults in self._rounds:
                self._have(faults)
                self._calm_down(before)
        finally:
            sampler.close()
            self.report.faults = self._chaos.done
            self.report.answers = self._operator.answers
        self._judge_answers()
        self._judge_memory(sampler)
        self._judge_sizes(sizes)
        self._judge_lines()

    # -- a round -----------------------------------------------------------------------------------

    def _check(self) -> None:
        for broken in (self._watch.broken, self._operator.broken):
            if broken:
                raise InvariantBrokenError(broken)

    def _have(self, faults: list[Fault]) -> None:
        """Let one fault after the other happen, each at its time."""
        begun_s = time.monotonic()
        for fault in faults:
            due_s = begun_s + fault.at_s
            while (left_s := due_s - time.monotonic()) > 0:
                undo_s = self._chaos.undo_at_s
                pass_time(
                    left_s if undo_s is None else max(0, min(left_s, undo_s - due_s + left_s))
                )
                self._chaos.undo_due(time.monotonic())
            self._check()
            self._chaos.do(fault, due_s)
        self._check()

    def _calm_down(self, before: Counts) -> None:
        self._chaos.undo_all()
        self._operator.finish()
        self._settle(SETTLE_S)
        self._operator.restore()
        self._settle(SETTLE_S)
        self._compare(before)

    def _wait(self, condition: Callable[[], str], what: str, span_s: float) -> float:
        """Wait until *condition* has nothing to say; return how long that took.

        Raises:
            AssertionError: It still had, or something else is broken.
        """
        begun_s = time.monotonic()
        said = ""

        def is_met() -> bool:
            nonlocal said
            self._check()
            said = condition()
            return not said

        wait_until(is_met, what=what, timeout_s=span_s, every_s=0.1, on_timeout=lambda: said)
        return time.monotonic() - begun_s

    def _settle(self, within_s: float) -> None:
        took_s = self._wait(self._unsettled, "what people want is so", within_s)
        self.report.settled_s.append(took_s)

    def _unsettled(self) -> str:
        """Return who is not as people want it; empty: nobody."""
        try:
            told = self._daemon.call("io.supervisordlite.Manager.Status", names=[], timeout_s=20)
        except OSError as error:
            return repr(error)
        states: dict[str, list[str]] = {}
        for each in told["workers"]:
            states.setdefault(each["name"], []).append(each["state"])
        wrong = [
            f"{slot} is {states.get(slot)}, not {wanted}"
            for slot, wanted in self._expected()
            if states.get(slot) != [wanted]
        ]
        return "; ".join(wrong[:10])

    def _expected(self) -> Iterator[tuple[str, str]]:
        for pool in self._fleet.pools.values():
            for slot in pool.slots:
                if pool.name == "elastic" or not pool.stays:
                    continue
                if pool.kind in ("crash", "fork") and self._operator.wanted[slot]:
                    continue  # it comes and goes
                yield slot, "running" if self._operator.wanted.get(slot, True) else "stopped"
        for number in range(1, self._operator.size + 1):
            yield f"elastic-{number}", "running"
        yield "trip", "tripped"

    # -- what is counted ---------------------------------------------------------------------------

    def _count(self) -> Counts:
        folder = self._daemon.folder / "runtime"
        return wait_until(
            lambda: count(self._daemon.keeper_pid, folder), what="all of the daemon's processes run"
        )

    def _compare(self, before: Counts) -> None:
        latest = before

        def beyond() -> str:
            nonlocal latest
            latest = self._count()
            return ", ".join(
                f"{name} {old} -> {new}" for name, (old, new) in latest.beyond(before).items()
            )

        self._wait(beyond, "everything is as it was before the first fault", CALM_S)
        self.report.counts.append(latest)

    def _judge_sizes(self, before: dict[str, int]) -> None:
        after = state_sizes(self._daemon.folder / "state")
        room_bytes = STATE_BYTES_PER_WORKER * len(self._fleet.slots())
        grown = {
            name: (before.get(name, 0), size)
            for name, size in after.items()
            if size > before.get(name, 0) + room_bytes
        }
        self.report.lines.append(f"state: {after}")
        assert not grown, f"files of the state have grown: {grown}"
        unfinished = [name for name in after if name.startswith(".")]
        assert len(unfinished) <= _UNFINISHED, f"nobody removes {unfinished}"

    def _judge_answers(self) -> None:
        watch = self._watch
        raw, own = p99(watch.raw_s), p99(watch.waits_s)
        stalls = ", ".join(f"{name} {s:.2f} s" for name, s in watch.longest_stall_s.items())
        self.report.lines.append(
            f"{watch.answers} answers: p50 {sorted(watch.raw_s)[len(watch.raw_s) // 2]:.3f} s, p99 "
            f"{raw:.3f} s, longest {max(watch.raw_s):.3f} s; without starving p99 {own:.3f} s, "
            f"longest {max(watch.waits_s):.3f} s; {watch.excused} that nobody could give; "
            f"{watch.looks} looks at every pid; longest turns: {stalls}"
        )
        assert own < P99_S, f"of a hundred answers one took {own:.2f} s"

    def _judge_memory(self, sampler: Sampler) -> None:
        grown = {role: sampler.growth_bytes(role) for role in GROWTH_BYTES}
        for role, samples in sampler.samples.items():
            levels = [size for _, size in samples]
            self.report.lines.append(
                f"{role}: {levels[0] / MIB:.1f} MiB at first, {levels[-1] / MIB:.1f} at last, "
                f"{max(levels) / MIB:.1f} at most; second half {grown[role] / 1024:+.0f} KiB"
            )
        self.report.lines += [f"counts: {each}" for each in self.report.counts]
        too_much = [role for role in grown if grown[role] > GROWTH_BYTES[role]]
        assert not too_much, f"memory grows: {grown}"

    # -- the end -----------------------------------------------------------------------------------

    def _judge_lines(self) -> None:
        """Stop everybody, and look for each line, event and start."""
        operator = self._operator
        self._watch.close()  # the neighbours are stopped too
        operator.say("Stop", names=["all"], wait=False)
        self._wait(self._still_up, "all are stopped", SETTLE_S)
        told: tuple[int, int] = (0, 0)

        def missing() -> str:
            nonlocal told
            try:
                told = self._judge_logs()
            except (AssertionError, FileNotFoundError) as error:
                return str(error)
            return ""

        self._wait(missing, "all lines are there", SETTLE_S)
        trips = judge.judge_breaker(
            self._world, "trip", operator.resets["trip"], operator.unsure["trip"]
        )
        trials = judge.judge_cooldown(
            self._world, "cool", operator.resets["cool"], operator.unsure["cool"]
        )
        events = judge.judge_journal(self._daemon.folder / "state")
        runs = sum(1 for _ in (self._world / "said").iterdir())
        self.report.lines.append(
            f"{runs} runs said {told[0]} lines, {told[1]} bytes were dropped and counted; "
            f"{events} events; {trips} starts of the one that trips, {trials} of the one on trial"
        )

    def _still_up(self) -> str:
        workers = self._daemon.workers().values()
        return ", ".join(each["name"] for each in workers if each["state"] != "stopped")

    def _judge_logs(self) -> tuple[int, int]:
        workers = self._daemon.workers()
        lines = dropped = 0
        for pool in self._fleet.pools.values():
            for slot in pool.slots if pool.says else ():
                path = self._fleet.log_of(slot, self._daemon.folder)
                lost_bytes = workers[slot]["output"]["dropped_bytes"]
                more = judge.judge_log(path, pool, slot, self._world, lost_bytes)
                lines, dropped = lines + more[0], dropped + more[1]
        return lines, dropped

    def _tell_of_failure(self) -> None:
        why = sys.exc_info()[1]
        story = "\n".join(self._chaos.story)
        sys.stderr.write(f"seed {self.report.seed}; the latest faults:\n{story}\n{why!r}\n")
        if self._keep is not None:
            with suppress(shutil.Error):  # it lives, and compresses or removes files
                shutil.copytree(
                    self._daemon.folder, self._keep, dirs_exist_ok=True, ignore=_sockets
                )
            sys.stderr.write(f"the daemon's folder is kept in {self._keep}\n")


def _sockets(folder: str, names: list[str]) -> list[str]:
    """Return what is no file and no folder: that cannot be copied."""
    paths = [Path(folder, name) for name in names]
    return [path.name for path in paths if not (path.is_file() or path.is_dir())]


@contextmanager
def a_fleet(workers: int) -> Iterator[Fleet]:
    """Yield a fleet with disks of its own, where those may be mounted."""
    with ExitStack() as stack:
        full = stack.enter_context(a_small_disk("24m")) if can_mount() else None
        ice = stack.enter_context(a_disk()) if can_mount() else None
        yield make_fleet(workers, full, ice)
